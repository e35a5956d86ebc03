//! SQLite files that other programs write in ways that no program should use: with checks and
//! foreign keys off, without triggers, or by replacing the file that is served with another one.

use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    steps::{Plain, age, batch, get, read},
    support::{
        Service,
        outside::Outside,
        site::{Site, a_zone_at_noon, acknowledged, audited, metric},
        wait_until,
    },
};

/// The dependency of that name in `/health/ready`.
async fn dependency(service: &Service, name: &str) -> Value {
    let ready = get(service, "/health/ready").await;
    let all = ready["dependencies"].as_array().expect("they are listed");
    all.iter()
        .find(|dependency| dependency["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {ready}"))
        .clone()
}

async fn is_proven_again(service: &Service) {
    let now = Instant::now();
    wait_until("the drain goes on", async || {
        metric(service, "summary_watermark_age_seconds").await < now.elapsed().as_secs_f64()
    })
    .await;
}

/// Asserts that the log names the row of that table with an id of one byte, and that no log line is
/// long.
fn names(service: &Service, table: &str) {
    let named = service.logged("a row of the database cannot be read; the others are not affected");
    assert!(
        named.iter().any(|row| row["table"] == table && row["row"] == "x'01'"),
        "{table}: {named:?}"
    );
    assert!(named.iter().all(|row| row.to_string().len() < 1_000), "{named:?}");
}

const TEXT_ID: &str = "CAST('a0000000-0000-0000-0000-000000000000' AS BLOB)";

#[tokio::test]
async fn rows_with_malformed_ids_do_not_affect_others() {
    let service = Service::on_sqlite().start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let ids = [TEXT_ID, "x'01'", "x''", "randomblob(100000)"];
    sql.run("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").await;
    for id in ids {
        sql.run(format!(
            "INSERT INTO blood_requests (id, facility_id) VALUES (randomblob(16), {id})"
        ))
        .await;
        sql.run(format!(
            "INSERT INTO blood_distributions (id, dispatched_to_id, quantity, date_delivered) \
             VALUES (randomblob(16), {id}, 1, 1)"
        ))
        .await;
        sql.run(format!("INSERT INTO blood_banks (id, facility_id) VALUES ({id}, {id})")).await;
        sql.run(format!(
            "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES (randomblob(16), \
             {id}, 3)"
        ))
        .await;
        sql.run(format!("INSERT INTO facilities (id, name) VALUES ({id}, 'Odd')")).await;
        sql.run(format!(
            "INSERT INTO outbox (facility_id, date, version) VALUES ({id}, '2026-01-01', 1)"
        ))
        .await;
        sql.run(format!("INSERT INTO facility_state (facility_id) VALUES ({id})")).await;
        sql.run(format!(
            "INSERT INTO summary_marks (kind, facility_id) VALUES (CAST(x'ff' AS TEXT), {id})"
        ))
        .await;
    }
    sql.run(format!(
        "UPDATE facility_state SET today = 'some day' WHERE facility_id = {}",
        sql.id(site.facility)
    ))
    .await;
    is_proven_again(&service).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 7)).await;
    site.shows(&service, (7, 0, 0)).await;
    for path in ["/v1/summaries/today", "/v1/facilities"] {
        for directives in ["no-cache", "max-age=1", ""] {
            assert_eq!(read(&service, path, directives).await.status(), 200, "{path} {directives}");
        }
    }
    let met = metric(&service, "database_unreadable_rows").await;
    assert!(met >= 4.0, "{met}");
    for table in ["summary_marks", "outbox"] {
        names(&service, table);
    }
    let service = service.terminate().await.1.start().await;
    names(&service, "facilities");
    site.shows(&service, (7, 0, 0)).await;
    is_proven_again(&service).await;
}

#[tokio::test]
async fn an_event_about_a_row_that_names_no_facility_puts_it_right() {
    let service = Service::on_sqlite().start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run("PRAGMA foreign_keys = OFF").await;
    let (request, unit, other) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let (request_id, unit_id, facility, bank) =
        (sql.id(request), sql.id(unit), sql.id(site.facility), sql.id(site.bank));
    sql.run(format!(
        "INSERT INTO blood_requests (id, facility_id, event_time) VALUES ({request_id}, \
         {TEXT_ID}, 0)"
    ))
    .await;
    sql.run(format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity, event_time) VALUES ({unit_id}, \
         {TEXT_ID}, 3, 0)"
    ))
    .await;
    let now = jiff::Timestamp::now();
    let events = [site.request(request, now), site.stock(unit, 5), site.stock(other, 1)];
    let answer = batch(&service, &events).send().await.expect("it answers");
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    site.shows(&service, (6, 0, 1)).await;
    assert_eq!(
        sql.number(format!(
            "SELECT count(*) FROM blood_requests WHERE id = {request_id} AND facility_id = \
             {facility}"
        ))
        .await,
        1
    );
    assert_eq!(
        sql.number(format!(
            "SELECT count(*) FROM blood_inventory WHERE id = {unit_id} AND blood_bank_id = {bank}"
        ))
        .await,
        1
    );
    audited(service.launch()).await;
}

