//! The morning after a night in which nothing was written. The watermark has kept all figures
//! young, so the first readers cost no refresh, however many facilities there are.

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    steps::{Plain, Scrape, age, path, read},
    support::{
        PATIENCE, Service, faketime::FakeClock, plain_sql, postgres::Postgres, service::Launch,
        wait_until_within,
    },
};

const FACILITIES: usize = 10_000;
const ROWS_PER_INSERT: usize = 1_000;
/// Readers at the same time.
const READERS: usize = 32;
/// Far above the watermark's half second, far below the length of the night.
const BOUND_SECONDS: i64 = 30;
const ZONE: &str = "Asia/Kathmandu";

/// Seven in the evening in the zone, a year ahead of any clock that the tests may run by.
fn evening() -> Timestamp {
    "2031-03-14T13:15:00Z".parse().expect("an instant")
}

async fn registered(service: &Service) -> Vec<Uuid> {
    let ids: Vec<Uuid> = (0..FACILITIES).map(|_| Uuid::new_v4()).collect();
    let mut plain = Plain::beside(service).await;
    for chunk in ids.chunks(ROWS_PER_INSERT) {
        let rows: Vec<String> =
            chunk.iter().map(|id| format!("({}, 'Quiet', '{ZONE}')", plain.id(*id))).collect();
        plain
            .run(&format!("INSERT INTO facilities (id, name, timezone) VALUES {}", rows.join(", ")))
            .await;
    }
    ids
}

/// Waits until the table has so many rows for each facility, and nothing is left to be refreshed.
async fn settled(service: &Service, rows_each: usize) {
    let url = service.database_url();
    wait_until_within(10 * PATIENCE, "all days are open and nothing is marked", async || {
        let rows = "SELECT count(*) FROM dashboard_daily_summary";
        plain_sql::number(url, rows).await == (rows_each * FACILITIES) as i64
            && plain_sql::number(url, "SELECT count(*) FROM summary_marks").await == 0
            && Scrape::of(service).await.sum("summary_watermark_age_seconds", &[]) < 5.0
    })
    .await;
}

async fn a_quiet_night(launch: Launch, clock: &FakeClock) {
    let launch = launch.envs(clock.environment()).env("FACILITY_SUMMARY__REBUILD__CRON", "off");
    let service = launch.start().await;
    let facilities = registered(&service).await;
    settled(&service, 1).await;
    clock.set(evening() + SignedDuration::from_hours(12));
    settled(&service, 2).await; // the days that began at midnight
    let before = refreshes(&service).await;
    let bound = format!("max-age={BOUND_SECONDS}");
    let ages: Vec<i64> = futures_util::stream::iter(&facilities)
        .map(|id| {
            let (service, bound) = (&service, &bound);
            async move {
                let answer = read(service, &path(*id, "today"), bound).await;
                assert_eq!(answer.status(), 200);
                age(&answer)
            }
        })
        .buffer_unordered(READERS)
        .collect()
        .await;
    assert_eq!(ages.len(), FACILITIES);
    let oldest = ages.iter().max().copied().unwrap_or_default();
    assert!(oldest <= BOUND_SECONDS, "the oldest answer was {oldest} s old");
    assert_eq!(refreshes(&service).await - before, 0.0, "readers refreshed in the morning");
}

async fn refreshes(service: &Service) -> f64 {
    Scrape::of(service).await.sum("summary_refreshes_total", &[("trigger", "read")])
}

#[tokio::test]
async fn ten_thousand_quiet_facilities_cost_no_refresh_in_the_morning_on_sqlite() {
    let clock = FakeClock::at(evening());
    a_quiet_night(Service::on_sqlite(), &clock).await;
}

#[tokio::test]
async fn ten_thousand_quiet_facilities_cost_no_refresh_in_the_morning_on_postgres() {
    let clock = FakeClock::at(evening());
    let postgres = Postgres::start_in_environment(&[], &clock.environment());
    a_quiet_night(Service::on(postgres.fresh_database().await), &clock).await;
}
