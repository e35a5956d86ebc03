//! Each kind of write by another program, one at a time.

use jiff::{Timestamp, ToSpan};
use serde_json::json;
use uuid::Uuid;

use crate::{
    on_both_stores,
    support::{
        Service,
        outside::Outside,
        problem::problem,
        site::{Site, a_zone_at_noon, acknowledged, audited, metric},
        wait_until,
    },
};

on_both_stores! {
    async fn rows_with_only_their_required_columns_are_noticed(service: Service) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        site.shows(&service, (0, 0, 0)).await;
        let mut sql = Outside::connect(service.database_url()).await;
        let (facility, bank, row) =
            (sql.id(site.facility), sql.id(site.bank), sql.id(Uuid::new_v4()));
        sql.run(format!(
            "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES ({row}, {bank}, 5)"
        ))
        .await;
        site.shows(&service, (5, 0, 0)).await;
        sql.run(format!("INSERT INTO blood_requests (id, facility_id) VALUES ({row}, {facility})"))
            .await;
        site.shows(&service, (5, 0, 1)).await;
        sql.run(format!(
            "INSERT INTO blood_distributions (id, dispatched_to_id, quantity)
             VALUES ({row}, {facility}, 3)"
        ))
        .await;
        let now = sql.at(Timestamp::now().as_millisecond());
        sql.run(format!("UPDATE blood_distributions SET date_delivered = {now}")).await;
        site.shows(&service, (5, 3, 1)).await;
        sql.run(
            "DELETE FROM blood_distributions; DELETE FROM blood_requests;
             DELETE FROM blood_inventory",
        )
        .await;
        site.shows(&service, (0, 0, 0)).await;
        assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
        audited(service.launch()).await;
    }

    async fn a_row_that_moves_to_another_facility_or_day_is_counted_there_only(service: Service) {
        let (zone, today) = a_zone_at_noon();
        let (from, to) =
            (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
        let row = Uuid::new_v4();
        let now = Timestamp::now();
        acknowledged(&service, &from.request(row, now)).await;
        from.shows(&service, (0, 0, 1)).await;
        let mut sql = Outside::connect(service.database_url()).await;
        sql.run(format!(
            "UPDATE blood_requests SET facility_id = {} WHERE id = {}",
            sql.id(to.facility),
            sql.id(row)
        ))
        .await;
        from.shows(&service, (0, 0, 0)).await;
        to.shows(&service, (0, 0, 1)).await;
        let (yesterday, at) = (
            today.yesterday().expect("there was one"),
            sql.at((now - 24.hours()).as_millisecond()),
        );
        sql.run(format!("UPDATE blood_requests SET created_at = {at} WHERE id = {}", sql.id(row)))
            .await;
        to.shows(&service, (0, 0, 0)).await;
        to.shows_on(&service, &yesterday.to_string(), (0, 0, 1)).await;
        audited(service.launch()).await;
    }

    async fn a_statement_with_rows_of_two_local_days_counts_on_both(service: Service) {
        let site = Site::register(&service, "Asia/Kathmandu").await;
        // 10:00 and 22:00 of one UTC day are 15:45 there, and 03:45 of the next day.
        let day = (Timestamp::now() - 72.hours()).to_zoned(jiff::tz::TimeZone::UTC).date();
        let at = |hour: i8| {
            day.at(hour, 0, 0, 0)
                .to_zoned(jiff::tz::TimeZone::UTC)
                .expect("it exists")
                .timestamp()
                .as_millisecond()
        };
        let next = day.tomorrow().expect("there is one").to_string();
        let days = [day.to_string(), next];
        for date in &days {
            site.shows_on(&service, date, (0, 0, 0)).await;
        }
        let mut sql = Outside::connect(service.database_url()).await;
        let facility = sql.id(site.facility);
        let (early, late) = (sql.at(at(10)), sql.at(at(22)));
        let ids = [(); 4].map(|()| sql.id(Uuid::new_v4()));
        // Both requests are written before the transaction commits. They leave one mark, of one UTC
        // day.
        sql.run(format!(
            "BEGIN; INSERT INTO blood_requests (id, facility_id, created_at)
             VALUES ({}, {facility}, {early}), ({}, {facility}, {late}); COMMIT",
            ids[0], ids[1]
        ))
        .await;
        for date in &days {
            site.shows_on(&service, date, (0, 0, 1)).await;
        }
        sql.run(format!(
            "BEGIN; INSERT INTO blood_distributions (id, dispatched_to_id, quantity, date_delivered)
                    VALUES ({}, {facility}, 4, {early}), ({}, {facility}, 4, {late}); COMMIT",
            ids[2], ids[3]
        ))
        .await;
        for date in &days {
            site.shows_on(&service, date, (0, 4, 1)).await;
        }
        assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
        audited(service.launch()).await;
    }

    async fn stock_follows_its_bank_to_another_facility(service: Service) {
        let (zone, _) = a_zone_at_noon();
        let (from, to) =
            (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
        acknowledged(&service, &from.stock(Uuid::new_v4(), 7)).await;
        from.shows(&service, (7, 0, 0)).await;
        let mut sql = Outside::connect(service.database_url()).await;
        sql.run(format!(
            "UPDATE blood_banks SET facility_id = {} WHERE id = {}",
            sql.id(to.facility),
            sql.id(from.bank)
        ))
        .await;
        from.shows(&service, (0, 0, 0)).await;
        to.shows(&service, (7, 0, 0)).await;
        audited(service.launch()).await;
    }

    async fn a_zone_that_another_program_changes_moves_the_days(service: Service) {
        let site = Site::register(&service, "Pacific/Kiritimati").await;
        let now = Timestamp::now();
        acknowledged(&service, &site.request(Uuid::new_v4(), now)).await;
        site.shows(&service, (0, 0, 1)).await;
        let mut sql = Outside::connect(service.database_url()).await;
        // This zone is 25 hours behind: it is on another date at any time of the day.
        sql.run(format!(
            "UPDATE facilities SET timezone = 'Pacific/Niue' WHERE id = {}",
            sql.id(site.facility)
        ))
        .await;
        let date =
            |zone: &str| now.to_zoned(jiff::tz::TimeZone::get(zone).expect("it exists")).date();
        wait_until("today is the new zone's", async || {
            site.summary(&service, "today").await["date"] == date("Pacific/Niue").to_string()
        })
        .await;
        site.shows(&service, (0, 0, 1)).await;
        let path =
            format!("/v1/facilities/{}/summaries/{}", site.facility, date("Pacific/Kiritimati"));
        problem(service.get(&path).await, 404).await; // it has not begun
        assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
        audited(service.launch()).await;
    }

    async fn a_facility_becomes_known_by_a_plain_insert_and_unknown_by_a_delete(service: Service) {
        let site = Site { facility: Uuid::new_v4(), bank: Uuid::new_v4() };
        let path = format!("/v1/facilities/{}/summaries/today", site.facility);
        problem(service.get(&path).await, 404).await;
        let mut sql = Outside::connect(service.database_url()).await;
        let facility = sql.id(site.facility);
        sql.run(format!("INSERT INTO facilities (id, name) VALUES ({facility}, 'North')")).await;
        wait_until("the facility is known", async || {
            service.get(&path).await.status() == 200
        })
        .await;
        let rows =
            format!("SELECT count(*) FROM dashboard_daily_summary WHERE facility_id = {facility}");
        wait_until("the facility's day is open", async || sql.number(&rows).await == 1).await;
        sql.run(format!("DELETE FROM facilities WHERE id = {facility}")).await;
        wait_until("the facility is unknown", async || {
            service.get(&path).await.status() == 404
        })
        .await;
        wait_until("the facility's rows are removed", async || sql.number(&rows).await == 0).await;
        problem(service.get(&path).await, 404).await;
    }

    async fn upserts_are_noticed_like_any_write(service: Service) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        let other = Site::register(&service, &a_zone_at_noon().0).await;
        let mut sql = Outside::connect(service.database_url()).await;
        let (row, bank, other_bank) =
            (sql.id(Uuid::new_v4()), sql.id(site.bank), sql.id(other.bank));
        let upsert = |quantity: i64, bank: &str| {
            format!(
                "INSERT INTO blood_inventory (id, blood_bank_id, quantity)
                 VALUES ({row}, {bank}, {quantity})
                 ON CONFLICT (id) DO UPDATE
                 SET quantity = excluded.quantity, blood_bank_id = excluded.blood_bank_id"
            )
        };
        sql.run(upsert(4, &bank)).await;
        site.shows(&service, (4, 0, 0)).await;
        sql.run(upsert(6, &bank)).await;
        site.shows(&service, (6, 0, 0)).await;
        sql.run(upsert(2, &other_bank)).await;
        site.shows(&service, (0, 0, 0)).await;
        other.shows(&service, (2, 0, 0)).await;
        audited(service.launch()).await;
    }

    async fn a_unit_leaves_the_stock_when_it_expires_and_each_answers_age_is_true(
        service: Service,
    ) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        let expires_at = Timestamp::now() + 3.seconds();
        let mut unit = site.stock(Uuid::new_v4(), 9);
        unit["data"]["expires_at"] = json!(expires_at.to_string());
        acknowledged(&service, &unit).await;
        acknowledged(&service, &site.stock(Uuid::new_v4(), 1)).await;
        site.shows(&service, (10, 0, 0)).await;
        let path = format!("/v1/facilities/{}/summaries/today", site.facility);
        wait_until("the unit is gone", async || {
            let before = Timestamp::now();
            let answer = service.get(&path).await;
            let age: i64 =
                answer.headers()["age"].to_str().expect("text").parse().expect("seconds");
            let stock =
                answer.json::<serde_json::Value>().await.expect("it is JSON")["total_stock"]
                    .as_i64()
                    .expect("a number");
            // The unit may be shown some time after it expired, if Age says how long. Age is in
            // whole seconds.
            let late_ms = before.as_millisecond() - expires_at.as_millisecond();
            assert!(
                stock == 1 || (age + 1) * 1000 >= late_ms,
                "{late_ms} ms after the expiry the unit was shown with Age {age}"
            );
            assert!(
                stock == 10 || late_ms > -1000,
                "the unit was missing {late_ms} ms after its expiry (negative: too early)"
            );
            stock == 1
        })
        .await;
        assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
        audited(service.launch()).await;
    }
}

