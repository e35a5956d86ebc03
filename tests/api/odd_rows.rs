//! Rows that other programs wrote by SQL and that no event could state: infinite instants, texts
//! that are not UTF-8, figures that are not JSON. Each row is read as what it means, and does not
//! affect other rows.

mod names;
mod summaries;

use jiff::{Timestamp, civil::Date};
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    support::{
        Service,
        events::event,
        outside::Outside,
        site::{Site, a_zone_at_noon, acknowledged, audited, metric, rebuild},
        wait_until,
    },
};

/// Instants that no answer can carry, before and after all days, as SQL literals.
fn beyond(sql: &Outside) -> [(&'static [&'static str], bool); 2] {
    match sql.is_postgres() {
        true => [
            (&["'-infinity'", "'4000-01-01 BC'", "'4713-01-01 BC'"], false),
            (&["'infinity'", "'20000-01-01'", "'290000-12-31 23:59:59.999999Z'"], true),
        ],
        false => [
            (&["-9223372036854775808", "-188000000000000"], false),
            (&["9223372036854775807", "569000000000000"], true),
        ],
    }
}

/// Each literal, and whether it is after all days.
fn instants(sql: &Outside) -> Vec<(&'static str, bool)> {
    beyond(sql)
        .into_iter()
        .flat_map(|(literals, after)| literals.iter().map(move |literal| (*literal, after)))
        .collect()
}

async fn post_batch(service: &Service, events: &[Value]) -> (u16, Value) {
    let request = service
        .request(Method::POST, "/v1/events")
        .header(CONTENT_TYPE, "application/cloudevents-batch+json");
    let answer = request.body(json!(events).to_string()).send().await.expect("the service answers");
    (answer.status().as_u16(), answer.json().await.expect("it is JSON"))
}

/// Stores a row of each kind with this instant, and returns an event about each.
async fn rows(sql: &mut Outside, site: &Site, literal: &str) -> Vec<Value> {
    let now = Timestamp::now().to_string();
    let (unit, delivery, request) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let (bank, facility) = (sql.id(site.bank), sql.id(site.facility));
    // The rows were stated long ago. An event of the same millisecond would win only with the
    // greater data.
    let before = sql.at(0);
    let statements = format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity, expires_at, event_time) VALUES \
         ({}, {bank}, 1000, {literal}, {before});
         INSERT INTO blood_distributions (id, dispatched_to_id, quantity, date_delivered, \
         event_time) VALUES ({}, {facility}, 1000, {literal}, {before});
         INSERT INTO blood_requests (id, facility_id, created_at, event_time) VALUES ({}, \
         {facility}, {literal}, {before})",
        sql.id(unit),
        sql.id(delivery),
        sql.id(request)
    );
    sql.run(statements).await;
    vec![
        site.stock(unit, 2),
        event(
            "distribution.set",
            json!({
                "distribution_id": delivery,
                "dispatched_to_id": site.facility,
                "quantity": 3,
                "date_delivered": now,
            }),
        ),
        event(
            "request.set",
            json!({"request_id": request, "facility_id": site.facility, "created_at": now}),
        ),
    ]
}

/// Stores a closed day of the facility anew, with a stock of 5. `at` is an instant as a SQL
/// literal.
async fn close_day(sql: &mut Outside, site: &Site, date: Date, at: &str) {
    let facility = sql.id(site.facility);
    sql.run(format!(
        "DELETE FROM dashboard_daily_summary WHERE facility_id = {facility} AND date = '{date}';
         INSERT INTO dashboard_daily_summary
            (facility_id, date, total_stock, total_transferred, total_requests,
             by_blood_type, as_of, updated_at, version)
         VALUES ({facility}, '{date}', 5, 0, 0,
            '{{\"O+\": {{\"stock\": 5, \"transferred\": 0, \"requests\": 0}}}}', {at}, {at}, 3)"
    ))
    .await;
}

