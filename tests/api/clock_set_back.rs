//! The database's clock is set back: over the expiry of units, and over a facility's midnight. By
//! the new time the units count once more, and the day before is open again.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Service,
    events::event,
    faketime::FakeClock,
    outside::Outside,
    postgres::Postgres,
    service::Launch,
    site::{Site, acknowledged, audited},
    wait_until,
};

const NOON: &str = "2031-05-20T12:00:00Z";
const MIDNIGHT: &str = "2031-05-21T00:00:00Z";

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn at(time: &str) -> Timestamp {
    time.parse().expect("an instant")
}

fn timed(mut event: Value, at: Timestamp) -> Value {
    event["time"] = json!(at.to_string());
    event
}

/// The same clock for the service and its database, and neither a rebuild nor a sample audit, which
/// would find a wrong row.
fn under(clock: &FakeClock, launch: Launch) -> Launch {
    launch
        .envs(clock.environment())
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
        .env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", 0)
}

async fn today(service: &Service, site: Site) -> (String, i64) {
    let answer = site.summary(service, "today").await;
    let date = answer["date"].as_str().expect("a date").to_owned();
    (date, answer["total_stock"].as_i64().expect("a number"))
}

/// How many days of events were derived because their row was of a later instant.
async fn derived_as_ahead(service: &Service) -> f64 {
    let text = service.get("/metrics").await.text().await.expect("it is text");
    let series = "summary_event_days_total{by=\"derived\",reason=\"ahead\"} ";
    text.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).unwrap_or(0.0)
}

/// Only events refresh, as after a step of less than a second, which nothing notices.
async fn an_event_after_a_small_step(clock: FakeClock, launch: Launch) {
    let launch = launch.env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 86_400_000);
    let service = under(&clock, launch).start().await;
    let site = Site::register(&service, "UTC").await;
    let unit = Uuid::new_v4();
    acknowledged(&service, &timed(site.stock(Uuid::new_v4(), 50), at(NOON))).await;
    let expires = at(NOON) + seconds(30);
    let mut expiring = timed(site.stock(unit, 3), at(NOON));
    expiring["data"]["expires_at"] = json!(expires.to_string());
    acknowledged(&service, &expiring).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let stored = format!(
        "SELECT total_stock FROM dashboard_daily_summary WHERE facility_id = {}",
        sql.id(site.facility)
    );
    assert_eq!(sql.number(stored.clone()).await, 53);
    // So far before the present that the clock is before the expiry for the whole test.
    clock.set(expires + seconds(20));
    acknowledged(&service, &timed(site.stock(Uuid::new_v4(), 5), at(NOON))).await;
    assert_eq!(sql.number(stored.clone()).await, 55, "the row leaves the expired units out");
    clock.set(expires - seconds(60));
    let removed = event("inventory.removed", json!({"inventory_id": unit}));
    acknowledged(&service, &timed(removed, at(NOON) + seconds(1))).await;
    assert_eq!(sql.number(stored.clone()).await, 55);
    assert_eq!(derived_as_ahead(&service).await, 1.0);
    // Derived, the row is of an instant that has been. So the next difference is added again.
    acknowledged(&service, &timed(site.stock(Uuid::new_v4(), 1), at(NOON))).await;
    assert_eq!(sql.number(stored).await, 56);
    assert_eq!(derived_as_ahead(&service).await, 1.0);
}