#[tokio::test]
async fn insert_or_replace_is_noticed_on_both_sides() {
    let service = Service::on_sqlite().start().await;
    let (zone, _) = a_zone_at_noon();
    let (one, other) =
        (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    let mut sql = Outside::connect(service.database_url()).await;
    let row = sql.id(Uuid::new_v4());
    for (site, quantity) in [(one, 3), (one, 5)] {
        let bank = sql.id(site.bank);
        sql.run(format!(
            "INSERT OR REPLACE INTO blood_inventory (id, blood_bank_id, quantity) VALUES ({row}, \
             {bank}, {quantity})"
        ))
        .await;
        site.shows(&service, (quantity, 0, 0)).await;
    }
    let bank = sql.id(other.bank);
    sql.run(format!(
        "REPLACE INTO blood_inventory (id, blood_bank_id, quantity) VALUES ({row}, {bank}, 8)"
    ))
    .await;
    one.shows(&service, (0, 0, 0)).await;
    other.shows(&service, (8, 0, 0)).await;
    let (from, to) = (sql.id(one.facility), sql.id(other.facility));
    sql.run(format!("INSERT INTO blood_requests (id, facility_id) VALUES ({row}, {from})")).await;
    one.shows(&service, (0, 0, 1)).await;
    sql.run(format!(
        "INSERT OR REPLACE INTO blood_requests (id, facility_id) VALUES ({row}, {to})"
    ))
    .await;
    one.shows(&service, (0, 0, 0)).await;
    other.shows(&service, (8, 0, 1)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn truncate_empties_the_figures_of_all_facilities() {
    let service = Service::on_postgres().await.start().await;
    let (zone, _) = a_zone_at_noon();
    let sites = [Site::register(&service, &zone).await, Site::register(&service, &zone).await];
    let mut sql = Outside::connect(service.database_url()).await;
    for site in sites {
        let (id, facility, bank) =
            (sql.id(Uuid::new_v4()), sql.id(site.facility), sql.id(site.bank));
        sql.run(format!(
            "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES ({id}, {bank}, 5)"
        ))
        .await;
        sql.run(format!("INSERT INTO blood_requests (id, facility_id) VALUES ({id}, {facility})"))
            .await;
        sql.run(format!(
            "INSERT INTO blood_distributions (id, dispatched_to_id, quantity, date_delivered) \
             VALUES ({id}, {facility}, 2, now())"
        ))
        .await;
        site.shows(&service, (5, 2, 1)).await;
    }
    let steps = [
        ("blood_requests", (5, 2, 0)),
        ("blood_distributions", (5, 0, 0)),
        ("blood_inventory", (0, 0, 0)),
    ];
    for (table, figures) in steps {
        sql.run(format!("TRUNCATE {table}")).await;
        for site in sites {
            site.shows(&service, figures).await;
        }
    }
    sql.run(format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES (gen_random_uuid(), {}, \
         4)",
        sql.id(sites[0].bank)
    ))
    .await;
    sites[0].shows(&service, (4, 0, 0)).await;
    sql.run("TRUNCATE blood_banks CASCADE").await;
    sites[0].shows(&service, (0, 0, 0)).await;
    assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
    sql.run("TRUNCATE facilities CASCADE").await;
    let path = format!("/v1/facilities/{}", sites[0].facility);
    wait_until("no facility is known", async || service.get(&path).await.status() == 404).await;
    wait_until("no summary is left", async || {
        sql.number("SELECT count(*) FROM dashboard_daily_summary").await == 0
    })
    .await;
    audited(service.launch()).await;
}
