//! Whoever may see some facilities only does not find out which others there are.

use std::time::{Duration, Instant};

use reqwest::Method;
use uuid::Uuid;

use super::{added, asked, key_of, signed_in, site};
use crate::support::{Service, wait_until};

/// The paths of one facility.
fn paths(facility: Uuid) -> [(Method, String); 5] {
    let of = |end: &str| format!("/v1/facilities/{facility}{end}");
    [
        (Method::GET, of("")),
        (Method::GET, of("/summaries/today")),
        (Method::GET, of("/summaries?to=today")),
        (Method::PUT, of("")),
        (Method::POST, of("/refresh")),
    ]
}

/// All that an answer shows, without the id that was asked for.
async fn shown(service: &Service, key: &str, method: Method, path: &str, id: Uuid) -> String {
    let answer = asked(service, Some(key), method, path).await;
    let mut headers: Vec<String> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort_unstable();
    let status = answer.status();
    let body = answer.text().await.unwrap();
    format!("{status}\n{}\n{body}", headers.join("\n")).replace(&id.to_string(), "ID")
}

#[tokio::test]
async fn a_facility_of_others_and_one_that_does_not_exist_have_the_same_answer_without_a_query() {
    let postgres = crate::support::postgres::Postgres::start(&[]);
    let launch =
        Service::on(postgres.fresh_database().await).env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on");
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let service = launch.credential(&admin).start().await;
    let (own, other) = (site(&service, "Own").await, site(&service, "Other").await);
    let keys = [
        key_of(&service, "viewer", &[own.facility]).await,
        key_of(&service, "operator", &[own.facility]).await,
    ];
    for key in &keys {
        assert_eq!(asked(&service, Some(key), Method::GET, "/v1/auth/me").await.status(), 200);
    }
    let list = |id: Uuid| (Method::GET, format!("/v1/summaries/today?facility_id={id}"));
    let compare = async |when: &str| {
        for key in &keys {
            let nobody = Uuid::new_v4();
            let of_other = paths(other.facility).into_iter().chain([list(other.facility)]);
            let of_nobody = paths(nobody).into_iter().chain([list(nobody)]);
            for ((method, one), (_, two)) in of_other.zip(of_nobody) {
                let one = shown(&service, key, method.clone(), &one, other.facility).await;
                let two = shown(&service, key, method.clone(), &two, nobody).await;
                assert!(one.starts_with("403"), "{when}: {method}: {one}");
                assert_eq!(one, two, "{when}: {method}");
            }
        }
    };
    compare("with the database").await;
    // What needs a query would be 503 now.
    postgres.crash();
    let unknown = format!("/v1/facilities/{}", Uuid::new_v4());
    wait_until("the database is away", async || {
        asked(&service, Some(&admin), Method::POST, &format!("{unknown}/refresh")).await.status()
            == 503
    })
    .await;
    compare("without the database").await;
}

/// Prints the distributions, for people: a test that fails by time would fail by accident.
/// `cargo test --test api --release unknown -- --ignored --nocapture`
#[tokio::test]
#[ignore = "prints times, and cannot fail"]
async fn the_time_of_a_facility_of_others_and_of_one_that_does_not_exist() {
    const TIMES: usize = 1_000;
    let service = signed_in(Service::on_sqlite()).await;
    let (own, other) = (site(&service, "Own").await, site(&service, "Other").await);
    let viewer = key_of(&service, "viewer", &[own.facility]).await;
    let time = async |id: Uuid| {
        let path = format!("/v1/facilities/{id}/summaries/today");
        let began = Instant::now();
        let answer = asked(&service, Some(&viewer), Method::GET, &path).await;
        let took = began.elapsed();
        assert_eq!(answer.status(), 403);
        took
    };
    for _ in 0..100 {
        time(other.facility).await;
    }
    // In turn, each first in half of the rounds.
    let (mut forbidden, mut unknown) = (Vec::new(), Vec::new());
    for round in 0..TIMES {
        if round % 2 == 0 {
            forbidden.push(time(other.facility).await);
            unknown.push(time(Uuid::new_v4()).await);
        } else {
            unknown.push(time(Uuid::new_v4()).await);
            forbidden.push(time(other.facility).await);
        }
    }
    let quarters = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        [1, 2, 3].map(|quarter| times[TIMES * quarter / 4].as_nanos() as f64 / 1_000.0)
    };
    let z = rank_sum(&forbidden, &unknown);
    println!("forbidden, quartiles in us: {:?}", quarters(&mut forbidden));
    println!("unknown, quartiles in us: {:?}", quarters(&mut unknown));
    println!("rank sum test, z = {z:.2}: below 3 either way, nothing shows");
}

/// The rank sum test of Mann and Whitney for two samples: how many standard deviations the sum of
/// ranks is from that of two samples of the same distribution.
fn rank_sum(one: &[Duration], two: &[Duration]) -> f64 {
    let mut all: Vec<(Duration, bool)> =
        one.iter().map(|t| (*t, true)).chain(two.iter().map(|t| (*t, false))).collect();
    all.sort_unstable();
    let ranks = all.iter().enumerate().filter(|(_, (_, is_one))| *is_one);
    let sum: f64 = ranks.map(|(rank, _)| rank as f64 + 1.0).sum();
    let (n, m) = (one.len() as f64, two.len() as f64);
    let expected = n * (n + m + 1.0) / 2.0;
    (sum - expected) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}
