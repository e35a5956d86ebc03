//! Tokens that are denied end on every replica, and nobody else's are verified again.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    added, asked,
    forged::{ISSUER, Signer},
    get_as,
    revoked::{WITHIN, replicas},
};
use crate::{
    on_both_stores,
    steps::{Scrape, instant, now_ms},
    support::{PATIENCE, Service, postgres::Postgres, problem, wait_until},
};

const PATH: &str = "/v1/auth/me";

async fn status(service: &Service, token: &str) -> u16 {
    get_as(service, token, PATH).await.0
}

async fn deny(service: &Service, denial: Value) -> Value {
    let denied = service.post("/v1/denied-principals", &denial).await;
    let (status, denied) = (denied.status(), denied.json::<Value>().await.unwrap());
    assert_eq!(status, 201, "{denied}");
    denied
}

/// How many tokens this replica has verified.
async fn verified(service: &Service) -> f64 {
    Scrape::of(service).await.sum("access_verifications_total", &[("kind", "token")])
}

async fn ends(replicas: &[Service], token: &str) {
    let began = Instant::now();
    for replica in replicas {
        wait_until("the token has ended", async || status(replica, token).await == 401).await;
    }
    assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_denied_token_ends_on_every_replica_and_nobody_elses_is_verified_again() {
    let signer = Signer::new();
    let launch = signer.accepted_by(Service::on_postgres().await);
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let (replicas, _redis) = replicas(launch.clone(), &admin).await;
    let token = |subject: &str, id: &str| {
        signer.token(json!({"roles": ["admin"], "sub": subject, "jti": id}))
    };
    let (first, second) = (token("ann", "1"), token("ann", "2"));
    let others: Vec<String> = (0..20).map(|nth| token(&format!("other {nth}"), "1")).collect();
    for replica in &replicas {
        for token in others.iter().chain([&first, &second]) {
            assert_eq!(status(replica, token).await, 200);
        }
    }
    let mut before = Vec::new();
    for replica in &replicas {
        before.push(verified(replica).await);
    }
    let denial = json!({"issuer": ISSUER, "subject": "ann", "token_id": "1"});
    let of_one = deny(&replicas[1], denial.clone()).await;
    assert_eq!(status(&replicas[1], &first).await, 401, "where it was denied: at once");
    ends(&replicas, &first).await;
    // Of the denied one each further try was verified; of nobody else any.
    for (replica, before) in replicas.iter().zip(before) {
        let tries = verified(replica).await - before;
        for token in others.iter().chain([&second]) {
            assert_eq!(status(replica, token).await, 200);
        }
        assert_eq!(verified(replica).await - before, tries, "others were verified again");
        assert!(tries >= 1.0, "{tries}");
    }
    // All tokens of the subject, also those that nobody has seen yet; and by a command.
    let denied = launch.run(&["token", "deny", "--issuer", ISSUER, "--subject", "ann"]).await;
    assert_eq!(denied.code, Some(0), "{}", denied.output);
    ends(&replicas, &second).await;
    for replica in &replicas {
        assert_eq!(status(replica, &token("ann", "3")).await, 401);
        assert_eq!(status(replica, &others[0]).await, 200);
    }
    // It is known from the start.
    let late = launch.clone().credential(&admin).start().await;
    assert_eq!((status(&late, &second).await, status(&late, &others[0]).await), (401, 200));
    // The list, and the way back.
    let list: Value = late.get("/v1/denied-principals").await.json().await.unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{list}");
    assert!(items[0]["created_by"].as_str().unwrap().starts_with("command:"), "{list}");
    let of_all = items[0]["id"].as_str().unwrap();
    let listed = launch.run(&["token", "denied"]).await;
    assert!(listed.output.contains(of_all) && listed.output.contains("2 denials."));
    let path = format!("/v1/denied-principals/{of_all}");
    assert_eq!(asked(&late, Some(&admin), Method::DELETE, &path).await.status(), 204);
    assert_eq!(asked(&late, Some(&admin), Method::DELETE, &path).await.status(), 404);
    for replica in &replicas {
        wait_until("it counts again", async || status(replica, &second).await == 200).await;
        assert_eq!(status(replica, &first).await, 401, "its own denial stays");
    }
    let id = of_one["id"].as_str().unwrap();
    for (code, words) in [(0, "taken back"), (1, "no denial has the id")] {
        let allowed = launch.run(&["token", "allow", id]).await;
        assert_eq!(allowed.code, Some(code), "{}", allowed.output);
        assert!(allowed.output.contains(words), "{}", allowed.output);
    }
    for replica in &replicas {
        wait_until("it counts again", async || status(replica, &first).await == 200).await;
    }
}

#[tokio::test]
async fn a_token_that_is_used_all_the_time_ends_when_it_is_denied() {
    let signer = Signer::new();
    let launch = signer.accepted_by(Service::on_sqlite());
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let service = launch.credential(&admin).start().await;
    for round in 0..20 {
        // Its first requests, which put it among those that are remembered, run beside the denial.
        let token = signer.token(json!({"roles": ["admin"], "sub": format!("ann {round}")}));
        let using = async {
            let (began, mut refused) = (Instant::now(), 0);
            while refused < 20 {
                assert!(began.elapsed() < PATIENCE, "it does not end");
                match status(&service, &token).await {
                    401 => refused += 1,
                    200 => assert_eq!(refused, 0, "it came back"),
                    other => panic!("{other}"),
                }
            }
        };
        let subject = format!("ann {round}");
        let denying = deny(&service, json!({"issuer": ISSUER, "subject": subject}));
        tokio::join!(using, denying);
    }
}

/// Who was denied meanwhile, a server cannot know that does not reach its database.
#[tokio::test]
async fn while_the_database_is_away_known_subjects_go_on_and_unknown_ones_get_503() {
    let postgres = Postgres::start(&[]);
    let signer = Signer::new();
    let launch = signer.accepted_by(Service::on(postgres.fresh_database().await));
    let service = launch.start().await;
    let token = |subject: &str, id: &str| {
        signer.token(json!({"roles": ["metrics"], "sub": subject, "jti": id}))
    };
    assert_eq!(status(&service, &token("ann", "1")).await, 200);
    postgres.crash();
    let mut number = 0;
    wait_until("an unknown subject gets 503", async || {
        number += 1;
        status(&service, &token(&format!("stranger {number}"), "1")).await == 503
    })
    .await;
    for id in ["1", "2"] {
        assert_eq!(status(&service, &token("ann", id)).await, 200, "it is known: {id}");
    }
    postgres.start_again();
    wait_until("a stranger gets in", async || status(&service, &token("ben", "1")).await == 200)
        .await;
}

on_both_stores! {
    async fn a_denial_with_an_end_is_over_then_and_the_same_again_takes_its_place(launch: Launch) {
        let signer = Signer::new();
        let launch = signer.accepted_by(launch);
        let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
        let service = launch.credential(&admin).start().await;
        let token = signer.token(json!({"roles": ["metrics"], "sub": "ann"}));
        let until_ms = now_ms() + 5_000;
        let wish = json!({"issuer": ISSUER, "subject": "ann", "until": instant(until_ms)});
        let first = deny(&service, wish).await;
        assert_eq!(first["until"], instant(until_ms));
        assert_eq!(status(&service, &token).await, 401);
        wait_until("it is over", async || status(&service, &token).await == 200).await;
        assert!(now_ms() >= until_ms, "not before its end");
        let again = deny(&service, json!({"issuer": ISSUER, "subject": "ann"})).await;
        assert_eq!((&again["id"], &again["until"]), (&first["id"], &Value::Null));
        assert_eq!(status(&service, &token).await, 401);
        let list: Value = service.get("/v1/denied-principals").await.json().await.unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
        let log = service.get("/v1/audit-log?action=token.denied").await;
        let log: Value = log.json().await.unwrap();
        let entry = &log["items"][0];
        assert_eq!((&entry["subject"], &entry["address"]), (&first["id"], &json!("127.0.0.1")));
        assert_eq!(entry["detail"]["subject"], "ann");
    }

    async fn a_denial_that_would_deny_nothing_is_refused_and_says_why(launch: Launch) {
        let signer = Signer::new();
        let launch = signer.accepted_by(launch);
        let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
        let service = launch.credential(&admin).start().await;
        for (denial, pointer) in [
            (json!({"issuer": "https://login.test/", "subject": "ann"}), "/issuer"),
            (json!({"issuer": ISSUER, "subject": ""}), "/subject"),
            (json!({"issuer": ISSUER, "subject": "a\u{0}"}), "/subject"),
            (json!({"issuer": ISSUER, "subject": "a", "token_id": " "}), "/token_id"),
            (json!({"issuer": ISSUER, "subject": "a", "until": "2020-01-01T00:00:00Z"}), "/until"),
            (json!({"issuer": ISSUER, "subject": "a", "until": "soon"}), "/until"),
            (json!({"issuer": ISSUER}), "/subject"),
            (json!({"issuer": ISSUER, "subject": "a", "reason": "left"}), "/reason"),
        ] {
            let refused = service.post("/v1/denied-principals", &denial).await;
            assert_eq!(refused.status(), 422, "{denial}");
            let refused: Value = refused.json().await.unwrap();
            assert_eq!(refused["errors"][0]["pointer"], pointer, "{denial}: {refused}");
        }
        for id in ["none", "%00", "a%20b", "0123456789abcdef01234567"] {
            let path = format!("/v1/denied-principals/{id}");
            let allowed = asked(&service, Some(&admin), Method::DELETE, &path).await;
            problem::problem(allowed, 404).await;
        }
        let elsewhere = ["token", "deny", "--issuer", "elsewhere", "--subject", "ann"];
        let warned = service.launch().run(&elsewhere).await;
        assert_eq!(warned.code, Some(0), "{}", warned.output);
        assert!(warned.output.contains("is not an issuer in these settings"), "{}", warned.output);
        for (option, value) in [("--until", "0d"), ("--subject", " ")] {
            let words = ["token", "deny", "--issuer", ISSUER, "--subject", "ann", option, value];
            let words: Vec<&str> = match option {
                "--subject" => [&words[..4], &words[6..]].concat(),
                _ => words.to_vec(),
            };
            let refused = service.launch().run(&words).await;
            assert_eq!(refused.code, Some(2), "{}", refused.output);
            assert!(refused.output.contains(option), "{}", refused.output);
        }
    }
}
