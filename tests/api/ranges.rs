//! A range of days stands under the rules of a single summary: from memory where all of it is held,
//! as old as its oldest day, as fresh as its reader asked.

use std::{pin::pin, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        DAY_MS, age, bank, date_in, distribution, facility, get, header, inventory, noon_zone,
        now_ms, path, post, read, request, version_of,
    },
    support::{Service, outside::Outside, problem::problem, wait_until},
};

const HIT: &str = "facility-summary; hit; detail=memory";

fn range(facility: Uuid, query: &str) -> String {
    format!("/v1/facilities/{facility}/summaries{query}")
}

fn status(response: &Response) -> String {
    header(response, "cache-status")
}

/// Waits until so much time has passed that only a watermark can keep figures fresh.
async fn pass(seconds: i64) {
    let started = now_ms();
    wait_until("time has passed", async || now_ms() - started > 1_000 * seconds).await;
}

/// The range as its days read one by one: the bodies, byte by byte.
async fn one_by_one(service: &Service, id: Uuid, zone: &str, days: i64) -> String {
    let mut bodies = Vec::new();
    for day in 0..days {
        let response = service.get(&path(id, date_in(zone, -day))).await;
        assert_eq!(response.status(), 200);
        bodies.push(response.text().await.unwrap());
    }
    format!("{{\"items\":[{}],\"next_cursor\":null}}", bodies.join(","))
}

