//! Properties that hold for any input. The input is random from a seed, so that a failure can be
//! repeated.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, future::join_all, stream};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        DAY_MS, HOUR_MS, at, bank, batch, date_in, distribution, facility, inventory, noon_zone,
        now_ms, path, post, request, summary,
    },
    support::{Service, events::event},
};

const TYPES: [&str; 4] = ["O+", "O-", "A+", "AB-"];

/// Facilities, banks, and the ids of the events. There are few of them, so that several statements
/// are about the same id.
struct World {
    facilities: Vec<Uuid>,
    banks: Vec<Uuid>,
    units: Vec<Uuid>,
    sent: Vec<Uuid>,
    asked: Vec<Uuid>,
    now_ms: i64,
}

impl World {
    async fn registered(service: &Service, zone: &str, random: &mut Pcg64Mcg) -> World {
        let (mut facilities, mut banks) = (Vec::new(), Vec::new());
        for i in 0..4 {
            let id = facility(service, &format!("F{i}"), zone).await;
            facilities.push(id);
            banks.push(bank(service, id).await);
            banks.push(bank(service, id).await);
        }
        let mut ids = |count: usize| {
            (0..count).map(|_| Uuid::from_u128(random.random())).collect::<Vec<Uuid>>()
        };
        World { facilities, banks, units: ids(25), sent: ids(25), asked: ids(25), now_ms: now_ms() }
    }

    /// A statement about one of the ids, at one of few times, so that equal times are common.
    fn statement(&self, random: &mut Pcg64Mcg) -> Value {
        fn one<T: Copy>(list: &[T], random: &mut Pcg64Mcg) -> T {
            list[random.random_range(0..list.len())]
        }
        let (unit, sent, asked) =
            (one(&self.units, random), one(&self.sent, random), one(&self.asked, random));
        let day_ms = self.now_ms - random.random_range(0..4) * DAY_MS;
        let to = one(&self.facilities, random);
        let stated = match random.random_range(0..9) {
            0 => event("inventory.removed", json!({"inventory_id": unit})),
            1 => event("distribution.removed", json!({"distribution_id": sent})),
            2 => event("request.removed", json!({"request_id": asked})),
            3 | 4 => inventory(
                unit,
                one(&self.banks, random),
                one(&TYPES, random),
                random.random_range(0..50),
            ),
            5 | 6 => {
                let mut event = distribution(sent, to, random.random_range(1..50), day_ms);
                if random.random_bool(0.2) {
                    event["data"]["date_delivered"] = Value::Null;
                }
                event
            }
            _ => request(asked, to, day_ms),
        };
        at(stated, self.now_ms - HOUR_MS + random.random_range(0..8) * 1_000)
    }

    /// The figures of every day, without the members that depend on the order of the events.
    async fn summaries(&self, service: &Service, zone: &str) -> BTreeMap<(usize, i64), Value> {
        let mut found = BTreeMap::new();
        for (i, id) in self.facilities.iter().enumerate() {
            for days in 0..5 {
                let mut figures = summary(service, *id, date_in(zone, -days)).await;
                for name in ["version", "updated_at"] {
                    figures.as_object_mut().unwrap().remove(name);
                }
                found.insert((i, days), figures);
            }
        }
        found
    }

    /// The figures by definition: the winner of each id, counted.
    fn recomputed(&self, statements: &[Value]) -> BTreeMap<(usize, i64), (i64, i64, i64)> {
        let mut winners: BTreeMap<&str, &Value> = BTreeMap::new();
        for event in statements {
            let winner = winners.entry(id_of(event)).or_insert(event);
            if rank(event) > rank(winner) {
                *winner = event;
            }
        }
        let mut figures: BTreeMap<(usize, i64), (i64, i64, i64)> = BTreeMap::new();
        figures.extend(
            (0..self.facilities.len()).flat_map(|i| (0..5).map(move |days| ((i, days), (0, 0, 0)))),
        );
        let position =
            |list: &[Uuid], id: &Value| list.iter().position(|known| id == &json!(known)).unwrap();
        let days_ago = |at: &Value| {
            let ms = at.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
            (self.now_ms - ms) / DAY_MS
        };
        for event in winners.values() {
            let data = &event["data"];
            match event["type"].as_str().unwrap() {
                "inventory.set" => {
                    let facility = position(&self.banks, &data["blood_bank_id"]) / 2;
                    figures.get_mut(&(facility, 0)).unwrap().0 +=
                        data["quantity"].as_i64().unwrap();
                }
                "distribution.set" if data["date_delivered"].is_string() => {
                    let key = (
                        position(&self.facilities, &data["dispatched_to_id"]),
                        days_ago(&data["date_delivered"]),
                    );
                    figures.get_mut(&key).unwrap().1 += data["quantity"].as_i64().unwrap();
                }
                "request.set" => {
                    figures
                        .get_mut(&(
                            position(&self.facilities, &data["facility_id"]),
                            days_ago(&data["created_at"]),
                        ))
                        .unwrap()
                        .2 += 1
                }
                _ => {}
            }
        }
        figures
    }
}

fn id_of(event: &Value) -> &str {
    let data = &event["data"];
    ["inventory_id", "distribution_id", "request_id"]
        .iter()
        .find_map(|name| data[*name].as_str())
        .unwrap()
}