/// A row is written with the id of another facility's row. SQLite removes the old row without
/// firing a delete trigger.
#[tokio::test]
async fn a_row_whose_id_another_row_takes_leaves_the_figures_of_its_facility() {
    let service = Service::on_sqlite().start().await;
    let (zone, _) = a_zone_at_noon();
    let (a, b) = (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run("PRAGMA foreign_keys = OFF").await;
    let now = jiff::Timestamp::now();
    let ids: Vec<Uuid> = (0..6).map(|_| Uuid::new_v4()).collect();
    let delivery = |id: Uuid, site: &Site| {
        let data = json!({
            "distribution_id": id,
            "dispatched_to_id": site.facility,
            "quantity": 9,
            "date_delivered": now.to_string(),
        });
        crate::support::events::event("distribution.set", data)
    };
    for event in [
        a.stock(ids[0], 3),
        b.stock(ids[1], 5),
        a.request(ids[2], now),
        b.request(ids[3], now),
        delivery(ids[4], &a),
        delivery(ids[5], &b),
    ] {
        acknowledged(&service, &event).await;
    }
    a.shows(&service, (3, 9, 1)).await;
    b.shows(&service, (5, 9, 1)).await;
    for (table, of_a, of_b) in
        [("blood_inventory", 0, 1), ("blood_requests", 2, 3), ("blood_distributions", 4, 5)]
    {
        let statement = format!(
            "UPDATE OR REPLACE {table} SET id = {} WHERE id = {}",
            sql.id(ids[of_a]),
            sql.id(ids[of_b])
        );
        sql.run(statement).await;
    }
    a.shows(&service, (0, 0, 0)).await;
    b.shows(&service, (5, 9, 1)).await;
    // The bank of b gets the id of the bank of a. Then the own units of b belong to no bank.
    acknowledged(&service, &a.stock(Uuid::new_v4(), 11)).await;
    a.shows(&service, (11, 0, 0)).await;
    sql.run(format!(
        "UPDATE OR REPLACE blood_banks SET id = {} WHERE id = {}",
        sql.id(a.bank),
        sql.id(b.bank)
    ))
    .await;
    a.shows(&service, (0, 0, 0)).await;
    b.shows(&service, (11, 9, 1)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn altered_or_moved_triggers_are_noticed_and_put_right() {
    let ways = [
        "DROP TRIGGER blood_requests_mark_insert; CREATE TRIGGER blood_requests_mark_insert AFTER \
         INSERT ON blood_requests BEGIN SELECT 1; END",
        "ALTER TABLE blood_requests RENAME TO old_requests; CREATE TABLE blood_requests AS SELECT \
         * FROM old_requests",
        "DROP TRIGGER blood_requests_mark_displaced",
    ];
    for (way, class) in ways.into_iter().zip(["altered", "altered", "missing"]) {
        let service = Service::on_sqlite().start().await;
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        site.shows(&service, (0, 0, 0)).await;
        let mut sql = Plain::beside(&service).await;
        sql.run(way).await;
        wait_until("the change of the trigger is noticed", async || {
            get(&service, "/health/ready").await["status"] == "degraded"
        })
        .await;
        let triggers = dependency(&service, "triggers").await;
        assert_eq!(triggers["last_error"], class, "{triggers}");
        assert!(
            triggers["remedy"].as_str().is_some_and(|remedy| remedy
                .contains("blood_requests_mark_")
                && remedy.contains("migrate")),
            "{triggers}"
        );
        let facility = site.facility.simple();
        sql.run(&format!(
            "INSERT INTO blood_requests (id, facility_id, created_at, event_time) VALUES \
             (randomblob(16), x'{facility}', {}, 0)",
            crate::steps::now_ms()
        ))
        .await;
        wait_until("no answer claims to be fresh", async || {
            age(&read(&service, &format!("/v1/facilities/{}/summaries/today", site.facility), "")
                .await)
                >= 1
        })
        .await;
        let migrated = service.launch().run(&["migrate"]).await;
        assert_eq!(migrated.code, Some(0), "{}", migrated.output);
        wait_until("the service is ready", async || {
            get(&service, "/health/ready").await["status"] == "ready"
        })
        .await;
        site.shows(&service, (0, 0, 1)).await;
    }
}

#[tokio::test]
async fn a_database_file_replaced_under_the_service_is_reported_and_events_are_refused() {
    let service = Service::on_sqlite().start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let item = Uuid::new_v4();
    acknowledged(&service, &site.stock(item, 3)).await;
    let path = service.database_url().trim_start_matches("sqlite://").to_owned();
    Plain::beside(&service).await.run(&format!("VACUUM INTO '{path}.bak'")).await;
    acknowledged(&service, &site.stock(item, 8)).await;
    site.shows(&service, (8, 0, 0)).await;
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{path}{end}")).expect("it is there");
    }
    std::fs::copy(format!("{path}.bak"), &path).expect("it can be copied");
    let refused = service.post("/v1/events", &site.stock(item, 9)).await;
    assert_eq!(refused.status(), 503);
    wait_until("readiness says that the file was replaced", async || {
        get(&service, "/health/ready").await["status"] == "degraded"
    })
    .await;
    let sqlite = dependency(&service, "sqlite").await;
    assert!(
        sqlite["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains(&path) && remedy.contains("restart")),
        "{sqlite}"
    );
    let summary = format!("/v1/facilities/{}/summaries/today", site.facility);
    wait_until("answers grow old", async || age(&read(&service, &summary, "").await) >= 2).await;
    assert_eq!(read(&service, &summary, "no-cache").await.status(), 503);
    assert_eq!(read(&service, "/v1/summaries/today", "no-cache").await.status(), 503);
    assert_eq!(service.post("/v1/events", &site.stock(item, 9)).await.status(), 503);
    let said = service
        .logged("the database file was replaced or deleted under the service: no event is taken");
    assert_eq!(said.len(), 1, "{said:?}");
    let service = service.terminate().await.1.start().await;
    site.shows(&service, (3, 0, 0)).await;
    acknowledged(&service, &site.stock(item, 9)).await;
    site.shows(&service, (9, 0, 0)).await;
}