on_both_stores! {
    async fn what_was_read_once_is_a_memory_look_up_days_without_a_row_too(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        post(&service, &[distribution(Uuid::new_v4(), id, 6, now_ms() - 2 * DAY_MS)]).await;
        let month = range(id, &format!("?from={}", date_in(&zone, -29)));
        let first = service.get(&month).await;
        assert!(status(&first).starts_with("facility-summary; fwd=miss; detail="), "{first:?}");
        let body = first.text().await.unwrap();
        let again = service.get(&month).await;
        assert_eq!(status(&again), HIT);
        assert_eq!(again.text().await.unwrap(), body);
        // The registration comes by once more, as a change of the facility, which may be a move.
        pass(1).await;
        for path in [&month, &path(id, date_in(&zone, -40))] {
            assert_eq!(service.get(path).await.status(), 200);
        }
        pass(3).await;
        for path in [&month, &range(id, ""), &path(id, date_in(&zone, -40))] {
            let later = read(&service, path, "max-age=2").await;
            assert_eq!((status(&later).as_str(), age(&later) <= 2), (HIT, true), "{path}");
        }
        assert_eq!(body, one_by_one(&service, id, &zone, 30).await);
    }

    async fn a_range_is_its_days_whatever_happened_and_whoever_asks_how(service: Service) {
        let zone = noon_zone();
        let seed: u64 = rand::random();
        let mut random = StdRng::seed_from_u64(seed);
        let id = facility(&service, "North", &zone).await;
        let bank = bank(&service, id).await;
        for round in 0..25 {
            let at = now_ms() - random.random_range(0..12) * DAY_MS;
            let event = match random.random_range(0..3) {
                0 => distribution(Uuid::new_v4(), id, random.random_range(1..9), at),
                1 => request(Uuid::new_v4(), id, at),
                _ => inventory(Uuid::new_v4(), bank, "O+", random.random_range(1..9)),
            };
            post(&service, &[event]).await;
            let days = random.random_range(1..14);
            let query = format!("?from={}", date_in(&zone, 1 - days));
            let directives = ["no-cache", "max-age=60", "", "max-stale", "no-cache, max-stale=1"];
            let directives = directives[random.random_range(0..directives.len())];
            let response = read(&service, &range(id, &query), directives).await;
            let what = format!("seed {seed}, round {round}, {days} days, {directives}");
            assert_eq!(response.status(), 200, "{what}");
            assert!(age(&response) < 60, "{what}");
            assert_eq!(
                response.text().await.unwrap(),
                one_by_one(&service, id, &zone, days).await,
                "{what}"
            );
        }
    }

    async fn a_range_may_ask_for_everything_up_to_a_version(service: Service) {
        let zone = noon_zone();
        let launch =
            service.launch().clone().env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 700);
        drop(service);
        let service = launch.start().await;
        let id = facility(&service, "North", &zone).await;
        get(&service, &range(id, "")).await;
        let mut last = 0;
        for days in [0, 3, 5, 3, 40] {
            let at = now_ms() - days * DAY_MS;
            let applied = post(&service, &[distribution(Uuid::new_v4(), id, 1, at)]).await;
            let version = version_of(&applied, id, date_in(&zone, -days));
            let with = range(id, &format!("?min_version={version}"));
            let page = get(&service, &with).await;
            if days < 7 {
                let item = &page["items"][usize::try_from(days).unwrap()];
                assert_eq!(item["version"], json!(version), "{page}");
            }
            wait_until("a proof has made it a look-up, where the range has the version", async || {
                days >= 7 || status(&service.get(&with).await) == HIT
            })
            .await;
            last = version;
        }
        let unknown = range(id, &format!("?min_version={}", last + 1));
        let refused = service.get(&unknown).await;
        assert_ne!(header(&refused, "retry-after"), "");
        problem(refused, 503).await;
        problem(read(&service, &unknown, "only-if-cached").await, 504).await;
        problem(service.get(&range(id, "?min_version=-1")).await, 400).await;
    }

    async fn a_reader_who_waits_for_a_version_holds_up_no_other(service: Service) {
        let zone = noon_zone();
        let launch =
            service.launch().clone().env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 20_000);
        drop(service);
        let service = launch.start().await;
        let id = facility(&service, "North", &zone).await;
        let applied = post(&service, &[distribution(Uuid::new_v4(), id, 1, now_ms())]).await;
        let version = version_of(&applied, id, date_in(&zone, 0));
        let unknown = range(id, &format!("?min_version={}", version + 1_000));
        let mut waiting = pin!(service.get(&unknown));
        for days in 1..20 {
            let span = format!("?from={}", date_in(&zone, -days));
            for query in [span.clone(), format!("{span}&min_version={version}")] {
                let path = range(id, &query);
                let mut other = pin!(service.get(&path));
                tokio::select! {
                    answer = &mut other => assert_eq!(answer.status(), 200, "{path}"),
                    _ = &mut waiting => panic!("{path} was answered after a wait that ends late"),
                }
            }
        }
    }

    async fn only_if_cached_takes_what_is_held_and_no_cache_what_is_proven(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let week = range(id, "");
        problem(read(&service, &week, "only-if-cached").await, 504).await;
        let before = now_ms();
        let proven = read(&service, &week, "no-cache").await;
        assert!(age(&proven) <= (now_ms() - before) / 1_000, "{proven:?}");
        assert_ne!(status(&proven), HIT);
        wait_until("the watermark has come by", async || {
            let held = read(&service, &week, "max-age=2, only-if-cached").await;
            held.status() == 200 && status(&held) == HIT
        })
        .await;
        let again = read(&service, &week, "no-cache").await;
        assert_eq!(status(&again), "facility-summary; fwd=request; detail=source");
    }

    async fn many_readers_of_a_cold_range_read_it_once(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        // Behind the figures of the registration, so that only the days are missing.
        get(&service, &path(id, "today")).await;
        let month = range(id, &format!("?from={}", date_in(&zone, -29)));
        let readers = (0..64).map(|_| service.get(&month));
        let statuses: Vec<String> =
            futures_util::future::join_all(readers).await.iter().map(status).collect();
        let alone = statuses.iter().filter(|s| s.contains("fwd=") && !s.contains("collapsed"));
        assert_eq!(alone.count(), 1, "{statuses:?}");
        // Those that waited say which rung the one asked for them.
        let wrong = |s: &&String| s.contains("fwd=") && s.contains("detail=memory");
        assert_eq!(statuses.iter().find(wrong), None, "{statuses:?}");
        let readers = (0..64).map(|_| read(&service, &month, "no-cache"));
        let statuses: Vec<String> =
            futures_util::future::join_all(readers).await.iter().map(status).collect();
        assert!(statuses.iter().all(|s| s.contains("detail=source")), "{statuses:?}");
    }

    async fn a_move_to_another_zone_and_back_leaves_no_day_taken_for_empty(service: Service) {
        // 25 hours apart: each instant is on another date there.
        const ZONES: [&str; 2] = ["Pacific/Kiritimati", "Pacific/Pago_Pago"];
        let id = facility(&service, "North", ZONES[0]).await;
        let query = format!("?from={}", date_in(ZONES[0], -12));
        get(&service, &range(id, &query)).await;
        let mut sql = Outside::connect(service.database_url()).await;
        for round in 0..3 {
            let moved = sql.id(id);
            for zone in [ZONES[1], ZONES[0]] {
                sql.run(format!("UPDATE facilities SET timezone = '{zone}' WHERE id = {moved}"))
                    .await;
                let known = format!("/v1/facilities/{id}");
                wait_until("the move is known", async || {
                    get(&service, &known).await["timezone"] == zone
                })
                .await;
                if zone == ZONES[1] {
                    let at = now_ms() - (round + 2) * DAY_MS;
                    post(&service, &[distribution(Uuid::new_v4(), id, 5, at)]).await;
                }
            }
            let page = read(&service, &range(id, &query), "no-cache").await;
            let page: Value = page.json().await.unwrap();
            let delivered = |page: &Value| -> i64 {
                let items = page["items"].as_array().unwrap();
                items.iter().map(|item| item["total_transferred"].as_i64().unwrap()).sum()
            };
            assert_eq!(delivered(&page), 5 * (round + 1), "{page}");
            let later = read(&service, &range(id, &query), "max-age=1").await;
            assert_eq!(later.json::<Value>().await.unwrap(), page);
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_into_memory_is_answered_all_the_same() {
    let service =
        Service::on_sqlite().env("FACILITY_SUMMARY__CACHE__MEMORY_BYTES", 0).start().await;
    let zone = noon_zone();
    let id = facility(&service, "North", &zone).await;
    post(&service, &[distribution(Uuid::new_v4(), id, 6, now_ms() - 2 * DAY_MS)]).await;
    for directives in ["", "no-cache", "max-age=10"] {
        let response = read(&service, &range(id, ""), directives).await;
        assert_eq!(response.status(), 200, "{directives}");
        let page: Value = response.json().await.unwrap();
        assert_eq!(page["items"][2]["total_transferred"], 6, "{directives}: {page}");
    }
    tokio::time::timeout(Duration::from_secs(5), service.get(&range(id, "?limit=1")))
        .await
        .expect("it does not wait for room");
}

#[tokio::test]
async fn a_reader_who_waits_for_a_locked_facility_holds_up_no_other() {
    let launch = Service::on_postgres()
        .await
        .env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 20_000)
        .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 20_000);
    let service = launch.clone().start().await;
    let zone = noon_zone();
    let id = facility(&service, "North", &zone).await;
    post(&service, &[distribution(Uuid::new_v4(), id, 1, now_ms())]).await;
    drop(service);
    let service = launch.start().await;
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run(format!(
        "BEGIN; SELECT * FROM facility_state WHERE facility_id = {} FOR UPDATE",
        sql.id(id)
    ))
    .await;
    let mut writer = Outside::connect(service.database_url()).await;
    writer
        .run(format!(
            "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), {})",
            writer.id(id)
        ))
        .await;
    let path = range(id, "");
    let mut waiting = pin!(read(&service, &path, "no-cache"));
    let mut others = pin!(async {
        for days in 1..10 {
            let path = range(id, &format!("?from={}", date_in(&zone, -days)));
            assert_eq!(read(&service, &path, "max-age=3600").await.status(), 200, "{path}");
        }
    });
    tokio::select! {
        () = &mut others => {}
        _ = &mut waiting => panic!("the others were answered after a wait that ends late"),
    }
}

