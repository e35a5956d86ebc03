//! Locks that other programs hold: only requests that need them wait.

use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::Value;
use uuid::Uuid;

use super::held::several_drains;
use crate::{
    steps::Scrape,
    support::{
        Service,
        outside::Outside,
        problem::problem,
        site::{Site, a_zone_at_noon, acknowledged, audited},
        wait_until,
    },
};

async fn cache_status(service: &Service, site: Site) -> String {
    let answer = service.get(&format!("/v1/facilities/{}/summaries/today", site.facility)).await;
    assert_eq!(answer.status(), 200);
    answer.headers()["cache-status"].to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_locked_table_leaves_readers_served_and_marks_bounded() {
    let service = Service::on_postgres()
        .await
        .env("FACILITY_SUMMARY__INGEST__LOCK_TIMEOUT_MS", 300)
        .start()
        .await;
    let (zone, today) = a_zone_at_noon();
    let sites = [Site::register(&service, &zone).await, Site::register(&service, &zone).await];
    let item = Uuid::new_v4();
    for site in sites {
        site.shows(&service, (0, 0, 0)).await;
    }
    let mut holder = Outside::connect(service.database_url()).await;
    holder.run("BEGIN; LOCK TABLE blood_requests IN ACCESS EXCLUSIVE MODE").await;

    // Every figure needs the locked table, so no event can be summarised. Each event is refused,
    // and nothing of it is stored.
    problem(
        service.post("/v1/events", &sites[0].request(Uuid::new_v4(), Timestamp::now())).await,
        503,
    )
    .await;
    let refused = service.post("/v1/events", &sites[0].stock(item, 5)).await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503).await;
    // Other programs write the other tables as usual, and their marks stay bounded in number.
    let mut writer = Outside::connect(service.database_url()).await;
    let banks = sites.map(|site| writer.id(site.bank));
    writer
        .run(format!(
            "DO $$ BEGIN FOR n IN 1..3000 LOOP
                INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES \
             (gen_random_uuid(), {}, 1), (gen_random_uuid(), {}, 2);
            END LOOP; END $$",
            banks[0], banks[1]
        ))
        .await;
    wait_until("the marks are merged", async || {
        writer.number("SELECT count(*) FROM summary_marks").await <= 2
    })
    .await;
    // Requests that memory or the table can answer are answered, and so are requests that need no
    // figures.
    for site in sites {
        assert_eq!(cache_status(&service, site).await, "facility-summary; hit; detail=memory");
    }
    site_of_a_cold_day(&service, sites[0], &today.yesterday().expect("there was one").to_string())
        .await;
    assert_eq!(service.get("/v1/facilities").await.status(), 200);
    let ready: Value = service.get("/health/ready").await.json().await.expect("it is JSON");
    assert_eq!(ready["status"], "ready", "a lock does not count as an outage: {ready}");

    holder.run("ROLLBACK").await;
    sites[0].shows(&service, (3000, 0, 0)).await;
    sites[1].shows(&service, (6000, 0, 0)).await;
    acknowledged(&service, &sites[0].stock(item, 5)).await;
    sites[0].shows(&service, (3005, 0, 0)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn marks_that_were_merged_behind_a_lock_still_name_their_days() {
    let service = Service::on_postgres()
        .await
        .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 200)
        .start()
        .await;
    let site = Site::register(&service, "Asia/Kathmandu").await;
    let day = (Timestamp::now() - 72.hours()).to_zoned(TimeZone::UTC).date();
    let days = [day, day.tomorrow().expect("there is one")].map(|date| date.to_string());
    for date in &days {
        site.shows_on(&service, date, (0, 0, 0)).await;
    }
    let mut holder = Outside::connect(service.database_url()).await;
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE",
            holder.id(site.facility)
        ))
        .await;
    let mut writer = Outside::connect(service.database_url()).await;
    let marks = "SELECT count(*) FROM summary_marks";
    // One mark every 28 s from 10:00 UTC on. Mark 1,061 is after the local midnight, which is at
    // 18:15 UTC.
    for order in ["n", "1501 - n"] {
        writer
            .run(format!(
                "DO $$ BEGIN FOR n IN 1..1500 LOOP
                    INSERT INTO blood_requests (id, facility_id, created_at)
                    VALUES (gen_random_uuid(), {}, '{day} 10:00:00+00'::timestamptz + ({order}) * \
                 interval '28 seconds');
                END LOOP; END $$",
                writer.id(site.facility)
            ))
            .await;
        wait_until("the marks are merged", async || writer.number(marks).await <= 1).await;
    }
    holder.run("ROLLBACK").await;
    site.shows_on(&service, &days[0], (0, 0, 2 * 1060)).await;
    site.shows_on(&service, &days[1], (0, 0, 2 * 440)).await;
    audited(service.launch()).await;
}

