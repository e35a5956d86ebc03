//! Reads of days that memory does not hold and the table has: one statement reads for all readers
//! that came while the one before was under way. These tests run the service's own parts within
//! the test, so that many readers can come at the same instant, before any statement begins.

use facility_summary::{
    config::{DatabaseSettings, Settings},
    directory::Located,
    domain::{day::Day, summary::Key},
    service::freshness_request::FreshnessRequest,
    service::reads::answer::{Answer, ReadError, Tier},
    startup::Application,
};
use futures_util::{future::join_all, poll};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{Plain, Scrape, noon_zone, path, read},
    support::{Service, plain_sql, service::Launch, wait_until},
};

const FACILITIES: usize = 1_000;

/// A service within the test that holds nothing in memory, on a table that has a row of each
/// facility's today.
struct Cold {
    application: Application,
    url: String,
    facilities: Vec<Located>,
    _launch: Launch,
}

impl Cold {
    async fn start(service: Service, facilities: usize) -> Cold {
        let launch = stored(service, facilities).await;
        let url = launch.database_url().to_owned();
        let mut settings = Settings {
            database: DatabaseSettings { url: url.clone(), ..Default::default() },
            ..Default::default()
        };
        settings.server.bind = "127.0.0.1:0".into();
        settings.audit.interval_ms = 0; // it would read and repair at random
        settings.rebuild.cron = Some("off".into());
        settings.freshness.refresh_timeout_ms = 60_000; // a busy machine is no failure
        let application = Application::build(settings).await.unwrap();
        let app = application.app();
        wait_until("the table is proven", async || app.memory.watermark_ms() != i64::MIN).await;
        let (all, as_of_ms) = app.directory.all();
        let facilities =
            all.iter().map(|facility| Located { facility: facility.clone(), as_of_ms }).collect();
        assert_eq!(app.memory.size().0, 0, "the reads are cold");
        Cold { application, url, facilities, _launch: launch }
    }

    fn today(&self, located: &Located) -> Day {
        located.facility.zone.today(self.application.app().clock.now_ms())
    }

    async fn read(&self, located: &Located) -> Result<Answer, ReadError> {
        self.reading(located).await
    }

    /// A read that needs nothing of this.
    fn reading(
        &self,
        located: &Located,
    ) -> impl Future<Output = Result<Answer, ReadError>> + Send + use<> {
        let requested = FreshnessRequest {
            max_age_ms: 3_600_000,
            explicit: true,
            max_stale_ms: None,
            only_if_cached: false,
            min_version: 0,
        };
        let reads = self.application.app().reads.clone();
        let (located, day) = (located.clone(), self.today(located));
        async move { reads.read(&located, day, &requested, None).await.0 }
    }

    /// Statements that read the table, and the days that they read.
    fn statements(&self) -> (u64, u64) {
        let metrics = &self.application.app().metrics;
        let of_primary = ["primary"];
        (
            metrics.table_reads.with_label_values(&of_primary).get(),
            metrics.table_read_days.with_label_values(&of_primary).get(),
        )
    }

    /// Puts a view in the place of the table. Of the facility it shows `column` as `instead`.
    async fn shows_instead(&self, facility: Uuid, column: &str, instead: &str) {
        let id = match plain_sql::is_postgres(&self.url) {
            true => format!("'{facility}'"),
            false => format!("x'{}'", facility.simple()),
        };
        let columns = [
            "facility_id",
            "date",
            "total_stock",
            "total_transferred",
            "total_requests",
            "by_blood_type",
            "as_of",
            "next_expires_at",
            "updated_at",
            "version",
            "day_start",
            "day_end",
            "day_as_of",
        ];
        let shown = columns.map(|name| match name == column {
            true => {
                format!("CASE WHEN facility_id = {id} THEN {instead} ELSE {name} END AS {name}")
            }
            false => name.to_owned(),
        });
        let view = format!(
            "ALTER TABLE dashboard_daily_summary RENAME TO kept_elsewhere; CREATE VIEW \
             dashboard_daily_summary AS SELECT {} FROM kept_elsewhere",
            shown.join(", ")
        );
        plain_sql::execute(&self.url, &view).await;
    }
}

/// Stores a row of today for each of so many new facilities, and ends the service.
async fn stored(service: Service, facilities: usize) -> Launch {
    let zone = noon_zone();
    let mut plain = Plain::beside(&service).await;
    let rows: Vec<String> = (0..facilities)
        .map(|number| format!("({}, 'Facility {number}', '{zone}')", plain.id(Uuid::new_v4())))
        .collect();
    plain
        .run(&format!("INSERT INTO facilities (id, name, timezone) VALUES {}", rows.join(", ")))
        .await;
    let url = service.database_url().to_owned();
    if plain_sql::is_postgres(&url) {
        // On a table of a few rows the planner would compute the columns of all of them, also of
        // those that nobody asked for.
        for setting in ["enable_hashjoin", "enable_mergejoin", "enable_material"] {
            let name = plain_sql::texts(&url, "SELECT current_database()::text").await.remove(0);
            plain_sql::execute(&url, &format!("ALTER DATABASE \"{name}\" SET {setting} = off"))
                .await;
        }
    }
    wait_until("each has a row, and no mark is left", async || {
        plain_sql::number(&url, "SELECT count(*) FROM dashboard_daily_summary").await
            == facilities as i64
            && plain_sql::number(&url, "SELECT count(*) FROM summary_marks").await == 0
    })
    .await;
    service.terminate().await.1
}