on_both_stores! {
    async fn an_instant_outside_the_calendar_means_never_or_long_ago_or_no_day(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        for (literal, after) in instants(&sql) {
            let site = Site::register(&service, &a_zone_at_noon().0).await;
            let events = rows(&mut sql, &site, literal).await;
            site.shows(&service, (if after { 1000 } else { 0 }, 0, 0)).await;
            assert_eq!(rebuild(&service).await["state"], "done", "{literal}");
            audited(service.launch()).await;
            for event in &events {
                acknowledged(&service, event).await;
            }
            site.shows(&service, (2, 3, 1)).await;
        }
        audited(service.launch()).await;
    }

    async fn events_about_such_rows_do_not_disturb_others(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        for (literal, _) in instants(&sql) {
            let mut events = rows(&mut sql, &site, literal).await;
            events.extend((0..98).map(|_| site.stock(Uuid::new_v4(), 0)));
            let (status, body) = post_batch(&service, &events).await;
            assert_eq!((status, &body["applied"]), (200, &json!(101)), "{literal}: {body}");
            sql.run(
                "DELETE FROM blood_inventory; DELETE FROM blood_distributions;
                 DELETE FROM blood_requests",
            )
            .await;
        }
    }

    async fn an_import_goes_on_over_such_rows(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        let site = Site::register(&service, "UTC").await;
        let mut csv = "id,facility,quantity,date\n".to_owned();
        for (literal, _) in instants(&sql) {
            let (row, facility) = (Uuid::new_v4(), sql.id(site.facility));
            let insert = "INSERT INTO blood_distributions
                (id, dispatched_to_id, quantity, date_delivered, event_time)";
            let (id, long_ago) = (sql.id(row), sql.at(0));
            sql.run(format!("{insert} VALUES ({id}, {facility}, 9, {literal}, {long_ago})")).await;
            csv.push_str(&format!("{row},{},1,2026-02-03\n", site.facility));
        }
        let count = csv.lines().count() as i64 - 1;
        std::fs::write(service.launch().folder().join("deliveries.csv"), csv)
            .expect("the folder can be written");
        let import = [
            "import",
            "distributions",
            "deliveries.csv",
            "--columns=id=id,facility=facility,quantity=quantity,date_delivered=date",
        ];
        let imported = service.launch().run(&import).await;
        assert_eq!(imported.code, Some(0), "{}", imported.output);
        site.shows_on(&service, "2026-02-03", (0, count, 0)).await;
        audited(service.launch()).await;
    }

    async fn a_statement_of_an_infinite_time_is_older_or_newer_than_any_event(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        for (literal, after) in instants(&sql) {
            let unit = Uuid::new_v4();
            let (id, bank) = (sql.id(unit), sql.id(site.bank));
            sql.run(format!(
                "INSERT INTO blood_inventory (id, blood_bank_id, quantity, event_time)
                 VALUES ({id}, {bank}, 7, {literal})"
            ))
            .await;
            let answer = acknowledged(&service, &site.stock(unit, 8)).await;
            assert_eq!(answer["superseded"], i64::from(after), "{literal}: {answer}");
            site.shows(&service, (if after { 7 } else { 8 }, 0, 0)).await;
            sql.run(format!(
                "UPDATE facilities SET event_time = {literal};
                 UPDATE blood_banks SET event_time = {literal}"
            ))
            .await;
            let body = json!({"name": "Again", "timezone": a_zone_at_noon().0});
            assert_eq!(
                service.put(&format!("/v1/facilities/{}", site.facility), &body).await.status(),
                200,
                "{literal}"
            );
            let bank = json!({"facility_id": site.facility, "name": "Again"});
            assert_eq!(
                service.put(&format!("/v1/blood-banks/{}", site.bank), &bank).await.status(),
                200,
                "{literal}"
            );
            sql.run("DELETE FROM blood_inventory").await;
            let kind = json!({"inventory_id": unit});
            acknowledged(&service, &event("inventory.removed", kind.clone())).await;
            sql.run(format!("UPDATE tombstones SET event_time = {literal}, at = {literal}")).await;
            acknowledged(&service, &event("inventory.removed", kind)).await;
            sql.run("DELETE FROM tombstones").await;
        }
    }

    async fn marks_watermarks_and_runs_outside_the_calendar_stop_nothing(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        for (literal, _) in instants(&sql) {
            let facility = sql.id(site.facility);
            sql.run(format!(
                "INSERT INTO summary_marks (kind, facility_id, first_at, last_at)
                 VALUES ('activity', {facility}, {literal}, {literal});
                 UPDATE job_runs SET verified_through = {literal}, finished_at = {literal}
                 WHERE state = 'done'"
            ))
            .await;
            acknowledged(&service, &site.stock(Uuid::new_v4(), 1)).await;
            wait_until("the mark is processed", async || {
                sql.number("SELECT count(*) FROM summary_marks").await == 0
            })
            .await;
        }
        audited(service.launch()).await;
    }

    async fn a_summary_that_cannot_be_read_is_derived_anew_and_the_others_are_served(
        service: Service,
    ) {
        let mut sql = Outside::connect(service.database_url()).await;
        let (zone, today) = a_zone_at_noon();
        let (broken, whole) =
            (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
        for site in [&broken, &whole] {
            acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
        }
        // A closed day of each facility, with the stock that it closed with.
        let yesterday = today.yesterday().expect("there was one");
        let at = sql.at(Timestamp::now().as_millisecond() - 3_600_000);
        let (launch, mut service) = (service.launch().clone(), Some(service));
        let mut damages = vec![
            "by_blood_type = '[1]'",
            "by_blood_type = '{\"Z+\": {\"stock\": 5, \"transferred\": 0, \"requests\": 0}}'",
            "by_blood_type = '{\"O+\": {\"stock\": \"five\"}}'",
            "by_blood_type = '{\"O+\": 5}'",
        ];
        if sql.is_postgres() {
            damages.extend(["as_of = 'infinity'", "updated_at = '-infinity'"]);
        } else {
            damages.extend(["by_blood_type = CAST(x'ff' AS TEXT)", "by_blood_type = 'five'"]);
        }
        for damage in damages {
            service.take().expect("it runs").terminate().await;
            for site in [&broken, &whole] {
                close_day(&mut sql, site, yesterday, &at).await;
            }
            sql.run(format!(
                "UPDATE dashboard_daily_summary SET {damage} WHERE facility_id = {}",
                sql.id(broken.facility)
            ))
            .await;
            // The rebuild at the start is off: it would repair the row before a reader reads it.
            let started =
                launch.clone().env("FACILITY_SUMMARY__REBUILD__CRON", "off").start().await;
            for site in [&broken, &whole] {
                for date in [yesterday.to_string(), "today".to_owned()] {
                    assert_eq!(
                        site.summary(&started, &date).await["total_stock"],
                        5,
                        "{damage}, {date}"
                    );
                }
            }
            let listing = started.get(&format!("/v1/summaries/{yesterday}")).await;
            assert_eq!(listing.status(), 200, "{damage}");
            for day in [&yesterday, &today] {
                let audit = launch.run(&["audit"]).await;
                assert_eq!(
                    audit.code,
                    Some(0),
                    "{damage}, {day}: the read has repaired the row: {}",
                    audit.output
                );
            }
            service = Some(started);
        }
    }

    async fn a_start_derives_a_today_that_cannot_be_read_without_any_reader(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        let (zone, today) = a_zone_at_noon();
        let site = Site::register(&service, &zone).await;
        acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
        let launch = service.launch().clone();
        service.terminate().await;
        let row = format!("facility_id = {} AND date = '{today}'", sql.id(site.facility));
        for damage in ["[1]", "{\"O+\": {\"stock\": \"five\"}}"] {
            sql.run(format!(
                "UPDATE dashboard_daily_summary SET by_blood_type = '{damage}' WHERE {row}"
            ))
            .await;
            // Neither a rebuild nor a sample audit: they would find it, too.
            let started = launch
                .clone()
                .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
                .env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", "0")
                .start()
                .await;
            wait_until("the row is derived anew", async || {
                let damaged = format!("{row} AND by_blood_type = '{damage}'");
                sql.number(format!("SELECT count(*) FROM dashboard_daily_summary WHERE {damaged}"))
                    .await
                    == 0
            })
            .await;
            assert!(metric(&started, "database_unreadable_rows").await >= 1.0, "{damage}");
            assert_eq!(site.summary(&started, "today").await["total_stock"], 5, "{damage}");
            started.terminate().await;
        }
    }

    async fn an_invalid_blood_type_counts_as_unknown_and_stops_nothing(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        let (odd, whole) = (
            Site::register(&service, &a_zone_at_noon().0).await,
            Site::register(&service, &a_zone_at_noon().0).await,
        );
        let checks_off = if sql.is_postgres() {
            "ALTER DOMAIN blood_type DROP CONSTRAINT blood_type_check"
        } else {
            "PRAGMA ignore_check_constraints = ON"
        };
        sql.run(checks_off).await;
        let (unit, now) = (Uuid::new_v4(), sql.at(Timestamp::now().as_millisecond()));
        let (id, bank, facility) = (sql.id(unit), sql.id(odd.bank), sql.id(odd.facility));
        sql.run(format!(
            "INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity)
             VALUES ({id}, {bank}, 'Z+', 3);
             INSERT INTO blood_distributions
                (id, dispatched_to_id, blood_type, quantity, date_delivered)
             VALUES ({id}, {facility}, 'Z+', 2, {now});
             INSERT INTO blood_requests (id, facility_id, blood_type, created_at)
             VALUES ({id}, {facility}, 'Z+', {now})"
        ))
        .await;
        odd.shows(&service, (3, 2, 1)).await;
        assert_eq!(
            odd.summary(&service, "today").await["by_blood_type"],
            json!({"unknown": {"stock": 3, "transferred": 2, "requests": 1}})
        );
        let (status, body) =
            post_batch(&service, &[odd.stock(unit, 4), whole.stock(Uuid::new_v4(), 5)]).await;
        assert_eq!((status, &body["applied"]), (200, &json!(2)), "{body}");
        whole.shows(&service, (5, 0, 0)).await;
        odd.shows(&service, (4, 2, 1)).await;
        audited(service.launch()).await;
    }

    async fn a_row_with_an_invalid_date_stops_no_rebuild_and_no_watermark(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        let (facility, at, odd) = (
            sql.id(site.facility),
            sql.at(1_000),
            if sql.is_postgres() { "infinity" } else { "someday" },
        );
        sql.run(format!(
            "INSERT INTO dashboard_daily_summary
                (facility_id, date, total_stock, total_transferred, total_requests,
                 by_blood_type, as_of, next_expires_at, updated_at, version)
             VALUES ({facility}, '{odd}', 5, 0, 0, '{{}}', {at}, {at}, {at}, 3)"
        ))
        .await;
        assert_eq!(rebuild(&service).await["state"], "done");
        let after_ms = Timestamp::now().as_millisecond();
        wait_until("the proof goes on", async || {
            let age_ms = (metric(&service, "summary_watermark_age_seconds").await * 1000.0) as i64;
            Timestamp::now().as_millisecond() - age_ms > after_ms
        })
        .await;
        wait_until("the row is counted", async || {
            metric(&service, "database_unreadable_rows").await >= 1.0
        })
        .await;
        let told =
            service.logged("a row of the database cannot be read; the others are not affected");
        assert_eq!(told.len(), 1, "once: {told:?}");
        assert!(
            told[0]["row"].as_str().is_some_and(|row| row.contains(&site.facility.to_string())),
            "{told:?}"
        );
        audited(service.launch()).await;
    }
}