/// The whole service, as it is noticed that the clock was set back.
async fn a_read_after_a_step(clock: FakeClock, launch: Launch) {
    let service = under(&clock, launch).start().await;
    let site = Site::register(&service, "UTC").await;
    let ranged = Site::register(&service, "UTC").await;
    let listed = Site::register(&service, "UTC").await;
    let expires = at(NOON) + seconds(600);
    for site in [site, ranged, listed] {
        let mut expiring = timed(site.stock(Uuid::new_v4(), 3), at(NOON));
        expiring["data"]["expires_at"] = json!(expires.to_string());
        acknowledged(&service, &expiring).await;
        acknowledged(&service, &timed(site.stock(Uuid::new_v4(), 50), at(NOON))).await;
    }
    clock.set(expires + seconds(5));
    for site in [site, ranged, listed] {
        site.shows(&service, (50, 0, 0)).await;
    }
    let mut sql = Outside::connect(service.database_url()).await;
    let left_out = "SELECT count(*) FROM dashboard_daily_summary WHERE total_stock = 50";
    wait_until("the rows leave them out", async || sql.number(left_out).await == 3).await;
    clock.set(expires - seconds(300));
    // Of a facility, in a range and of all facilities: nothing but a reader asks for a refresh.
    site.shows(&service, (53, 0, 0)).await;
    let range = format!("/v1/facilities/{}/summaries?limit=1", ranged.facility);
    wait_until("the range shows the units again", async || {
        let answer: Value = service.get(&range).await.json().await.expect("it is JSON");
        answer["items"][0]["total_stock"] == 53
    })
    .await;
    wait_until("the day of all shows the units again", async || {
        let answer = service.get("/v1/summaries/today").await;
        let answer: Value = answer.json().await.expect("it is JSON");
        answer["totals"]["total_stock"] == 159
    })
    .await;
    audited(service.launch()).await;
}

/// The figures of the second midnight are those of the day that was opened again before it.
async fn a_second_midnight(clock: FakeClock, launch: Launch) {
    let midnight = at(MIDNIGHT);
    let service = under(&clock, launch).start().await;
    let site = Site::register(&service, "UTC").await;
    assert_eq!(today(&service, site).await.0, "2031-05-21");
    acknowledged(&service, &timed(site.stock(Uuid::new_v4(), 5), midnight)).await;
    clock.set(midnight - seconds(100));
    wait_until("the day before is open again", async || {
        today(&service, site).await.0 == "2031-05-20"
    })
    .await;
    acknowledged(&service, &timed(site.stock(Uuid::new_v4(), 3), midnight)).await;
    assert_eq!(today(&service, site).await, ("2031-05-20".into(), 8));
    let mut sql = Outside::connect(service.database_url()).await;
    let opened = format!(
        "SELECT count(*) FROM facility_state WHERE today = '2031-05-21' AND facility_id = {}",
        sql.id(site.facility)
    );
    assert_eq!(sql.number(opened.clone()).await, 0);
    // Later than the instant of the row that the first midnight has left.
    clock.set(midnight + seconds(900));
    wait_until("the day is opened without a reader", async || sql.number(&opened).await == 1).await;
    assert_eq!(today(&service, site).await, ("2031-05-21".into(), 8));
    let closed = site.summary(&service, "2031-05-20").await;
    assert_eq!(closed["total_stock"], 8);
    audited(service.launch()).await;
}

async fn on_postgres(start: Timestamp, test: impl AsyncFn(FakeClock, Launch)) {
    let clock = FakeClock::at(start);
    let postgres = Postgres::start_in_environment(&[], &clock.environment());
    let launch = Service::on(postgres.fresh_database().await);
    test(clock, launch).await;
}

#[tokio::test]
async fn an_event_derives_a_row_that_is_of_a_later_instant_than_now_on_sqlite() {
    an_event_after_a_small_step(FakeClock::at(at(NOON)), Service::on_sqlite()).await;
}

#[tokio::test]
async fn an_event_derives_a_row_that_is_of_a_later_instant_than_now_on_postgres() {
    on_postgres(at(NOON), an_event_after_a_small_step).await;
}

#[tokio::test]
async fn units_count_again_when_the_clock_is_set_back_over_their_expiry_on_sqlite() {
    a_read_after_a_step(FakeClock::at(at(NOON)), Service::on_sqlite()).await;
}

#[tokio::test]
async fn units_count_again_when_the_clock_is_set_back_over_their_expiry_on_postgres() {
    on_postgres(at(NOON), a_read_after_a_step).await;
}

#[tokio::test]
async fn a_day_is_opened_again_at_its_second_midnight_on_sqlite() {
    let clock = FakeClock::at(at(MIDNIGHT) + seconds(60));
    a_second_midnight(clock, Service::on_sqlite()).await;
}

#[tokio::test]
async fn a_day_is_opened_again_at_its_second_midnight_on_postgres() {
    on_postgres(at(MIDNIGHT) + seconds(60), a_second_midnight).await;
}