/// Such a range asks the directory only, which is read as a whole.
#[tokio::test]
async fn readers_of_ranges_without_days_share_a_read_of_the_directory() {
    const READERS: usize = 100;
    let service = Service::on_postgres().await.start().await;
    let zone = noon_zone();
    let mut to_come = Vec::new();
    for _ in 0..READERS {
        let id = facility(&service, "North", &zone).await;
        to_come.push(range(id, &format!("?from={}", date_in(&zone, 1))));
    }
    let mut sql = Outside::connect(service.database_url()).await;
    let (_, launch) = service.terminate().await; // a session states at its end what it has read
    let scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'facilities'";
    let service = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off").start().await;
    let before = sql.number(scans).await;
    let reads = to_come.iter().map(|range| read(&service, range, "no-cache"));
    for answer in futures_util::future::join_all(reads).await {
        assert_eq!(answer.status(), 200);
        let body = answer.text().await.unwrap();
        assert_eq!(body, r#"{"items":[],"next_cursor":null}"#);
    }
    service.terminate().await;
    let mut shared = 0;
    wait_until("it is stated", async || {
        shared = sql.number(scans).await - before;
        shared > 0
    })
    .await;
    assert!(shared < READERS as i64 / 2, "{shared} reads of the directory for {READERS} readers");
}