on_both_stores! {
    async fn a_thousand_cold_days_asked_at_once_are_read_in_five_statements_at_most(
        service: Service,
    ) {
        let cold = Cold::start(service, FACILITIES).await;
        let answers = join_all(cold.facilities.iter().map(|located| cold.read(located))).await;
        for (answer, located) in answers.into_iter().zip(&cold.facilities) {
            let answer = answer.unwrap();
            assert_eq!(answer.tier, Tier::Table, "{answer:?}");
            let body: serde_json::Value = serde_json::from_slice(&answer.entry.body()).unwrap();
            assert_eq!(body["facility_id"], located.facility.id.to_string());
        }
        let (statements, days) = cold.statements();
        assert!(statements <= 5, "{statements} statements");
        assert_eq!(days, FACILITIES as u64, "none is read twice");
        let again = cold.read(&cold.facilities[0]).await.unwrap();
        assert_eq!((again.tier, cold.statements().0), (Tier::Memory, statements), "{again:?}");
    }

    async fn a_day_that_cannot_be_read_fails_no_other_day_of_its_batch(service: Service) {
        let cold = Cold::start(service, 20).await;
        let bad = cold.facilities[7].facility.id;
        let instead = match plain_sql::is_postgres(&cold.url) {
            true => ("total_stock", "1 / (total_stock - total_stock)"),
            false => ("by_blood_type", "json('{')"),
        };
        cold.shows_instead(bad, instead.0, instead.1).await;
        let answers = join_all(cold.facilities.iter().map(|located| cold.read(located))).await;
        for (answer, located) in answers.into_iter().zip(&cold.facilities) {
            match located.facility.id == bad {
                true => assert!(matches!(answer, Err(ReadError::Unavailable)), "{answer:?}"),
                false => assert_eq!(answer.unwrap().tier, Tier::Table),
            }
        }
    }

    async fn a_reader_that_leaves_takes_nothing_from_its_batch(service: Service) {
        let cold = Cold::start(service, 2).await;
        let mut leaving = Box::pin(cold.read(&cold.facilities[0]));
        let mut staying = Box::pin(cold.read(&cold.facilities[1]));
        assert!(poll!(&mut leaving).is_pending() && poll!(&mut staying).is_pending());
        drop(leaving);
        assert_eq!(staying.await.unwrap().tier, Tier::Table);
        let left = &cold.facilities[0];
        wait_until("the day of the reader that left is in memory", async || {
            let key = Key { facility_id: left.facility.id, date: cold.today(left).date };
            cold.application.app().memory.get(&key).is_some()
        })
        .await;
        assert_eq!(cold.statements(), (2, 2));
    }

    async fn a_thousand_readers_of_one_cold_day_cost_one_statement(service: Service) {
        let service = stored(service, 1).await.start().await;
        let url = service.database_url();
        let facility = plain_sql::texts(url, "SELECT id(id) FROM facilities").await;
        let today = path(facility[0].parse().unwrap(), "today");
        let readers = (0..1_000).map(|_| async {
            assert_eq!(read(&service, &today, "").await.status(), 200);
        });
        join_all(readers).await;
        let scrape = Scrape::of(&service).await;
        let primary = [("server", "primary")];
        assert_eq!(scrape.sum("summary_table_reads_total", &primary), 1.0);
        assert_eq!(scrape.sum("summary_table_read_days_total", &primary), 1.0);
        assert_eq!(scrape.sum("summary_refreshes_total", &[("trigger", "read")]), 0.0);
    }
}

#[tokio::test]
async fn a_statement_that_hangs_does_not_hold_the_next_batch_back() {
    let cold = Cold::start(Service::on_postgres().await.start().await, 2).await;
    let (held, other) = (&cold.facilities[0], &cold.facilities[1]);
    // Reading this facility's row waits for an advisory lock, as long as the test holds it. The
    // function is said to be stable, so that the planner reads no other row with it.
    plain_sql::execute(
        &cold.url,
        "CREATE FUNCTION waits() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM \
         pg_advisory_xact_lock_shared(42); RETURN 0; END'",
    )
    .await;
    cold.shows_instead(held.facility.id, "total_stock", "total_stock + waits()").await;
    let mut lock = <sqlx::PgConnection as sqlx::Connection>::connect(&cold.url).await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_lock(42)").execute(&mut lock).await.unwrap();
    let hanging = tokio::spawn(cold.reading(held));
    let are_waiting = async |statements| {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        plain_sql::number(&cold.url, waiting).await == statements
    };
    wait_until("the statement waits for the lock", async || are_waiting(1).await).await;
    assert_eq!(cold.read(other).await.unwrap().tier, Tier::Table, "it does not wait");
    let later = tokio::spawn(cold.reading(held));
    wait_until("a later reader of the same day has its own", async || are_waiting(2).await).await;
    sqlx::raw_sql("SELECT pg_advisory_unlock(42)").execute(&mut lock).await.unwrap();
    assert_eq!(hanging.await.unwrap().unwrap().tier, Tier::Table, "whoever waited is answered too");
    assert_eq!(later.await.unwrap().unwrap().tier, Tier::Table);
}