async fn site_of_a_cold_day(service: &Service, site: Site, date: &str) {
    let summary = site.summary(service, date).await;
    assert_eq!(
        (&summary["version"], &summary["total_stock"]),
        (&0.into(), &Value::Null),
        "{summary}"
    );
}

/// Posts eight events that need a lock which `holder` has, and meanwhile forty that do not need it.
/// All forty are acknowledged before any of the eight is answered. After the lock was released, the
/// eight are acknowledged, too.
async fn only_who_needs_it_waits(
    service: &Service,
    mut holder: Outside,
    blocked: Vec<Value>,
    free: Vec<Value>,
) {
    let mut waiting: FuturesUnordered<_> =
        blocked.iter().map(|event| service.post("/v1/events", event)).collect();
    let others = async {
        for event in &free {
            acknowledged(service, event).await;
        }
    };
    tokio::select! {
        biased;
        answer = waiting.next() => panic!("an event that needs the lock was answered: {answer:?}"),
        () = others => {}
    }
    holder.run("ROLLBACK").await;
    while let Some(answer) = waiting.next().await {
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    }
}

#[tokio::test]
async fn a_facility_whose_refresh_waits_for_a_lock_is_logged_at_begin_and_end() {
    let service = Service::on_postgres()
        .await
        .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 100)
        .start()
        .await;
    let site = Site::register(&service, "UTC").await;
    let mut holder = Outside::connect(service.database_url()).await;
    let facility = holder.id(site.facility);
    holder
        .run(format!(
            "BEGIN; SELECT * FROM facility_state WHERE facility_id = {facility} FOR UPDATE"
        ))
        .await;
    let mut writer = Outside::connect(service.database_url()).await;
    writer
        .run(format!(
            "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), {facility})"
        ))
        .await;
    let said = |what: &str| {
        service
            .logged(what)
            .iter()
            .filter(|entry| entry["facility_id"] == site.facility.to_string())
            .count()
    };
    wait_until("the log says that the refresh waits", async || said("a refresh waits") == 1).await;
    let passes = async || {
        Scrape::of(&service).await.sum("job_runs_total", &[("job", "drain"), ("outcome", "done")])
    };
    let before = passes().await;
    wait_until("the refresh has waited several times", async || passes().await >= before + 5.0)
        .await;
    assert_eq!((said("a refresh waits"), said("the refresh waits no longer")), (1, 0));

    holder.run("ROLLBACK").await;
    site.shows(&service, (0, 0, 1)).await;
    // The new figures are shown a moment before this.
    wait_until("the log says that the wait is over", async || {
        said("the refresh waits no longer") == 1
    })
    .await;
    assert_eq!(said("a refresh waits"), 1);
}

async fn patient() -> Service {
    Service::on_postgres()
        .await
        .env("FACILITY_SUMMARY__INGEST__LOCK_TIMEOUT_MS", 60_000)
        .start()
        .await
}

