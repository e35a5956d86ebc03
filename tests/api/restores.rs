//! The database is replaced by a backup while a single server uses it. A single server stores no
//! watermark, so a missing watermark cannot show the restore. Nevertheless another epoch begins:
//! nothing of the lost epoch is served, and none of its versions is given to other figures.

use std::{path::Path, process::Command};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{Scrape, age, read},
    support::{
        Service,
        faketime::FakeClock,
        outside::Outside,
        postgres::Postgres,
        site::{Site, a_zone_at_noon, acknowledged, metric},
        wait_until,
    },
};

const KEPT: i64 = 10;
const LOST: i64 = 500;

/// A site with one stock in the backup and another in the database that the backup replaces.
struct Histories {
    site: Site,
    item: Uuid,
    lost_version: i64,
    /// How many epochs had begun before the restore.
    epochs: f64,
}

impl Histories {
    /// Writes what the backup contains. The caller makes the backup after this.
    async fn begin(service: &Service) -> Histories {
        let site = Site::register(service, &a_zone_at_noon().0).await;
        let item = Uuid::new_v4();
        acknowledged(service, &site.stock(item, KEPT)).await;
        site.shows(service, (KEPT, 0, 0)).await;
        drained_twice(service).await;
        Histories { site, item, lost_version: 0, epochs: 0.0 }
    }

    /// Writes what the backup does not contain.
    async fn go_on(&mut self, service: &Service) {
        acknowledged(service, &self.site.stock(self.item, LOST)).await;
        self.site.shows(service, (LOST, 0, 0)).await;
        drained_twice(service).await;
        self.lost_version =
            self.site.summary(service, "today").await["version"].as_i64().expect("it is a number");
        self.epochs = Scrape::of(service).await.sum("epochs_total", &[]);
    }

    /// Asserts, after the restore, that no reader gets what was lost, and that the next figure has
    /// a version that no other figure had.
    async fn are_apart(&self, service: &Service) {
        wait_until("the restore is noticed", async || {
            Scrape::of(service).await.sum("epochs_total", &[]) > self.epochs
        })
        .await;
        for _ in 0..10 {
            for directives in ["", "max-age=5", "max-age=1", "no-cache"] {
                let response = read(
                    service,
                    &format!("/v1/facilities/{}/summaries/today", self.site.facility),
                    directives,
                )
                .await;
                assert_eq!(response.status(), 200, "{directives}");
                let body: Value = response.json().await.expect("it is JSON");
                assert_eq!(body["total_stock"], KEPT, "{directives}: {body}");
            }
            let list: Value = read(service, "/v1/summaries/today", "no-cache")
                .await
                .json()
                .await
                .expect("it is JSON");
            assert_eq!(list["totals"]["total_stock"], KEPT, "{list}");
        }
        wait_until("the figures are proven again", async || {
            let response = read(
                service,
                &format!("/v1/facilities/{}/summaries/today", self.site.facility),
                "",
            )
            .await;
            let is_fresh = age(&response) == 0;
            let body: Value = response.json().await.expect("it is JSON");
            is_fresh && body["total_stock"] == KEPT
        })
        .await;
        acknowledged(service, &self.site.stock(self.item, KEPT + 1)).await;
        let after = self.site.summary(service, "today").await;
        assert_eq!(after["total_stock"], KEPT + 1);
        assert!(
            after["version"].as_i64() > Some(self.lost_version),
            "{} was the version of {LOST}: {after}",
            self.lost_version
        );
        self.site.shows(service, (KEPT + 1, 0, 0)).await;
    }
}

/// Waits until the drain has processed everything that is committed.
async fn drained_twice(service: &Service) {
    let before = metric(service, "summary_watermark_age_seconds").await;
    let now = std::time::Instant::now();
    wait_until("the drain has announced a new watermark", async || {
        metric(service, "summary_watermark_age_seconds").await
            < before + now.elapsed().as_secs_f64() - 0.6
    })
    .await;
}

pub fn sqlite(url: &str) -> &Path {
    Path::new(url.strip_prefix("sqlite://").expect("it is a file"))
}

/// Restores a backup as an administrator does, while the service runs.
pub fn shell(file: &Path, command: &str) {
    shell_all(file, &[command]);
}

