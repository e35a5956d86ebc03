//! Readers with all kinds of requests. They keep every answer.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use crate::{
    history::{Answer, Shown},
    load::{LANES, Record, Shared, client, never_hangs, now_ms, types_of},
    parts::{FACILITIES, QUIET_FACILITY},
};

/// The pause between two reads of a reader.
const PACE: Duration = Duration::from_millis(30);

/// What a reader asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct FreshnessRequest {
    /// `max-age`, in seconds.
    pub bound: Option<i64>,
    pub min_version: Option<i64>,
    /// See [`Answer::session`].
    pub session: Option<usize>,
}

/// Reads at any replica, with or without a bound, sometimes one facility, sometimes all.
pub async fn of_any_kind(shared: Arc<Shared>, seed: usize) -> Record {
    let (client, mut rng) = (client(), StdRng::seed_from_u64(seed as u64));
    let mut answers = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    while shared.goes_on() {
        pace.tick().await;
        let replica = rng.random_range(0..shared.places.replicas());
        let bound = [None, None, Some(60), Some(5), Some(2), Some(1)][rng.random_range(0..6)];
        // Few readers ask for figures from the source.
        let bound = if rng.random_bool(0.02) { Some(0) } else { bound };
        let requested = FreshnessRequest { bound, ..FreshnessRequest::default() };
        if rng.random_bool(0.2) {
            answers.extend(all(&shared, &client, replica, requested).await);
        } else {
            answers.extend(
                one(&shared, &client, replica, rng.random_range(0..FACILITIES), requested).await,
            );
        }
    }
    Record { answers, ..Record::default() }
}

/// Reads at any replica, and passes the greatest version that it has seen each time.
pub async fn who_goes_on(shared: Arc<Shared>, seed: usize) -> Record {
    let (client, mut rng) = (client(), StdRng::seed_from_u64(1_000 + seed as u64));
    let mut answers = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    let (mut known, mut history) = ([0; FACILITIES], 0);
    while shared.goes_on() {
        pace.tick().await;
        if shared.epochs() != history {
            (known, history) = ([0; FACILITIES], shared.epochs());
        }
        // A request with a version makes a replica look for it in other tiers. So no reader sends
        // one about the quiet facility.
        let (replica, facility) =
            (rng.random_range(0..shared.places.replicas()), rng.random_range(0..QUIET_FACILITY));
        let requested = FreshnessRequest {
            bound: None,
            min_version: Some(known[facility]),
            session: Some(seed + 1_000 * history),
        };
        let answer = one(&shared, &client, replica, facility, requested).await;
        known[facility] =
            answer.as_ref().map_or(known[facility], |answer| known[facility].max(answer.version));
        answers.extend(answer);
    }
    Record { answers, ..Record::default() }
}

/// Reads today of one facility; `None` if the replica does not listen or refuses.
pub async fn one(
    shared: &Shared,
    client: &Client,
    replica: usize,
    facility: usize,
    requested: FreshnessRequest,
) -> Option<Answer> {
    let mut path =
        format!("/v1/facilities/{}/summaries/today", shared.places.sites[facility].facility);
    if let Some(version) = requested.min_version {
        path += &format!("?min_version={version}");
    }
    let asked_ms = now_ms();
    let (head, body) = ask(shared, client, replica, &path, requested).await?;
    Some(answer(&head, &body, replica, facility, asked_ms, requested))
}

/// Reads today of all facilities in one answer.
async fn all(
    shared: &Shared,
    client: &Client,
    replica: usize,
    requested: FreshnessRequest,
) -> Vec<Answer> {
    let asked_ms = now_ms();
    let Some((head, body)) =
        ask(shared, client, replica, "/v1/summaries/today?limit=100", requested).await
    else {
        return Vec::new();
    };
    let items = body["items"].as_array().expect("a listing has items");
    let place = |item: &Value| {
        shared.places.sites.iter().position(|site| item["facility_id"] == site.facility.to_string())
    };
    let known = items.iter().filter_map(|item| Some((item, place(item)?)));
    known
        .map(|(item, facility)| answer(&head, item, replica, facility, asked_ms, requested))
        .collect()
}

/// The facts in the head of an answer.
struct Head {
    age_seconds: i64,
    source: String,
    answered_ms: i64,
}

async fn ask(
    shared: &Shared,
    client: &Client,
    replica: usize,
    path: &str,
    requested: FreshnessRequest,
) -> Option<(Head, Value)> {
    let address = shared.places.address(replica)?;
    let mut request = client.get(format!("http://{address}{path}"));
    if let Some(bound) = requested.bound {
        request = request.header("cache-control", format!("max-age={bound}"));
    }
    let received = match request.send().await {
        Ok(response) => receive(response).await,
        Err(error) => Err(error),
    };
    match received {
        Ok((StatusCode::OK, head, text)) => {
            shared.progressed();
            Some((head, serde_json::from_str(&text).expect("an answer is JSON")))
        }
        Ok((StatusCode::SERVICE_UNAVAILABLE, ..)) => {
            shared.is_turned_away();
            None
        }
        Ok((status, _, text)) => {
            panic!("{path} at replica {replica} with {requested:?} was answered {status}: {text}")
        }
        Err(error) => {
            never_hangs(&error);
            shared.is_turned_away();
            None
        }
    }
}

async fn receive(response: Response) -> Result<(StatusCode, Head, String), reqwest::Error> {
    let status = response.status();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        status != StatusCode::SERVICE_UNAVAILABLE || !header("retry-after").is_empty(),
        "503 without Retry-After"
    );
    let (age, source) = (header("age"), header("cache-status"));
    let text = response.text().await?;
    Ok((
        status,
        Head { age_seconds: age.parse().unwrap_or(i64::MIN), source, answered_ms: now_ms() },
        text,
    ))
}

fn answer(
    head: &Head,
    summary: &Value,
    replica: usize,
    facility: usize,
    asked_ms: i64,
    requested: FreshnessRequest,
) -> Answer {
    assert!(head.age_seconds >= 0, "an answer without Age: {summary}");
    Answer {
        session: requested.session,
        asked_ms,
        answered_ms: head.answered_ms,
        age_seconds: head.age_seconds,
        bound_seconds: requested.bound,
        min_version: requested.min_version,
        ..answer_of(summary, replica, facility, head.source.clone())
    }
}

/// What a summary shows, without when it came and what it claims.
pub fn answer_of(summary: &Value, replica: usize, facility: usize, source: String) -> Answer {
    let mut body = DefaultHasher::new();
    summary.to_string().hash(&mut body);
    let figure = |name: &str, of: &str| summary["by_blood_type"][name][of].as_i64().unwrap_or(0);
    let lanes = facility * LANES.len()..(facility + 1) * LANES.len();
    let shown = lanes.map(|lane| {
        let [first, second] = types_of(lane);
        Shown {
            lane,
            stocks: [figure(first, "stock"), figure(second, "stock")],
            requests: figure(first, "requests"),
        }
    });
    Answer {
        session: None,
        replica,
        facility,
        date: summary["date"]
            .as_str()
            .and_then(|date| date.parse().ok())
            .expect("a summary has a date"),
        asked_ms: 0,
        answered_ms: 0,
        age_seconds: 0,
        bound_seconds: None,
        min_version: None,
        version: summary["version"].as_i64().expect("a summary has a version"),
        body: body.finish(),
        shown: shown.collect(),
        source,
    }
}
