//! Writers, each in its lane: by events through any replica, and by plain SQL without the service.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::{
    history::{Fate, Write},
    load::{Record, Shared, client, facility_of, never_hangs, now_ms, request, types_of, unit},
    parts::QUIET_FACILITY,
    readers::{self, FreshnessRequest},
    support::{events::event, site::Site},
};

/// The pause between two writes of a lane.
const PACE: Duration = Duration::from_millis(120);
/// The pause at the quiet facility, whose writers all write at the same times.
const QUIET_PACE: Duration = Duration::from_secs(4);
/// One in so many requests has an event that is refused, and so the whole request is refused.
const WRONG_EVERY: i64 = 9;
/// How long plain SQL may take. A primary that waits for its standby without end is given up.
const SQL_PATIENCE: Duration = Duration::from_secs(3);

/// Writes by events; sometimes reads its own write through another replica.
pub async fn with_events(shared: Arc<Shared>, lane: usize) -> Record {
    let (client, mut rng) = (client(), StdRng::seed_from_u64(lane as u64));
    let (mut writes, mut answers) = (Vec::new(), Vec::new());
    let mut pace = pace(lane);
    while shared.goes_on() {
        pace.tick().await;
        let Some(address) = shared.places.address(rng.random_range(0..shared.places.replicas()))
        else {
            continue;
        };
        let number = writes.len() as i64 + 1;
        let events = events(shared.places.sites[facility_of(lane)], lane, number);
        let sent_ms = now_ms();
        let (fate, version) = post(&client, &format!("http://{address}/v1/events"), &events).await;
        writes.push(Write { number, sent_ms, over_ms: now_ms(), fate });
        shared.progressed();
        if fate != Fate::Acknowledged && number % WRONG_EVERY != 0 {
            shared.is_turned_away();
        }
        if version.is_some() && facility_of(lane) != QUIET_FACILITY && rng.random_bool(0.2) {
            let requested =
                FreshnessRequest { min_version: version, ..FreshnessRequest::default() };
            answers.extend(
                readers::one(
                    &shared,
                    &client,
                    rng.random_range(0..shared.places.replicas()),
                    facility_of(lane),
                    requested,
                )
                .await,
            );
        }
    }
    Record { writes: Some((lane, writes)), answers }
}

/// One write of a lane, in one request.
fn events(site: Site, lane: usize, number: i64) -> Value {
    let types = types_of(lane);
    let stock = |which: usize, bank: Uuid| {
        let data = json!({
            "inventory_id": unit(lane, which),
            "blood_bank_id": bank,
            "blood_type": types[which],
            "quantity": number,
        });
        event("inventory.set", data)
    };
    let made = json!({
        "request_id": request(lane, number),
        "facility_id": site.facility,
        "blood_type": types[0],
        "created_at": jiff::Timestamp::now().to_string(),
    });
    // This bank is not registered, so that the request is refused.
    let second = if number % WRONG_EVERY == 0 { Uuid::nil() } else { site.bank };
    json!([stock(0, site.bank), event("request.set", made), stock(1, second)])
}

/// The outcome of the events, and the version that the facility has with them.
async fn post(client: &Client, url: &str, events: &Value) -> (Fate, Option<i64>) {
    let posted = client
        .post(url)
        .header("content-type", "application/cloudevents-batch+json")
        .body(events.to_string())
        .send()
        .await;
    let answer = match posted {
        Ok(answer) => answer,
        // The replica did not listen: the request was never sent.
        Err(error) if error.is_connect() => return (Fate::Refused, None),
        Err(error) => {
            never_hangs(&error);
            return (Fate::Unknown, None);
        }
    };
    let status = answer.status();
    let retry = answer.headers().contains_key("retry-after");
    let Ok(text) = answer.text().await else { return (Fate::Unknown, None) };
    match status {
        StatusCode::OK => {
            let body: Value = serde_json::from_str(&text).expect("an acknowledgement is JSON");
            let version = body["summaries"]
                .as_array()
                .and_then(|all| all.iter().filter_map(|one| one["version"].as_i64()).max());
            (Fate::Acknowledged, version)
        }
        StatusCode::SERVICE_UNAVAILABLE if retry && text.contains("is not known") => {
            (Fate::Unknown, None)
        }
        StatusCode::SERVICE_UNAVAILABLE if retry => (Fate::Refused, None),
        StatusCode::UNPROCESSABLE_ENTITY => (Fate::Refused, None),
        _ => panic!("events were answered {status}: {text}"),
    }
}

/// Writes by plain SQL.
pub async fn with_sql(shared: Arc<Shared>, lane: usize) -> Record {
    let site = shared.places.sites[facility_of(lane)];
    let (mut writes, mut held) = (Vec::new(), None);
    let mut pace = pace(lane);
    while shared.goes_on() {
        pace.tick().await;
        let number = writes.len() as i64 + 1;
        let sent_ms = now_ms();
        let statements = statements(site, lane, number);
        let written = tokio::time::timeout(
            SQL_PATIENCE,
            write(held.take(), &shared.places.primary, lane, &statements),
        )
        .await;
        let fate = match written {
            Ok(Ok(connection)) => {
                held = Some(connection);
                Fate::Acknowledged
            }
            Ok(Err(fate)) => fate,
            Err(_) => Fate::Unknown,
        };
        writes.push(Write { number, sent_ms, over_ms: now_ms(), fate });
        shared.progressed();
    }
    Record { writes: Some((lane, writes)), answers: Vec::new() }
}

/// Writes in one transaction, on this connection or a new one.
async fn write(
    connection: Option<PgConnection>,
    url: &str,
    lane: usize,
    statements: &str,
) -> Result<PgConnection, Fate> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            let mut connection = PgConnection::connect(url).await.map_err(|_| Fate::Refused)?;
            // A session that was given up may still be about to write, in a server that hung. It
            // holds this lock until it ends.
            let alone = format!("SELECT pg_advisory_lock({})", lane + 1);
            connection.execute(AssertSqlSafe(alone)).await.map_err(|_| Fate::Refused)?;
            connection
        }
    };
    match connection.execute(AssertSqlSafe(statements)).await {
        Ok(_) => Ok(connection),
        Err(error) => {
            // The transaction may have been committed, unless the server reports an error.
            let complaint = error
                .as_database_error()
                .and_then(|error| error.code())
                .unwrap_or_default()
                .into_owned();
            assert!(
                !complaint.starts_with("42") && !complaint.starts_with("23"),
                "{statements}: {error}"
            );
            Err(Fate::Unknown)
        }
    }
}

fn statements(site: Site, lane: usize, number: i64) -> String {
    let Site { facility, bank } = site;
    let [first, second] = types_of(lane);
    let (one, other, made) = (unit(lane, 0), unit(lane, 1), request(lane, number));
    format!(
        "BEGIN; INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity)
         VALUES ('{one}', '{bank}', '{first}', {number}), ('{other}', '{bank}', '{second}', \
         {number})
         ON CONFLICT (id) DO UPDATE SET quantity = excluded.quantity;
         INSERT INTO blood_requests (id, facility_id, blood_type) VALUES ('{made}', '{facility}', \
         '{first}'); COMMIT"
    )
}

fn pace(lane: usize) -> tokio::time::Interval {
    let mut pace =
        tokio::time::interval(if facility_of(lane) == QUIET_FACILITY { QUIET_PACE } else { PACE });
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
