//! Steps that the tests of the interface share: entities, events, answers, metrics, and SQL of
//! another program.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::support::{Service, events::event, wait_until};

pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;

pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// An instant as events carry it.
pub fn instant(ms: i64) -> String {
    format!("{:.3}", Timestamp::from_millisecond(ms).unwrap())
}

/// A zone where it is about noon now: no test that uses it crosses a midnight.
pub fn noon_zone() -> String {
    let hour = Timestamp::now().to_zoned(TimeZone::UTC).hour();
    match 12 - hour {
        0 => "Etc/UTC".to_owned(),
        east @ 1.. => format!("Etc/GMT-{east}"),
        west => format!("Etc/GMT+{}", -west),
    }
}

/// The date in a zone, so many days from today.
pub fn date_in(zone: &str, days: i64) -> Date {
    let today = Timestamp::now().in_tz(zone).unwrap().date();
    today.checked_add(jiff::Span::new().days(days)).unwrap()
}

/// Registers a facility.
pub async fn facility(service: &Service, name: &str, zone: &str) -> Uuid {
    let id = Uuid::new_v4();
    let response = service
        .put(&format!("/v1/facilities/{id}"), &json!({"name": name, "timezone": zone}))
        .await;
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    id
}

/// Registers a blood bank of a facility.
pub async fn bank(service: &Service, facility: Uuid) -> Uuid {
    let id = Uuid::new_v4();
    let response = service
        .put(&format!("/v1/blood-banks/{id}"), &json!({"facility_id": facility, "name": "Bank"}))
        .await;
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    id
}

/// The event with another time.
pub fn at(mut event: Value, ms: i64) -> Value {
    event["time"] = json!(instant(ms));
    event
}

pub fn inventory(id: Uuid, bank: Uuid, blood_type: &str, quantity: i64) -> Value {
    event(
        "inventory.set",
        json!({
            "inventory_id": id,
            "blood_bank_id": bank,
            "blood_type": blood_type,
            "quantity": quantity,
        }),
    )
}

pub fn distribution(id: Uuid, facility: Uuid, quantity: i64, delivered_ms: i64) -> Value {
    let delivered = instant(delivered_ms);
    let data = json!({
        "distribution_id": id,
        "dispatched_to_id": facility,
        "blood_type": "A+",
        "quantity": quantity,
        "date_delivered": delivered,
    });
    event("distribution.set", data)
}

pub fn request(id: Uuid, facility: Uuid, created_ms: i64) -> Value {
    event(
        "request.set",
        json!({
            "request_id": id,
            "facility_id": facility,
            "created_at": instant(created_ms),
            "blood_type": "B-",
            "quantity": 3,
        }),
    )
}

/// A request with these events as a batch.
pub fn batch(service: &Service, events: &[Value]) -> RequestBuilder {
    service
        .request(Method::POST, "/v1/events")
        .header("content-type", "application/cloudevents-batch+json")
        .body(serde_json::to_string(events).unwrap())
}