/// These commands one right after the other.
pub fn shell_all(file: &Path, commands: &[&str]) {
    let done = Command::new("sqlite3")
        .arg("-cmd")
        .arg(".timeout 20000")
        .arg(file)
        .args(commands)
        .output()
        .expect("sqlite3 can be run");
    assert!(done.status.success(), "{commands:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn an_sqlite_backup_restored_under_the_service_begins_another_epoch() {
    let service = Service::on_sqlite().start().await;
    let mut histories = Histories::begin(&service).await;
    let file = sqlite(service.database_url());
    let backup = file.with_extension("bak");
    shell(file, &format!(".backup '{}'", backup.display()));
    histories.go_on(&service).await;
    shell(file, &format!(".restore '{}'", backup.display()));
    histories.are_apart(&service).await;
    // The same backup again. The versions of the epoch in between must not be given again, and the
    // epoch of the first restore must not be used again.
    histories.lost_version =
        histories.site.summary(&service, "today").await["version"].as_i64().unwrap();
    histories.epochs = Scrape::of(&service).await.sum("epochs_total", &[]);
    shell(file, &format!(".restore '{}'", backup.display()));
    histories.are_apart(&service).await;
}

/// The event comes in the half second before a drain snapshot shows the restore.
#[tokio::test]
async fn an_event_just_after_a_restore_takes_no_version_of_the_lost_epoch() {
    let service = Service::on_sqlite()
        .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 5_000)
        .start()
        .await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let other = Site::register(&service, &a_zone_at_noon().0).await;
    let (item, unit) = (Uuid::new_v4(), Uuid::new_v4());
    acknowledged(&service, &site.stock(item, KEPT)).await;
    let file = sqlite(service.database_url());
    let backup = file.with_extension("bak");
    shell(file, &format!(".backup '{}'", backup.display()));
    acknowledged(&service, &site.stock(item, LOST)).await;
    let lost = site.summary(&service, "today").await;
    shell(file, &format!(".restore '{}'", backup.display()));
    // Transactions of other programs raise the number of written transactions to what it was.
    wait_until("events are taken again", async || {
        service.post("/v1/events", &other.stock(unit, 1)).await.status() == 200
    })
    .await;
    for _ in 0..20 {
        for directives in ["no-cache", ""] {
            let response = read(
                &service,
                &format!("/v1/facilities/{}/summaries/today", site.facility),
                directives,
            )
            .await;
            let body: Value = response.json().await.expect("it is JSON");
            assert_eq!(body["total_stock"], KEPT, "{directives}: {body}");
        }
    }
    acknowledged(&service, &site.stock(item, KEPT + 1)).await;
    let after = site.summary(&service, "today").await;
    assert!(after["version"].as_i64() > lost["version"].as_i64(), "{lost} {after}");
}

/// Restores a dump of `pg_dump --data-only`, with or without the values of its sequences.
async fn data_loaded_again_in_one_transaction(sets_sequences: bool) {
    let service = Service::on_postgres().await.start().await;
    let mut histories = Histories::begin(&service).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let tables = [
        "facilities",
        "blood_banks",
        "blood_inventory",
        "blood_distributions",
        "blood_requests",
        "tombstones",
        "dashboard_daily_summary",
        "facility_state",
        "summary_marks",
        "outbox",
        "facility_outbox",
        "fleet",
        "job_runs",
    ];
    sql.run("CREATE SCHEMA kept").await;
    for table in tables {
        sql.run(format!("CREATE TABLE kept.{table} AS SELECT * FROM {table}")).await;
    }
    let rows = sql.number("SELECT last_value FROM outbox_id_seq").await;
    histories.go_on(&service).await;
    let load: Vec<String> = tables
        .iter()
        .map(|table| {
            format!("INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM kept.{table};")
        })
        .collect();
    let sequences = if sets_sequences {
        format!("SELECT setval('outbox_id_seq', {rows});")
    } else {
        String::new()
    };
    sql.run(format!(
        "BEGIN; TRUNCATE {}; {} {sequences} COMMIT",
        tables.join(", "),
        load.join(" ")
    ))
    .await;
    histories.are_apart(&service).await;
}

#[tokio::test]
async fn data_loaded_again_with_its_sequences_begins_another_epoch() {
    data_loaded_again_in_one_transaction(true).await;
}

#[tokio::test]
async fn data_loaded_again_without_its_sequences_begins_another_epoch() {
    data_loaded_again_in_one_transaction(false).await;
}

#[tokio::test]
async fn the_files_of_postgres_put_back_under_the_service_begin_another_epoch() {
    let postgres = Postgres::start(&[]);
    let launch = Service::on(postgres.fresh_database().await);
    let service = launch.start().await;
    let mut histories = Histories::begin(&service).await;
    postgres.stop();
    postgres.copy();
    postgres.start_again();
    wait_until("events are taken", async || {
        service.post("/v1/events", &histories.site.stock(histories.item, KEPT)).await.status()
            == 200
    })
    .await;
    histories.go_on(&service).await;
    postgres.stop();
    postgres.restore();
    postgres.start_again();
    histories.are_apart(&service).await;
}

