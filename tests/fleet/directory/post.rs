//! Posts events, and reports what became of them.

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    seen::{Stated, Stating},
    world::{World, instant},
};
use crate::history::Fate;

/// An event as of an instant.
pub fn event(kind: &str, at_ms: i64, data: Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": Uuid::new_v4(),
        "source": "/fleet",
        "type": kind,
        "time": instant(at_ms),
        "data": data,
    })
}

/// The outcome of a request with events.
pub struct Posted {
    pub fate: Fate,
    pub sent_ms: i64,
    pub over_ms: i64,
    /// Whether some were superseded.
    pub superseded: bool,
    /// The days that it touched: facility, date, version.
    pub days: Vec<(Uuid, String, i64)>,
}

impl Posted {
    /// The rows that the events stated, for the judge.
    pub fn stated(&self, rows: &[(Stating, Uuid, i64)]) -> Vec<Stated> {
        let stated = |(kind, id, stated_ms): &(Stating, Uuid, i64)| Stated {
            kind: *kind,
            id: *id,
            stated_ms: *stated_ms,
            over_ms: self.over_ms,
            fate: self.fate,
            superseded: self.superseded,
        };
        rows.iter().map(stated).collect()
    }
}

/// Posts them in one request to that replica.
pub async fn post(world: &World, client: &Client, replica: usize, events: &[Value]) -> Posted {
    let sent_ms = world.now_ms();
    let posted = |fate| Posted {
        fate,
        sent_ms,
        over_ms: world.now_ms(),
        superseded: false,
        days: Vec::new(),
    };
    let Some(address) = world.places.address(replica) else { return posted(Fate::Refused) };
    let request = client
        .post(format!("http://{address}/v1/events"))
        .header("content-type", "application/cloudevents-batch+json");
    let answer = match request.body(Value::from(events.to_vec()).to_string()).send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return posted(Fate::Refused),
        Err(_) => return posted(Fate::Unknown),
    };
    let status = answer.status();
    let Ok(text) = answer.text().await else { return posted(Fate::Unknown) };
    match status {
        StatusCode::OK => {
            let body: Value = serde_json::from_str(&text).expect("an acknowledgement is JSON");
            let day = |day: &Value| {
                let facility = day["facility_id"].as_str()?.parse().ok()?;
                Some((facility, day["date"].as_str()?.to_owned(), day["version"].as_i64()?))
            };
            world.count_acknowledged();
            let days = body["summaries"]
                .as_array()
                .expect("it names the days")
                .iter()
                .filter_map(day)
                .collect();
            let superseded = body["superseded"].as_i64() != Some(0);
            Posted { superseded, days, ..posted(Fate::Acknowledged) }
        }
        StatusCode::SERVICE_UNAVAILABLE if text.contains("is not known") => posted(Fate::Unknown),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::UNPROCESSABLE_ENTITY => posted(Fate::Refused),
        _ => posted(Fate::Unknown),
    }
}