/// Posts a batch, asserts that it is acknowledged, and returns the acknowledgement.
#[track_caller]
pub fn post(service: &Service, events: &[Value]) -> impl Future<Output = Value> {
    let caller = std::panic::Location::caller();
    let request = batch(service, events);
    async move {
        let response = request.send().await.expect("the service answers");
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{caller}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

/// The version that an acknowledgement names for a facility's day.
#[track_caller]
pub fn version_of(applied: &Value, facility: Uuid, date: Date) -> i64 {
    let (facility, date) = (facility.to_string(), date.to_string());
    let found = applied["summaries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["facility_id"] == facility && s["date"] == date);
    found.unwrap_or_else(|| panic!("{facility} {date} is not in {applied}"))["version"]
        .as_i64()
        .unwrap()
}

pub fn path(facility: Uuid, date: impl std::fmt::Display) -> String {
    format!("/v1/facilities/{facility}/summaries/{date}")
}

/// A read with this `Cache-Control`; `""` sends none.
pub async fn read(service: &Service, path: &str, directives: &str) -> Response {
    let request = service.request(Method::GET, path);
    let request =
        if directives.is_empty() { request } else { request.header("cache-control", directives) };
    request.send().await.expect("the service answers")
}

/// The summary as it is at this moment.
#[track_caller]
pub fn summary(
    service: &Service,
    facility: Uuid,
    date: impl std::fmt::Display,
) -> impl Future<Output = Value> {
    json_of(service, path(facility, date), "no-cache")
}

/// The body of a 200.
#[track_caller]
pub fn get(service: &Service, path: &str) -> impl Future<Output = Value> {
    json_of(service, path.to_owned(), "")
}

#[track_caller]
fn json_of(
    service: &Service,
    path: String,
    directives: &'static str,
) -> impl Future<Output = Value> {
    let caller = std::panic::Location::caller();
    async move {
        let response = read(service, &path, directives).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{caller}: {path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

/// A header's text; empty where it is missing.
pub fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// `Age` in seconds.
#[track_caller]
pub fn age(response: &Response) -> i64 {
    header(response, "age")
        .parse()
        .unwrap_or_else(|_| panic!("no readable Age in {:?}", response.headers()))
}

/// One scrape.
pub struct Scrape(Vec<(String, BTreeMap<String, String>, f64)>);

impl Scrape {
    pub async fn of(service: &Service) -> Scrape {
        let text = service.get("/metrics").await.text().await.unwrap();
        Scrape(
            text.lines()
                .filter(|line| !line.starts_with('#') && !line.is_empty())
                .map(sample)
                .collect(),
        )
    }

    /// The sum of the samples of this name with these labels; `None` if there are none.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matching = |(of, with, _): &&(String, BTreeMap<String, String>, f64)| {
            of == name
                && labels.iter().all(|(label, value)| with.get(*label).is_some_and(|v| v == value))
        };
        let values: Vec<f64> = self.0.iter().filter(matching).map(|sample| sample.2).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// The sum; 0 if there are no samples, as for a counter that has not counted yet.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or(0.0)
    }

    pub fn samples(&self) -> impl Iterator<Item = &(String, BTreeMap<String, String>, f64)> {
        self.0.iter()
    }
}

/// `name{label="value",…} 1.5`; no label here holds a comma or a quote.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',').filter(|part| !part.is_empty());
    let labels = labels
        .map(|part| part.split_once('=').unwrap())
        .map(|(k, v)| (k.to_owned(), v.trim_matches('"').to_owned()));
    (name.to_owned(), labels.collect(), value.parse().unwrap())
}

/// Another program's connection to the same database.
pub enum Plain {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Plain {
    pub async fn beside(service: &Service) -> Plain {
        let url = service.database_url();
        match url.starts_with("postgres") {
            true => Plain::Postgres(PgConnection::connect(url).await.unwrap()),
            false => Plain::Sqlite(SqliteConnection::connect(url).await.unwrap()),
        }
    }

    pub async fn run(&mut self, sql: &str) {
        let result = match self {
            Plain::Sqlite(connection) => {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
            }
            Plain::Postgres(connection) => {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
            }
        };
        result.unwrap_or_else(|e| panic!("{e}: {sql}"));
    }

    pub async fn number(&mut self, sql: &str) -> i64 {
        let result = match self {
            Plain::Sqlite(connection) => {
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await
            }
            Plain::Postgres(connection) => {
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await
            }
        };
        result.unwrap_or_else(|e| panic!("{e}: {sql}"))
    }

    /// Sessions that wait for what this one has locked on Postgres, and those that wait behind
    /// them.
    pub async fn waiting(&mut self) -> i64 {
        let line = "WITH RECURSIVE line (pid) AS (SELECT pg_backend_pid() UNION SELECT behind.pid \
                    FROM pg_locks behind
            JOIN line ON line.pid = ANY (pg_blocking_pids(behind.pid)) WHERE NOT behind.granted) \
                    SELECT count(*) - 1 FROM line";
        self.number(line).await
    }

    /// Holds a row lock until this many sessions wait for it.
    #[track_caller]
    pub fn until_waiting(&mut self, sessions: i64) -> impl Future<Output = ()> {
        wait_until("the others wait for the lock", async move || self.waiting().await >= sessions)
    }

    /// An id as a literal.
    pub fn id(&self, id: Uuid) -> String {
        match self {
            Plain::Sqlite(_) => format!("x'{}'", id.simple()),
            Plain::Postgres(_) => format!("'{id}'::uuid"),
        }
    }

    /// An instant as a literal.
    pub fn at(&self, ms: i64) -> String {
        match self {
            Plain::Sqlite(_) => ms.to_string(),
            Plain::Postgres(_) => format!("to_timestamp({ms} / 1000.0::float8)"),
        }
    }
}
