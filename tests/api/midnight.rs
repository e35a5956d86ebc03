//! A facility's midnight, with the real service and databases under clocks that the tests set.
//!
//! The database's clock decides. The service's own clock is tested equal to it, ten minutes ahead
//! and ten minutes behind.

use jiff::{SignedDuration, Timestamp, civil::date, tz::TimeZone};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Service,
    faketime::FakeClock,
    outside::Outside,
    postgres::Postgres,
    service::Launch,
    site::{Site, acknowledged, audited, metric},
    wait_until,
};

/// Not on the full hour, so that only this zone has its midnight then.
const ZONE: &str = "Asia/Kathmandu";
/// A year ahead of any clock that the tests may run by. No other test has a midnight near it.
const CLOSING: jiff::civil::Date = date(2031, 3, 14);
const OPENING: jiff::civil::Date = date(2031, 3, 15);

fn midnight() -> Timestamp {
    OPENING
        .at(0, 0, 0, 0)
        .to_zoned(TimeZone::get(ZONE).expect("the zone exists"))
        .expect("the time exists")
        .timestamp()
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn timed(mut event: Value, at: Timestamp) -> Value {
    event["time"] = json!(at.to_string());
    event
}

async fn today(service: &Service, site: Site, known: Option<&str>) -> Response {
    let mut request =
        service.request(Method::GET, &format!("/v1/facilities/{}/summaries/today", site.facility));
    if let Some(etag) = known {
        request = request.header("if-none-match", etag);
    }
    request.send().await.expect("the service answers")
}

fn etag(answer: &Response) -> String {
    answer.headers()["etag"].to_str().expect("text").to_owned()
}

async fn row_count(sql: &mut Outside, site: Site, date: jiff::civil::Date) -> i64 {
    let id = sql.id(site.facility);
    sql.number(format!(
        "SELECT count(*) FROM dashboard_daily_summary WHERE facility_id = {id} AND date = '{date}'"
    ))
    .await
}

/// The test begins two minutes before midnight by the database's clock.
async fn crosses_midnight(service: Service, set_clocks: impl Fn(Timestamp), mut sql: Outside) {
    let site = Site::register(&service, ZONE).await;
    let quiet = Site::register(&service, ZONE).await;
    fill_before_midnight(&service, site).await;
    let closing = today(&service, site, None).await;
    let known = etag(&closing);
    assert_is_kept_until_midnight(&closing);
    let closing: Value = closing.json().await.expect("it is JSON");
    assert_eq!(
        (&closing["date"], &closing["total_stock"], &closing["total_requests"]),
        (&json!(CLOSING), &json!(7), &json!(1))
    );
    assert_eq!(today(&service, site, Some(&known)).await.status(), 304);

    set_clocks(midnight() - seconds(2));
    let touched = post_until_the_new_day(&service, &mut sql, site).await;
    let added =
        touched.iter().map(|(at, _)| at).collect::<std::collections::BTreeSet<_>>().len() as i64;
    // The other facility's day is opened without a request and without an event.
    wait_until("the quiet facility's day is open", async || {
        row_count(&mut sql, quiet, OPENING).await == 1
    })
    .await;
    let opened = today(&service, site, Some(&known)).await;
    assert_eq!(opened.status(), 200);
    assert_ne!(etag(&opened), known);
    let opened: Value = opened.json().await.expect("it is JSON");
    assert_eq!(
        (&opened["date"], &opened["total_requests"]),
        (&json!(OPENING), &json!(0)),
        "{opened}"
    );
    assert!(opened["version"].as_i64() > closing["version"].as_i64());
    // All units except the expired ones. The closed day has those that were posted before midnight,
    // and not those that were posted after it.
    wait_until("the unit that expired at midnight has gone", async || {
        site.summary(&service, "today").await["total_stock"] == 5 + added
    })
    .await;
    let kept = site.summary(&service, &CLOSING.to_string()).await;
    let surely_before =
        touched.iter().filter(|(_, date)| *date == CLOSING.to_string()).count() as i64;
    let stock = kept["total_stock"].as_i64().expect("a closed day keeps its stock");
    assert!(
        (7 + surely_before - 1..=7 + surely_before).contains(&stock),
        "the day closed with {kept}, after {surely_before} events before midnight"
    );
    the_closed_day_keeps_its_stock(&service, &mut sql, site, stock).await;
    assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
    audited(service.launch()).await;
}

/// Posts seven units and a request. Two of the units expire at the very moment at which the day
/// closes, so that the day closes with them.
async fn fill_before_midnight(service: &Service, site: Site) {
    let before = midnight() - seconds(120);
    let mut unit = timed(site.stock(Uuid::new_v4(), 2), before);
    unit["data"]["expires_at"] = json!(midnight().to_string());
    acknowledged(service, &unit).await;
    acknowledged(service, &timed(site.stock(Uuid::new_v4(), 5), before)).await;
    let answer = acknowledged(
        service,
        &timed(site.request(Uuid::new_v4(), midnight() - seconds(1)), before),
    )
    .await;
    assert_eq!(answer["summaries"][0]["date"], CLOSING.to_string(), "{answer}");
}

fn assert_is_kept_until_midnight(answer: &Response) {
    let text = answer.headers()["cache-control"].to_str().expect("text");
    let cached: i64 = text
        .split("max-age=")
        .nth(1)
        .and_then(|rest| rest.split(',').next()?.parse().ok())
        .expect("it has a max-age");
    assert!(
        cached <= 120,
        "midnight is less than 120 s away, but `today` may be kept for {cached} s"
    );
}

/// Posts events across midnight, until one touches the new day. Returns when each was posted, with
/// the day that it touched.
async fn post_until_the_new_day(
    service: &Service,
    sql: &mut Outside,
    site: Site,
) -> Vec<(Timestamp, String)> {
    let mut touched = Vec::new();
    wait_until("an event touches the new day", async || {
        let now = Timestamp::from_millisecond(database_ms(sql).await).expect("a time");
        let answer = acknowledged(service, &timed(site.stock(Uuid::new_v4(), 1), now)).await;
        for summary in answer["summaries"].as_array().expect("a list") {
            touched.push((now, summary["date"].as_str().expect("text").to_owned()));
        }
        touched.last().is_some_and(|(_, date)| *date == OPENING.to_string())
    })
    .await;
    touched
}

/// A late request is counted on its own day and does not change the stock of that day. A unit that
/// comes now does not change that stock either.
async fn the_closed_day_keeps_its_stock(
    service: &Service,
    sql: &mut Outside,
    site: Site,
    stock: i64,
) {
    let now = Timestamp::from_millisecond(database_ms(sql).await).expect("a time");
    let late = timed(site.request(Uuid::new_v4(), midnight() - seconds(3600)), now);
    acknowledged(service, &late).await;
    acknowledged(service, &timed(site.stock(Uuid::new_v4(), 100), now)).await;
    let kept = site.summary(service, &CLOSING.to_string()).await;
    assert_eq!((&kept["total_stock"], &kept["total_requests"]), (&json!(stock), &json!(2)));
}

async fn database_ms(sql: &mut Outside) -> i64 {
    sql.number("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint").await
}

async fn on_postgres(service_ahead: SignedDuration) {
    let clock = FakeClock::at(midnight() - seconds(120));
    let own = FakeClock::at(midnight() - seconds(120) + service_ahead);
    let postgres = Postgres::start_in_environment(&[], &clock.environment());
    let url = postgres.fresh_database().await;
    let service = Service::on(&url).envs(own.environment()).start().await;
    let set = |now: Timestamp| {
        clock.set(now);
        own.set(now + service_ahead);
    };
    crosses_midnight(service, set, Outside::connect(&url).await).await;
}

#[tokio::test]
async fn the_day_closes_and_opens_at_the_facilitys_midnight() {
    on_postgres(SignedDuration::ZERO).await;
}

#[tokio::test]
async fn the_databases_clock_decides_when_the_services_clock_is_ten_minutes_ahead() {
    on_postgres(seconds(600)).await;
}

#[tokio::test]
async fn the_databases_clock_decides_when_the_services_clock_is_ten_minutes_behind() {
    on_postgres(seconds(-600)).await;
}

#[tokio::test]
async fn on_sqlite_the_day_closes_and_opens_by_the_services_clock() {
    let clock = FakeClock::at(midnight() - seconds(120));
    let service = Service::on_sqlite().envs(clock.environment()).start().await;
    let (site, quiet) =
        (Site::register(&service, ZONE).await, Site::register(&service, ZONE).await);
    let before = midnight() - seconds(120);
    let mut unit = timed(site.stock(Uuid::new_v4(), 2), before);
    unit["data"]["expires_at"] = json!(midnight().to_string());
    acknowledged(&service, &unit).await;
    acknowledged(&service, &timed(site.stock(Uuid::new_v4(), 5), before)).await;
    let known = etag(&today(&service, site, None).await);
    assert_eq!(today(&service, site, Some(&known)).await.status(), 304);
    clock.set(midnight() - seconds(2));
    let mut sql = Outside::connect(service.database_url()).await;
    wait_until("the quiet facility's day is open", async || {
        row_count(&mut sql, quiet, OPENING).await == 1
    })
    .await;
    let opened = today(&service, site, Some(&known)).await;
    assert_eq!(opened.status(), 200);
    assert_eq!(opened.json::<Value>().await.expect("it is JSON")["date"], OPENING.to_string());
    wait_until("the expired unit has gone", async || {
        site.summary(&service, "today").await["total_stock"] == 5
    })
    .await;
    assert_eq!(site.summary(&service, &CLOSING.to_string()).await["total_stock"], 7);
    audited(service.launch()).await;
}

async fn sleeps_through_midnight(launch: Launch, clock: &FakeClock) {
    let service = launch.start().await;
    let site = Site::register(&service, ZONE).await;
    acknowledged(&service, &timed(site.stock(Uuid::new_v4(), 5), midnight() - seconds(120))).await;
    let (exited, launch) = service.terminate().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    clock.set(midnight() + seconds(3600));
    let service = launch.start().await;
    let mut sql = Outside::connect(service.database_url()).await;
    wait_until("the day is open", async || row_count(&mut sql, site, OPENING).await == 1).await;
    assert_eq!(site.summary(&service, "today").await["date"], OPENING.to_string());
    assert_eq!(site.summary(&service, "today").await["total_stock"], 5);
    assert_eq!(site.summary(&service, &CLOSING.to_string()).await["total_stock"], 5);
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_service_that_was_down_over_midnight_opens_the_day_at_its_start_on_sqlite() {
    let clock = FakeClock::at(midnight() - seconds(120));
    sleeps_through_midnight(Service::on_sqlite().envs(clock.environment()), &clock).await;
}

#[tokio::test]
async fn a_service_that_was_down_over_midnight_opens_the_day_at_its_start_on_postgres() {
    let clock = FakeClock::at(midnight() - seconds(120));
    let postgres = Postgres::start_in_environment(&[], &clock.environment());
    sleeps_through_midnight(
        Service::on(postgres.fresh_database().await).envs(clock.environment()),
        &clock,
    )
    .await;
}

/// The facility moves back over the date line when its day there has many figures already. It has
/// this date again a day later.
#[tokio::test]
async fn a_day_that_begins_a_second_time_after_a_move_starts_with_its_own_figures() {
    let start: Timestamp = "2031-06-10T10:30:00Z".parse().expect("an instant");
    let clock = FakeClock::at(start);
    let service = Service::on_sqlite().envs(clock.environment()).start().await;
    let site = Site::register(&service, "Pacific/Kiritimati").await; // the 11th there
    acknowledged(&service, &timed(site.request(Uuid::new_v4(), start), start)).await;
    acknowledged(&service, &timed(site.stock(Uuid::new_v4(), 5), start)).await;
    assert_eq!(site.summary(&service, "2031-06-11").await["total_requests"], 1);
    let body = json!({"name": "Moved", "timezone": "Pacific/Niue"}); // the 9th there
    assert_eq!(
        service.put(&format!("/v1/facilities/{}", site.facility), &body).await.status(),
        200
    );
    assert_eq!(site.summary(&service, "today").await["date"], "2031-06-09");
    acknowledged(&service, &timed(site.stock(Uuid::new_v4(), 3), start + seconds(1))).await;
    clock.set("2031-06-11T11:30:00Z".parse().expect("an instant"));
    wait_until("the facility's date is the 11th again", async || {
        let answer = today(&service, site, None).await;
        assert_eq!(answer.status(), 200);
        let now: Value = answer.json().await.expect("it is JSON");
        let figures = (now["total_stock"].as_i64(), now["total_requests"].as_i64());
        assert!(now["date"] != "2031-06-11" || figures == (Some(8), Some(0)), "{now}");
        now["date"] == "2031-06-11"
    })
    .await;
    audited(service.launch()).await;
}