on_both_stores! {
    async fn no_version_is_given_twice_when_the_counters_are_lost(service: Service) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        let item = Uuid::new_v4();
        for quantity in [1, 2, 3] {
            acknowledged(&service, &site.stock(item, quantity)).await;
        }
        let before =
            site.summary(&service, "today").await["version"].as_i64().expect("it is a number");
        let mut sql = Outside::connect(service.database_url()).await;
        sql.run(if sql.is_postgres() {
            "TRUNCATE facility_state"
        } else {
            "DELETE FROM facility_state"
        })
        .await;
        let (unit, bank) = (sql.id(Uuid::new_v4()), sql.id(site.bank));
        sql.run(format!(
            "INSERT INTO blood_inventory (id, blood_bank_id, quantity) \
             VALUES ({unit}, {bank}, 4)"
        ))
        .await;
        site.shows(&service, (7, 0, 0)).await;
        for directives in ["no-cache", "", "max-age=1"] {
            let response = read(
                &service,
                &format!("/v1/facilities/{}/summaries/today", site.facility),
                directives,
            )
            .await;
            let body: Value = response.json().await.expect("it is JSON");
            assert_eq!(body["total_stock"], 7, "{directives}: {body}");
            assert!(body["version"].as_i64() > Some(before), "{before}: {body}");
        }
    }

    /// Another program may delete rows of our tables, too.
    async fn a_day_whose_row_is_deleted_is_not_answered_from_memory(service: Service) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        let item = Uuid::new_v4();
        acknowledged(&service, &site.stock(item, 1)).await;
        let before =
            site.summary(&service, "today").await["version"].as_i64().expect("it is a number");
        let mut sql = Outside::connect(service.database_url()).await;
        sql.run("DELETE FROM dashboard_daily_summary").await;
        sql.run("DELETE FROM facility_state").await;
        let (unit, bank) = (sql.id(Uuid::new_v4()), sql.id(site.bank));
        sql.run(format!(
            "INSERT INTO blood_inventory (id, blood_bank_id, quantity) \
             VALUES ({unit}, {bank}, 4)"
        ))
        .await;
        site.shows(&service, (5, 0, 0)).await;
        let after = site.summary(&service, "today").await;
        assert!(after["version"].as_i64() > Some(before), "{before}: {after}");
    }
}

/// The reader comes in the half second before a drain snapshot shows the other epoch.
#[tokio::test]
async fn a_facility_of_another_epoch_is_not_answered_for_until_that_epoch_is_served() {
    let service = Service::on_postgres().await.start().await;
    let known = Site::register(&service, &a_zone_at_noon().0).await;
    drained_twice(&service).await;
    let mut held = Outside::connect(service.database_url()).await;
    // A drain snapshot waits for this lock, and reads of facilities do not.
    held.run("BEGIN; LOCK TABLE facility_outbox IN ACCESS EXCLUSIVE MODE").await;
    let mut sql = Outside::connect(service.database_url()).await;
    let unknown = Uuid::new_v4();
    sql.run(format!(
        "BEGIN; UPDATE fleet SET salt = 'restored';
         INSERT INTO facilities (id, name, timezone) VALUES ({}, 'Back', 'UTC'); COMMIT",
        sql.id(unknown)
    ))
    .await;
    let path = format!("/v1/facilities/{unknown}/summaries/today");
    assert_eq!(read(&service, &path, "no-cache").await.status(), 503);
    known.shows(&service, (0, 0, 0)).await;
    assert_eq!(Scrape::of(&service).await.sum("epochs_total", &[]), 0.0);
    held.run("ROLLBACK").await;
    wait_until("the other epoch is served", async || {
        read(&service, &path, "no-cache").await.status() == 200
            && Scrape::of(&service).await.sum("epochs_total", &[]) >= 1.0
    })
    .await;
}

/// The clock is set back while a pass of the drain, between its two snapshots, waits for a lock.
#[tokio::test]
async fn no_instant_from_before_the_clock_was_set_back_is_announced() {
    let clock = FakeClock::at(Timestamp::now());
    let postgres = Postgres::start_in_environment(&[], &clock.environment());
    let service = Service::on(postgres.fresh_database().await)
        .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 20_000)
        .start()
        .await;
    let histories = Histories::begin(&service).await;
    let mut held = Outside::connect(service.database_url()).await;
    let facility = held.id(histories.site.facility);
    held.run(format!(
        "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {facility} FOR UPDATE"
    ))
    .await;
    let mut sql = Outside::connect(service.database_url()).await;
    let write = "UPDATE blood_inventory SET quantity = quantity + 1";
    sql.run(write).await;
    wait_until("the drain waits for the lock", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sql.number(waiting).await > 0
    })
    .await;
    clock.set(Timestamp::now() - SignedDuration::from_mins(10));
    held.run("ROLLBACK").await;
    histories.site.shows(&service, (KEPT + 1, 0, 0)).await;
    for _ in 0..3 {
        drained_twice(&service).await;
    }
    let set_back =
        service.logged("the database's clock was set back; everything is proven anew").len();
    assert_eq!(set_back, 1, "an instant from before was announced after it");
    sql.run(write).await;
    histories.site.shows(&service, (KEPT + 2, 0, 0)).await;
}