#[tokio::test]
async fn a_locked_row_of_inventory_delays_only_events_about_it() {
    let service = patient().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let item = Uuid::new_v4();
    acknowledged(&service, &site.stock(item, 1)).await;
    let mut holder = Outside::connect(service.database_url()).await;
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM blood_inventory WHERE id = {} FOR UPDATE",
            holder.id(item)
        ))
        .await;
    let blocked = (0..8).map(|_| site.stock(item, 3)).collect();
    let free = (0..40).map(|_| site.stock(Uuid::new_v4(), 1)).collect();
    only_who_needs_it_waits(&service, holder, blocked, free).await;
    site.shows(&service, (43, 0, 0)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_locked_facility_delays_its_own_events_and_no_readers() {
    let service = patient().await;
    let (zone, _) = a_zone_at_noon();
    let (locked, other) =
        (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    locked.shows(&service, (0, 0, 0)).await;
    let mut holder = Outside::connect(service.database_url()).await;
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE",
            holder.id(locked.facility)
        ))
        .await;
    // There are marks of both facilities. The drain refreshes the one that is not locked.
    let mut writer = Outside::connect(service.database_url()).await;
    for site in [locked, other] {
        let facility = writer.id(site.facility);
        writer
            .run(format!(
                "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), \
                 {facility})"
            ))
            .await;
    }
    other.shows(&service, (0, 0, 1)).await;
    assert_eq!(cache_status(&service, locked).await, "facility-summary; hit; detail=memory");
    let blocked = (0..8).map(|_| locked.stock(Uuid::new_v4(), 1)).collect();
    let free = (0..40).map(|_| other.stock(Uuid::new_v4(), 1)).collect();
    only_who_needs_it_waits(&service, holder, blocked, free).await;
    locked.shows(&service, (8, 0, 1)).await;
    other.shows(&service, (40, 0, 1)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn while_a_facility_is_locked_the_days_of_others_open_with_right_figures() {
    let service = Service::on_postgres().await.start().await;
    let (zone, _) = a_zone_at_noon();
    let (locked, other) =
        (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    let (_, launch) = service.terminate().await;
    let mut sql = Outside::connect(launch.database_url()).await;
    sql.run("DELETE FROM dashboard_daily_summary").await;
    let mut holder = Outside::connect(launch.database_url()).await;
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE",
            holder.id(locked.facility)
        ))
        .await;
    let service = launch.env("FACILITY_SUMMARY__REBUILD__LOCK_PATIENCE_MS", 500).start().await;
    let count = |id: &str| {
        format!(
            "SELECT count(*) FROM dashboard_daily_summary WHERE total_requests >= 0 AND \
             facility_id = {id}"
        )
    };
    let (locked_id, other_id) = (sql.id(locked.facility), sql.id(other.facility));
    wait_until("the other's day is open", async || sql.number(count(&other_id)).await == 1).await;
    assert_eq!(sql.number(count(&locked_id)).await, 0);
    // The rebuild also repairs the row of the other facility, and reports that it could not do
    // everything.
    sql.run("UPDATE dashboard_daily_summary SET total_requests = 99").await;
    assert_eq!(crate::support::site::rebuild(&service).await["state"], "failed");
    assert_eq!(
        sql.number(format!(
            "SELECT total_requests FROM dashboard_daily_summary WHERE facility_id = {other_id}"
        ))
        .await,
        0
    );
    holder.run("ROLLBACK").await;
    wait_until("the day of the locked facility is open, too", async || {
        sql.number(count(&locked_id)).await == 1
    })
    .await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn removed_facilities_with_held_locks_do_not_delay_the_marks_of_others() {
    // A rebuild would find the other facility's day by itself.
    let launch = Service::on_postgres().await.env("FACILITY_SUMMARY__REBUILD__CRON", "off");
    let service = launch.env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 100).start().await;
    let (zone, _) = a_zone_at_noon();
    let other = Site::register(&service, &zone).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let mut gone = Vec::new();
    for _ in 0..4 {
        gone.push(sql.id(Site::register(&service, &zone).await.facility));
    }
    let gone = gone.join(", ");
    let mut holder = Outside::connect(service.database_url()).await;
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id IN ({gone}) FOR UPDATE"
        ))
        .await;
    sql.run(format!(
        "DELETE FROM blood_banks WHERE facility_id IN ({gone}); DELETE FROM facilities WHERE id \
         IN ({gone})"
    ))
    .await;
    several_drains(&service).await;
    sql.run(format!(
        "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), {})",
        sql.id(other.facility)
    ))
    .await;
    other.shows(&service, (0, 0, 1)).await;
    let rows =
        format!("SELECT count(*) FROM dashboard_daily_summary WHERE facility_id IN ({gone})");
    assert_eq!(sql.number(rows.clone()).await, 4, "the rows stay while their locks are held");
    holder.run("ROLLBACK").await;
    wait_until("their rows are removed, too", async || sql.number(rows.clone()).await == 0).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_file_that_another_process_writes_to_is_still_read_and_events_are_refused() {
    let service =
        Service::on_sqlite().env("FACILITY_SUMMARY__INGEST__LOCK_TIMEOUT_MS", 300).start().await;
    let (zone, today) = a_zone_at_noon();
    let site = Site::register(&service, &zone).await;
    site.shows(&service, (0, 0, 0)).await;
    let mut holder = Outside::connect(service.database_url()).await;
    let (id, facility) = (holder.id(Uuid::new_v4()), holder.id(site.facility));
    holder.run("BEGIN IMMEDIATE").await;
    holder
        .run(format!("INSERT INTO blood_requests (id, facility_id) VALUES ({id}, {facility})"))
        .await;
    let refused = service.post("/v1/events", &site.stock(Uuid::new_v4(), 5)).await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503).await;
    several_drains(&service).await;
    assert_eq!(cache_status(&service, site).await, "facility-summary; hit; detail=memory");
    site_of_a_cold_day(&service, site, &today.yesterday().expect("there was one").to_string())
        .await;
    holder.run("COMMIT").await;
    site.shows(&service, (0, 0, 1)).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
    site.shows(&service, (5, 0, 1)).await;
    audited(service.launch()).await;
}
