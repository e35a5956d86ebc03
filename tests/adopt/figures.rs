//! The figures of the owner's query beside those of the answers.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reqwest::{Method, Response};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{Service, wait_until};

/// What is not 0: `(key, day, figure, blood type)` with its value. Each facility is there with its
/// name and its today, as the figure `facility`.
pub type Figures = BTreeMap<(String, String, String, String), i64>;

/// The figures that the answers have, and the owner's.
pub struct Comparison {
    /// Those of single facilities, of today and the last seven days.
    pub answers: Figures,
    /// Those of the list of today.
    listed: Figures,
    pub owner: Figures,
}

/// The owner's figures, by the owner's query.
pub async fn of_owner(url: &str, query: &str) -> Figures {
    let mut connection = PgConnection::connect(url).await.expect("the owner is let in");
    let query = format!(
        "SELECT key::text, day::text, figure::text, blood_type::text, value::bigint FROM ({query}) \
         AS theirs"
    );
    let rows: Vec<(String, String, String, String, i64)> = sqlx::query_as(AssertSqlSafe(query))
        .fetch_all(&mut connection)
        .await
        .expect("the owner's query runs");
    connection.close().await.expect("the connection closes");
    let mut figures = Figures::new();
    for (key, day, figure, blood_type, value) in rows.into_iter().filter(|row| row.4 != 0) {
        *figures.entry((key, day, figure, blood_type)).or_insert(0) += value;
    }
    figures
}

/// Which answers a reader takes.
#[derive(Clone, Copy)]
pub struct Asked {
    /// The `Cache-Control`.
    pub freshness: &'static str,
    /// Only those that are exact as of an instant after this one, by their own `Age`. Others are
    /// asked for again.
    pub after: Option<Instant>,
}

/// Answers as of now.
pub const NO_CACHE: Asked = Asked { freshness: "no-cache", after: None };

/// The body of the answer that `asked` is about. The status is 200.
async fn exact(service: &Service, path: &str, asked: Asked) -> Value {
    let mut body = Value::Null;
    wait_until(&format!("{path} is exact as of the writes, by its Age"), async || {
        let sent = Instant::now();
        let answer = read(service, path, asked.freshness).await;
        let (status, age) = (answer.status(), age(&answer));
        body = answer.json().await.expect("JSON");
        assert_eq!(status, 200, "{path}: {body}");
        // Age is in whole seconds, rounded down.
        asked.after.is_none_or(|after| after + age + Duration::from_secs(1) <= sent)
    })
    .await;
    body
}

/// The `Age` of an answer.
pub fn age(answer: &Response) -> Duration {
    let age = answer.headers().get("age").expect("each answer has an Age");
    Duration::from_secs(age.to_str().expect("a text").parse().expect("whole seconds"))
}

/// A read with this `Cache-Control`.
pub async fn read(service: &Service, path: &str, freshness: &str) -> Response {
    let request = service.request(Method::GET, path).header("Cache-Control", freshness);
    request.send().await.expect("the service answers")
}

/// The mapped facilities.
pub async fn facilities(service: &Service, freshness: &str) -> Vec<Value> {
    let answer = read(service, "/v1/facilities?limit=500", freshness).await;
    assert_eq!(answer.status(), 200);
    let list: Value = answer.json().await.expect("JSON");
    list["items"].as_array().expect("a list").clone()
}

/// Adds the figures of one day to those that are known.
fn add(figures: &mut Figures, key: &str, day: &Value, with_stock: bool) {
    let date = day["date"].as_str().expect("a date");
    for (blood_type, of_type) in day["by_blood_type"].as_object().into_iter().flatten() {
        let of = |figure: &str| of_type[figure].as_i64().unwrap_or(0);
        let figures_of_day = ["stock", "transferred", "requests"];
        assert!(figures_of_day.iter().any(|figure| of(figure) != 0), "{blood_type} is none: {day}");
        for figure in figures_of_day {
            let value = of(figure);
            if value != 0 && (figure != "stock" || with_stock) {
                let of = (key.to_owned(), date.into(), figure.into(), blood_type.clone());
                figures.insert(of, value);
            }
        }
    }
}

/// The figures of all answers about single facilities: every facility, its stock today, and
/// deliveries and requests of the last seven days. The second are those of the list of today.
async fn of_service(service: &Service, asked: Asked) -> (Figures, Figures) {
    let (mut figures, mut keys) = (Figures::new(), BTreeMap::new());
    let facilities = exact(service, "/v1/facilities?limit=500", asked).await;
    for facility in facilities["items"].as_array().expect("a list") {
        let path = format!("/v1/facilities/{}", facility["facility_id"].as_str().expect("an id"));
        // The list does not say which day it is there.
        let facility = exact(service, &path, asked).await;
        let text = |name: &str| facility[name].as_str().expect("a text").to_owned();
        let (key, today) = (text("key"), text("today"));
        let range = exact(service, &format!("{path}/summaries"), asked).await;
        keys.insert(text("facility_id"), key.clone());
        figures.insert((key.clone(), today.clone(), "facility".into(), text("name")), 1);
        for day in range["items"].as_array().expect("days") {
            // The stock of a past day is a record, which the owner does not keep.
            add(&mut figures, &key, day, day["date"] == today);
        }
    }
    let list = exact(service, "/v1/summaries/today?limit=500", asked).await;
    let mut listed = Figures::new();
    for day in list["items"].as_array().expect("a list") {
        let key = keys.get(day["facility_id"].as_str().expect("an id"));
        add(&mut listed, key.map_or("not among the facilities", String::as_str), day, true);
    }
    (figures, listed)
}

/// Compares while nobody writes. Time goes on meanwhile, so that a unit may expire or a day begin:
/// then it compares again.
pub async fn compare(service: &Service, asked: Asked, url: &str, query: &str) -> Comparison {
    loop {
        let before = of_owner(url, query).await;
        let (answers, listed) = of_service(service, asked).await;
        let owner = of_owner(url, query).await;
        if before == owner {
            return Comparison { answers, listed, owner };
        }
    }
}

/// The figures of each facility's today.
fn of_today(figures: &Figures) -> Figures {
    let is_today = |key: &str, day: &str| {
        let facility = figures.keys().find(|(of, _, figure, _)| of == key && figure == "facility");
        facility.is_some_and(|(_, today, ..)| today == day)
    };
    let todays = figures
        .iter()
        .filter(|((key, day, figure, _), _)| figure != "facility" && is_today(key, day));
    todays.map(|(key, value)| (key.clone(), *value)).collect()
}

impl Comparison {
    /// Each figure that differs: the owner's value, and that of the answers.
    fn differences(&self) -> Vec<String> {
        let mut differ = Vec::new();
        for (what, answers, owner) in
            [("answer", &self.answers, &self.owner), ("list", &self.listed, &of_today(&self.owner))]
        {
            let mut keys: Vec<_> = owner.keys().chain(answers.keys()).collect();
            keys.sort();
            keys.dedup();
            keys.retain(|key| owner.get(key) != answers.get(key));
            differ.extend(keys.into_iter().map(|key| {
                format!("{key:?}: owner {:?}, {what} {:?}", owner.get(key), answers.get(key))
            }));
        }
        differ
    }

    #[track_caller]
    pub fn assert_equal(&self, when: &str) {
        let differ = self.differences();
        assert!(
            differ.is_empty(),
            "{when}: {} of {} figures differ:\n{}",
            differ.len(),
            self.owner.len(),
            differ.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
        );
    }
}
