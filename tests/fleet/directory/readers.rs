//! Readers of all resources, with every directive, at every replica. They keep every answer.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use jiff::{Span, civil::Date};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use reqwest::{Client, StatusCode, header::HeaderMap};
use serde_json::Value;
use uuid::Uuid;

use super::{
    figures::date_in,
    seen::{Answer, Asked, ByType, Entry, Item, Said, TYPES},
    settings::{Kind, ZONES},
    world::{World, client},
};

/// The longest pause between two reads of a reader, in milliseconds.
const PACE_MS: u64 = 60;

/// The bodies that a reader has, by path: their tags and their content.
pub type Known = HashMap<String, (String, Said)>;

/// Reads until the round is over.
pub async fn read(world: Arc<World>, number: u64) -> Vec<Answer> {
    let (client, mut rng, mut known, mut answers) =
        (client(), world.plan.rng(1_000 + number), Known::new(), Vec::new());
    while world.goes_on() {
        let replica = rng.random_range(0..world.places.replicas());
        let mut asked = Asked { replica, ..requested(&mut rng) };
        let (lists, roll) = (world.plan.kind == Kind::Lists, rng.random_range(0..100));
        let facilities = world.facilities();
        let facility = *facilities.choose(&mut rng).expect("there are some");
        let date = a_date(&world, &mut rng);
        match roll {
            0..60 if !lists => answers.extend(
                one(
                    &world,
                    &client,
                    &mut known,
                    asked,
                    facility,
                    rng.random_bool(0.4).then_some(date),
                )
                .await,
            ),
            60..75 if !lists => answers.extend(range(&world, &client, asked, facility, date).await),
            75..80 => answers.extend(facility_itself(&world, &client, asked, facility).await),
            80..84 => answers.extend(directory(&world, &client, asked).await),
            _ => {
                asked.only_if_cached &= rng.random_bool(0.5);
                let limit = if rng.random_bool(0.7) { 500 } else { 11 };
                answers.extend(
                    listing(&world, &client, asked, rng.random_bool(0.4).then_some(date), limit)
                        .await,
                );
                // A listing has as much in it as many reads, and costs as much.
                tokio::time::sleep(Duration::from_millis(if world.plan.facilities > 100 {
                    500
                } else {
                    20
                }))
                .await;
            }
        }
        let pause = rng.random_range(0..PACE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    answers
}

/// Directives of all kinds; most readers have none, or few.
fn requested(rng: &mut StdRng) -> Asked {
    let bound_seconds = *[None, None, None, Some(60), Some(5), Some(2), Some(1), Some(0)]
        .choose(rng)
        .expect("there are some");
    let max_stale = match rng.random_range(0..12) {
        0 => Some(None),
        1 => Some(Some(rng.random_range(1..4))),
        _ => None,
    };
    Asked { bound_seconds, max_stale, only_if_cached: rng.random_bool(0.05), ..Asked::default() }
}

/// One of the last days, in some zone.
fn a_date(world: &World, rng: &mut StdRng) -> Date {
    let zone = ZONES[rng.random_range(0..ZONES.len())];
    date_in(zone, world.now_ms())
        .checked_sub(Span::new().days(rng.random_range(-1..3)))
        .expect("it is a day")
}

/// Reads one day of a facility; today if there is no date.
pub async fn one(
    world: &World,
    client: &Client,
    known: &mut Known,
    asked: Asked,
    facility: Uuid,
    date: Option<Date>,
) -> Option<Answer> {
    let path = format!(
        "/v1/facilities/{facility}/summaries/{}",
        date.map_or("today".to_owned(), |date| date.to_string())
    );
    let tag = known.get(&path).map(|(tag, _)| tag.clone());
    let (answer, tag) = ask(
        world,
        client,
        Asked { path: path.clone(), ..asked },
        tag,
        |status, body| match status {
            StatusCode::NOT_FOUND => Said::Missing { facility, date },
            _ => Said::Summary { date, item: Box::new(item(body)) },
        },
    )
    .await?;
    let said = match (&answer.said, known.get(&path)) {
        // On a 304 the body that the reader has is the answer.
        (Said::Refused(304, _), Some((_, said))) => said.clone(),
        _ => answer.said.clone(),
    };
    if let (Some(tag), Said::Summary { .. }) = (tag, &said) {
        known.insert(path, (tag, said.clone()));
    }
    Some(Answer { said, ..answer })
}

/// Reads a day with the version that an acknowledgement named, for an event sent at `floor_ms`.
pub async fn since(
    world: &World,
    client: &Client,
    replica: usize,
    facility: Uuid,
    date: &str,
    version: i64,
    floor_ms: i64,
) -> Answer {
    let path = format!("/v1/facilities/{facility}/summaries/{date}?min_version={version}");
    let asked = Asked {
        replica,
        path,
        min_version: Some(version),
        floor_ms: Some(floor_ms),
        ..Asked::default()
    };
    let date: Date = date.parse().expect("an acknowledgement names dates");
    let said = |status, body: &Value| match status {
        StatusCode::NOT_FOUND => Said::Missing { facility, date: Some(date) },
        _ => Said::Summary { date: Some(date), item: Box::new(item(body)) },
    };
    let nobody = || Answer {
        asked: asked.clone(),
        age_seconds: None,
        source: String::new(),
        said: Said::Refused(503, "nobody listens".to_owned()),
    };
    ask(world, client, asked.clone(), None, said).await.map_or_else(nobody, |(answer, _)| answer)
}

/// Reads a few days of a facility; `to` may be a day that has not begun.
pub async fn range(
    world: &World,
    client: &Client,
    asked: Asked,
    facility: Uuid,
    to: Date,
) -> Option<Answer> {
    let from = to.checked_sub(Span::new().days(3)).expect("it is a day");
    let path = format!("/v1/facilities/{facility}/summaries?from={from}&to={to}");
    let said = |status, body: &Value| match status {
        StatusCode::NOT_FOUND => Said::Missing { facility, date: None },
        _ => Said::Range { facility, from, to, items: items(body) },
    };
    ask(world, client, Asked { path, ..asked }, None, said).await.map(|(answer, _)| answer)
}

async fn facility_itself(
    world: &World,
    client: &Client,
    asked: Asked,
    facility: Uuid,
) -> Option<Answer> {
    let said = |status, body: &Value| match status {
        StatusCode::NOT_FOUND => Said::Missing { facility, date: None },
        _ => Said::Facility(entry(body)),
    };
    ask(world, client, Asked { path: format!("/v1/facilities/{facility}"), ..asked }, None, said)
        .await
        .map(|(answer, _)| answer)
}

/// Reads all pages of the directory.
pub async fn directory(world: &World, client: &Client, asked: Asked) -> Option<Answer> {
    let (mut entries, mut whole, mut cursor) = (Vec::new(), None::<Answer>, String::new());
    loop {
        let path = format!("/v1/facilities?limit=500{cursor}");
        let mut next = None;
        let said = |_, body: &Value| {
            next = body["next_cursor"].as_str().map(str::to_owned);
            entries
                .extend(body["items"].as_array().expect("a listing has items").iter().map(entry));
            Said::Directory(Vec::new())
        };
        let (answer, _) = ask(world, client, Asked { path, ..asked.clone() }, None, said).await?;
        if !matches!(answer.said, Said::Directory(_)) {
            return Some(answer);
        }
        let begun = whole.get_or_insert_with(|| answer.clone());
        begun.asked.answered_ms = answer.asked.answered_ms;
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    whole.map(|answer| Answer { said: Said::Directory(entries), ..answer })
}

/// Reads all pages of a day of all facilities.
pub async fn listing(
    world: &World,
    client: &Client,
    asked: Asked,
    date: Option<Date>,
    limit: usize,
) -> Option<Answer> {
    let day = date.map_or("today".to_owned(), |date| date.to_string());
    let (mut found, mut totals, mut pages, mut whole, mut cursor) =
        (Vec::new(), None, 0, None::<Answer>, String::new());
    loop {
        let path = format!("/v1/summaries/{day}?limit={limit}{cursor}");
        let mut next = None;
        let said = |status, body: &Value| {
            if let (StatusCode::NOT_FOUND, Some(date)) = (status, date) {
                return Said::MissingDay(date);
            }
            next = body["next_cursor"].as_str().map(str::to_owned);
            let total = |of: &str| body["totals"][of].as_i64().expect("a listing has totals");
            totals = Some((
                total("facilities"),
                total("total_stock"),
                total("total_transferred"),
                total("total_requests"),
            ));
            found.extend(items(body));
            Said::Listing { date, items: Vec::new(), totals: None }
        };
        let (answer, _) = ask(world, client, Asked { path, ..asked.clone() }, None, said).await?;
        if !matches!(answer.said, Said::Listing { .. }) {
            return Some(answer);
        }
        pages += 1;
        let begun = whole.get_or_insert_with(|| answer.clone());
        // The oldest page counts, from the first request to the last answer.
        begun.age_seconds = begun.age_seconds.max(answer.age_seconds);
        begun.asked.answered_ms = answer.asked.answered_ms;
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let totals = totals.filter(|_| pages == 1);
    whole.map(|answer| Answer { said: Said::Listing { date, items: found, totals }, ..answer })
}

/// Sends a request and returns the answer, with the tag of the body; `None` if the replica does not
/// listen.
async fn ask(
    world: &World,
    client: &Client,
    mut asked: Asked,
    tag: Option<String>,
    said: impl FnOnce(StatusCode, &Value) -> Said,
) -> Option<(Answer, Option<String>)> {
    let address = world.places.address(asked.replica)?;
    let mut request = client.get(format!("http://{address}{}", asked.path));
    if let Some(directives) = directives(&asked) {
        request = request.header("cache-control", directives);
    }
    if let Some(tag) = &tag {
        request = request.header("if-none-match", tag);
    }
    (asked.conditional, asked.quiet, asked.asked_ms) =
        (tag.is_some(), world.is_quiet(), world.now_ms());
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            assert!(!error.is_timeout(), "{} was not answered: {error:?}", asked.path);
            return None; // it is down, or went down
        }
    };
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.ok()?;
    (asked.answered_ms, asked.quiet) = (world.now_ms(), asked.quiet && world.is_quiet());
    let said = match status {
        StatusCode::OK | StatusCode::NOT_FOUND => {
            said(status, &serde_json::from_str(&text).expect("an answer is JSON"))
        }
        StatusCode::SERVICE_UNAVAILABLE if header(&headers, "retry-after").is_none() => {
            Said::Refused(500, "503 without Retry-After".to_owned())
        }
        _ => Said::Refused(status.as_u16(), text),
    };
    let age_seconds = header(&headers, "age").and_then(|age| age.parse().ok());
    let source = header(&headers, "cache-status").unwrap_or_default();
    Some((Answer { asked, age_seconds, source, said }, header(&headers, "etag")))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn directives(asked: &Asked) -> Option<String> {
    let bound = asked
        .bound_seconds
        .map(|bound| if bound == 0 { "no-cache".to_owned() } else { format!("max-age={bound}") });
    let stale = asked
        .max_stale
        .map(|stale| stale.map_or("max-stale".to_owned(), |stale| format!("max-stale={stale}")));
    let held = asked.only_if_cached.then(|| "only-if-cached".to_owned());
    let all: Vec<String> = [bound, stale, held].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn items(body: &Value) -> Vec<Item> {
    body["items"].as_array().expect("a page has items").iter().map(item).collect()
}

fn item(summary: &Value) -> Item {
    let figure = |of: &str| -> ByType {
        TYPES.map(|kind| summary["by_blood_type"][kind][of].as_i64().unwrap_or(0))
    };
    let total = |of: &str| summary[of].as_i64();
    let mut body = DefaultHasher::new();
    summary.to_string().hash(&mut body);
    Item {
        facility: id(summary),
        date: summary["date"]
            .as_str()
            .and_then(|date| date.parse().ok())
            .expect("a summary has a date"),
        stock: total("total_stock").map(|_| figure("stock")),
        transferred: figure("transferred"),
        requests: figure("requests"),
        totals: (
            total("total_stock"),
            total("total_transferred").expect("it has one"),
            total("total_requests").expect("it has one"),
        ),
        version: total("version").expect("a summary has a version"),
        body: body.finish(),
    }
}

fn entry(facility: &Value) -> Entry {
    let text = |of: &str| facility[of].as_str().map(str::to_owned);
    let (name, zone) =
        (text("name").expect("it has a name"), text("timezone").expect("it has a zone"));
    Entry {
        facility: id(facility),
        name,
        zone,
        today: text("today").map(|today| today.parse().expect("it is a date")),
    }
}

fn id(of: &Value) -> Uuid {
    of["facility_id"].as_str().and_then(|id| id.parse().ok()).expect("it has an id")
}