/// The rank of a statement: the later time wins. At equal times a removal wins, then the greater
/// canonical data: its fields by name, instants in milliseconds, absent ones as null.
fn rank(event: &Value) -> (&str, bool, String) {
    let data = &event["data"];
    let ms = |name: &str| {
        json!(data[name].as_str().map(|at| at.parse::<jiff::Timestamp>().unwrap().as_millisecond()))
    };
    let same = |name: &str| data[name].clone();
    let fields = match event["type"].as_str().unwrap() {
        "inventory.set" => {
            vec![same("blood_bank_id"), same("blood_type"), ms("expires_at"), same("quantity")]
        }
        "distribution.set" => vec![
            same("blood_type"),
            ms("date_delivered"),
            same("dispatched_to_id"),
            same("quantity"),
        ],
        "request.set" => {
            vec![same("blood_type"), ms("created_at"), same("facility_id"), same("quantity")]
        }
        _ => Vec::new(),
    };
    // The names of the members in between are the same in all events, so that they decide nothing.
    (
        event["time"].as_str().unwrap(),
        fields.is_empty(),
        fields.iter().map(Value::to_string).collect::<Vec<_>>().join(",") + "}",
    )
}

/// Posts all events in this order, in batches of random sizes, over several connections.
async fn pour(service: &Service, events: &[Value], random: &mut Pcg64Mcg) {
    let mut batches = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let (batch, left) = rest.split_at(random.random_range(1..=rest.len().min(20)));
        batches.push(batch.to_vec());
        rest = left;
    }
    stream::iter(batches)
        .for_each_concurrent(6, |events| async move {
            let response =
                tokio::time::timeout(Duration::from_secs(60), batch(service, &events).send())
                    .await
                    .expect("in time")
                    .unwrap();
            assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        })
        .await;
}

on_both_stores! {
    async fn events_in_any_order_and_repeated_end_in_the_same_summaries(service: Service) {
        let zone = noon_zone();
        let mut random = Pcg64Mcg::seed_from_u64(20_261_121);
        for round in 0..3 {
            let world = World::registered(&service, &zone, &mut random).await;
            let statements: Vec<Value> = (0..300).map(|_| world.statement(&mut random)).collect();
            let mut shuffled: Vec<Value> =
                statements.iter().chain(&statements[..150]).cloned().collect();
            shuffled.shuffle(&mut random);
            pour(&service, &shuffled, &mut random).await;
            let first = world.summaries(&service, &zone).await;
            for (key, want) in world.recomputed(&statements) {
                let figures = &first[&key];
                // Days that were past from the start have no recorded stock.
                let stock = if key.1 == 0 { json!(want.0) } else { Value::Null };
                assert_eq!(
                    (
                        &figures["total_stock"],
                        &figures["total_transferred"],
                        &figures["total_requests"]
                    ),
                    (&stock, &json!(want.1), &json!(want.2)),
                    "round {round}, (facility, days ago) {key:?}"
                );
            }
            shuffled.shuffle(&mut random);
            pour(&service, &shuffled, &mut random).await;
            assert_eq!(
                world.summaries(&service, &zone).await,
                first,
                "round {round}: the same events in another order"
            );
        }
        let (_, launch) = service.terminate().await;
        let audit = launch.run(&["audit"]).await;
        assert_eq!(audit.code, Some(0), "{}", audit.output);
    }

    async fn each_of_many_concurrent_requests_gets_its_own_answer(service: Service) {
        let zone = noon_zone();
        let mut random = Pcg64Mcg::seed_from_u64(5);
        let mut ids = Vec::new();
        for i in 0..5 {
            let id = facility(&service, &format!("F{i}"), &zone).await;
            let bank = bank(&service, id).await;
            post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 100 + i)]).await;
            ids.push((id.to_string(), 100 + i));
        }
        let plans: Vec<(usize, String, bool)> = (0..2_000)
            .map(|i| {
                let all =
                    ["no-cache", "max-age=1", "max-age=300", "max-stale", "max-age=0, max-stale=5"];
                let directives = all[random.random_range(0..5)];
                let (of, invalid, leaves) = (random.random_range(0..5), i % 10 == 3, i % 10 == 7);
                let who = if invalid { "not-an-id".to_owned() } else { ids[of].0.clone() };
                let target = path(Uuid::nil(), "today").replace(&Uuid::nil().to_string(), &who);
                let text = format!(
                    "GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                     cache-control: {directives}\r\n\r\n"
                );
                (if invalid { usize::MAX } else { of }, text, leaves)
            })
            .collect();
        let asking = plans.chunks(250).map(|plans| {
            join_all(plans.iter().map(|(of, text, leaves)| {
                let ids = &ids;
                let address = service.address;
                async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    stream.write_all(text.as_bytes()).await.unwrap();
                    if *leaves {
                        return;
                    }
                    let mut answer = String::new();
                    tokio::time::timeout(
                        Duration::from_secs(30),
                        stream.read_to_string(&mut answer),
                    )
                    .await
                    .expect("an answer comes")
                    .unwrap();
                    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                    let body: Value =
                        serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
                    match ids.get(*of) {
                        Some((id, stock)) => {
                            assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
                            assert_eq!(
                                (&body["facility_id"], &body["total_stock"]),
                                (&json!(id), &json!(stock))
                            );
                        }
                        None => {
                            assert!(head.starts_with("HTTP/1.1 400"), "{answer}");
                            assert_eq!(body["status"], 400);
                        }
                    }
                }
            }))
        });
        for wave in asking {
            wave.await;
        }
        assert_eq!(service.get("/health/ready").await.status(), 200);
    }
}
