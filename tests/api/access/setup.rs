//! The first account: made by a code from the log while nobody can sign in.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::{
    added, asked, get_as,
    people::{PASSWORD, SESSION, asked_with, cookie, from_page},
    signed_in,
};
use crate::{
    on_both_stores,
    support::{Service, service::Launch, wait_until},
};

/// A service with sign-in that nobody can use yet, and its code.
async fn closed(launch: Launch) -> (Service, String) {
    let service = launch.env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on").start().await;
    let code = code_of(&service).expect("the log has a code");
    (service, code)
}

fn code_of(service: &Service) -> Option<String> {
    let entries = service.logs();
    entries.iter().find_map(|line| {
        let entry: Value = serde_json::from_str(line).ok()?;
        Some(entry["fields"]["code"].as_str()?.to_owned())
    })
}

async fn set_up(service: &Service, code: &str, name: &str) -> Response {
    let request = from_page(service, Method::POST, "/v1/auth/setup");
    let body = json!({"code": code, "name": name, "password": PASSWORD});
    request.json(&body).send().await.unwrap()
}

on_both_stores! {
    async fn the_code_makes_one_admin_and_nothing_else_is_open_before(launch: Launch) {
        let (service, code) = closed(launch.env("BIND_ADDR", "0.0.0.0:0")).await;
        assert_eq!(code.len(), 34, "28 characters of 5 bits: {code}");
        for path in ["/v1/facilities", "/v1/auth/me", "/v1/api-keys", "/v1/audit-log"] {
            assert_eq!(asked(&service, None, Method::GET, path).await.status(), 401, "{path}");
        }
        let wrong = set_up(&service, "0000-0000", "anna").await;
        assert_eq!(wrong.status(), 401);
        let other_site = service.request_as(None, Method::POST, "/v1/auth/setup");
        let body = json!({"code": code, "name": "anna", "password": PASSWORD});
        assert_eq!(other_site.json(&body).send().await.unwrap().status(), 403);
        let long = "0".repeat(101);
        for (code, name, password) in [
            (code.as_str(), "anna", "short"),
            (code.as_str(), "an na", PASSWORD),
            (long.as_str(), "anna", PASSWORD),
        ] {
            let wrong = from_page(&service, Method::POST, "/v1/auth/setup");
            let body = json!({"code": code, "name": name, "password": password});
            assert_eq!(wrong.json(&body).send().await.unwrap().status(), 422, "{name} {password}");
        }
        // Two at the same time: one makes the account.
        let typed = code.replace('-', " ").to_uppercase();
        let (one, two) =
            tokio::join!(set_up(&service, &code, "anna"), set_up(&service, &typed, "ben"));
        let (right, wrong) = if one.status() == 200 { (one, two) } else { (two, one) };
        assert_eq!(right.status(), 200);
        assert!([401, 404].contains(&wrong.status().as_u16()), "{}", wrong.status());
        let cookie = cookie(&right, SESSION);
        let (_, me) = asked_with(&service, &cookie, Method::GET, "/v1/auth/me").await;
        assert_eq!(me["role"], "admin", "{me}");
        assert_eq!(set_up(&service, &code, "carl").await.status(), 404);
        let (status, log) = asked_with(&service, &cookie, Method::GET, "/v1/audit-log").await;
        let actions: Vec<&str> = log["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["action"].as_str().unwrap())
            .collect();
        assert_eq!((status, actions), (200, vec!["session.started", "user.added", "setup.used"]));
        // Not after a new start either, and no other code is made.
        let (_, launch) = service.terminate().await;
        let service = launch.start().await;
        assert_eq!(code_of(&service), None);
        assert_eq!(set_up(&service, &code, "carl").await.status(), 404);
    }
}

#[tokio::test]
async fn the_code_of_one_replica_counts_on_another_and_ends_with_the_first_key_or_account() {
    let launch = Service::on_postgres().await.env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on");
    let (one, code) = closed(launch.clone()).await;
    let (two, other) = closed(launch.clone()).await;
    assert_ne!(code, other);
    assert_eq!(set_up(&two, &code, "anna").await.status(), 200);
    for (replica, code) in [(&one, &other), (&one, &code), (&two, &other)] {
        let refused = set_up(replica, code, "ben").await.status().as_u16();
        assert!([401, 404].contains(&refused), "{refused}");
    }
    for words in [vec!["user", "add", "anna", "--role=viewer", "--all-facilities"], vec![]] {
        let launch = Service::on_sqlite();
        let (service, code) = closed(launch).await;
        match words.is_empty() {
            true => {
                let key =
                    added(service.launch(), &["--role=viewer", "--all-facilities", "--name=x"])
                        .await;
                assert_eq!(get_as(&service, &key, "/v1/auth/me").await.0, 200);
                let id = key.split('_').nth(1).unwrap();
                let revoked = service.launch().run(&["key", "revoke", id]).await;
                assert_eq!(revoked.code, Some(0), "{}", revoked.output);
                // Nobody can sign in again, and the code of before counts no more.
                wait_until("the key has ended", async || {
                    get_as(&service, &key, "/v1/auth/me").await.0 == 401
                })
                .await;
            }
            false => {
                let made = service.launch().run_with_input(&words, PASSWORD).await;
                assert_eq!(made.code, Some(0), "{}", made.output);
            }
        }
        let refused = set_up(&service, &code, "ben").await.status().as_u16();
        assert!([401, 404].contains(&refused), "{refused}");
    }
}

#[tokio::test]
async fn codes_are_not_guessed_fast_and_a_service_with_an_issuer_has_none() {
    let (service, code) = closed(Service::on_sqlite()).await;
    let mut statuses = Vec::new();
    for n in 0..8 {
        statuses.push(set_up(&service, &format!("guess-{n}"), "anna").await.status().as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(!service.logs().join("\n").contains("guess-"));
    assert_eq!(set_up(&service, &code, "anna").await.status(), 429, "nor told from a guess");
    let secret = "a secret of more than thirty-two bytes";
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__AUTH__SECRET", secret);
    let service = launch.start().await;
    assert_eq!(code_of(&service), None);
    assert_eq!(set_up(&service, "0000-0000", "anna").await.status(), 404);
    // Nor has one with a key.
    let service = signed_in(Service::on_sqlite()).await;
    assert_eq!(set_up(&service, "0000-0000", "anna").await.status(), 404);
}
