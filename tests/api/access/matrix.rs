//! Every route, asked by everybody: the document of the running service says which routes there
//! are, and the table here says who may use each.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{added, asked, key, key_of, signed_in, site};
use crate::{on_both_stores, support::Service};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Everybody,
    SignedIn,
    Readers,
    Operators,
    Posters,
    Admins,
}

use Who::{Admins, Everybody, Operators, Posters, Readers, SignedIn};

const ROUTES: [(&str, &str, Who); 28] = [
    ("get", "/v1/facilities/{facility_id}/summaries/{date}", Readers),
    ("get", "/v1/facilities/{facility_id}/summaries", Readers),
    ("get", "/v1/summaries/{date}", Readers),
    ("get", "/v1/facilities/{facility_id}", Readers),
    ("get", "/v1/facilities", Readers),
    ("put", "/v1/facilities/{facility_id}", Operators),
    ("post", "/v1/facilities/{facility_id}/refresh", Operators),
    ("put", "/v1/blood-banks/{blood_bank_id}", Operators),
    ("post", "/v1/events", Posters),
    ("post", "/v1/rebuild", Admins),
    ("get", "/v1/runs/{run_id}", Admins),
    ("get", "/v1/auth/me", SignedIn),
    ("get", "/v1/api-keys", Admins),
    ("post", "/v1/api-keys", Admins),
    ("delete", "/v1/api-keys/{id}", Admins),
    ("get", "/v1/audit-log", Admins),
    ("post", "/v1/auth/login", Everybody),
    ("post", "/v1/auth/setup", Everybody),
    ("post", "/v1/auth/logout", SignedIn),
    ("get", "/v1/auth/sign-in", Everybody),
    ("get", "/v1/auth/callback", Everybody),
    ("post", "/v1/auth/backchannel-logout", Everybody),
    ("get", "/v1/auth/sessions", SignedIn),
    ("delete", "/v1/auth/sessions/{id}", SignedIn),
    ("get", "/health/live", Everybody),
    ("get", "/health/ready", Everybody),
    ("get", "/metrics", Everybody),
    ("get", "/openapi.json", Everybody),
];

/// Whether a role may use it, for a facility of its own.
fn may(role: &str, who: Who) -> bool {
    match who {
        Everybody | SignedIn => true,
        Readers => ["viewer", "operator", "admin", "reading service"].contains(&role),
        Operators => ["operator", "admin"].contains(&role),
        Posters => ["operator", "admin", "service", "reading service"].contains(&role),
        Admins => role == "admin",
    }
}

/// The method and the path of each operation of the document.
async fn operations(service: &Service) -> Vec<(String, String)> {
    let document: Value = service.get("/openapi.json").await.json().await.unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            operations.push((method.clone(), path.clone()));
        }
    }
    operations
}

fn filled(path: &str, facility: Uuid) -> String {
    path.replace("{facility_id}", &facility.to_string())
        .replace("{date}", "today")
        .replace("{blood_bank_id}", &Uuid::new_v4().to_string())
        .replace("{run_id}", &Uuid::new_v4().to_string())
        .replace("{id}", "0a1b2c3d4e5f")
}

async fn status(
    service: &Service,
    credential: Option<&str>,
    method: &str,
    path: &str,
) -> (u16, Option<String>) {
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let response = asked(service, credential, method, path).await;
    let challenge = response.headers().get("www-authenticate");
    (response.status().as_u16(), challenge.map(|text| text.to_str().unwrap().to_owned()))
}

on_both_stores! {
    async fn each_route_is_open_to_those_who_may_use_it_and_to_nobody_else(launch: Launch) {
        let service = signed_in(launch).await;
        let (own, other) = (site(&service, "Own").await, site(&service, "Other").await);
        let may_read = json!({"name": "reads", "role": "service", "may_read": true});
        let roles = [
            ("viewer", key_of(&service, "viewer", &[own.facility]).await),
            ("operator", key_of(&service, "operator", &[own.facility]).await),
            ("admin", key_of(&service, "admin", &[]).await),
            ("service", key_of(&service, "service", &[]).await),
            ("reading service", key(&service, may_read).await),
            ("metrics", key_of(&service, "metrics", &[]).await),
        ];
        let revoked = key_of(&service, "admin", &[]).await;
        let id = revoked.split('_').nth(1).unwrap();
        let path = format!("/v1/api-keys/{id}");
        let ended = asked(&service, Some(&roles[2].1), Method::DELETE, &path);
        assert_eq!(ended.await.status(), 204);
        let forged = {
            let (head, last) = roles[2].1.split_at(roles[2].1.len() - 1);
            format!("{head}{}", if last == "A" { "B" } else { "A" })
        };
        let there = ["--role", "admin", "--name", "elsewhere"];
        let elsewhere = added(&Service::on_sqlite(), &there).await;
        let operations = operations(&service).await;
        assert!(operations.len() >= ROUTES.len(), "{operations:?}");
        for (method, path) in &operations {
            let who = ROUTES.iter().find(|(m, p, _)| m == method && p == path);
            let (_, _, who) = who.unwrap_or_else(|| panic!("who may {method} {path}?"));
            let own_path = filled(path, own.facility);
            for (name, credential) in [
                ("nobody", None),
                ("revoked", Some(revoked.as_str())),
                ("forged", Some(forged.as_str())),
                ("of another installation", Some(elsewhere.as_str())),
                ("no key", Some("fs_")),
                ("empty", Some("")),
            ] {
                let (status, challenge) = status(&service, credential, method, &own_path).await;
                assert_eq!(status == 401, *who != Everybody, "{name}: {method} {path}: {status}");
                assert_eq!(challenge.is_some(), status == 401, "{name}: {method} {path}");
            }
            for (role, key) in &roles {
                let (status, _) = status(&service, Some(key), method, &own_path).await;
                assert_ne!(status, 401, "{role}: {method} {path}");
                assert_eq!(status != 403, may(role, *who), "{role}: {method} {path}: {status}");
            }
            if path.contains("{facility_id}") {
                for (role, key) in &roles[..2] {
                    for facility in [other.facility, Uuid::new_v4()] {
                        let path = filled(path, facility);
                        let (status, _) = self::status(&service, Some(key), method, &path).await;
                        assert_eq!(status, 403, "{role}: {method} {path}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_credential_that_is_sent_in_another_way_is_none() {
    let service = signed_in(Service::on_sqlite()).await;
    let admin = key_of(&service, "admin", &[]).await;
    let ask =
        |request: reqwest::RequestBuilder| async move { request.send().await.unwrap().status() };
    let plain = || service.request_as(None, Method::GET, "/v1/facilities");
    assert_eq!(ask(plain().header("authorization", format!("bearer {admin}"))).await, 200);
    for wrong in [
        plain().header("authorization", admin.clone()),
        plain().header("authorization", format!("Basic {admin}")),
        plain().header("authorization", format!("Bearer {admin},{admin}")),
        plain().bearer_auth(&admin).bearer_auth(&admin),
        service.request_as(None, Method::GET, &format!("/v1/facilities?access_token={admin}")),
    ] {
        assert_eq!(ask(wrong).await, 401);
    }
}

#[tokio::test]
async fn who_is_refused_does_not_learn_what_was_wrong_with_the_request() {
    let service = signed_in(Service::on_sqlite()).await;
    let viewer = key_of(&service, "viewer", &[]).await;
    for (credential, status) in [(None, 401), (Some(viewer.as_str()), 403)] {
        let faulty = service
            .request_as(credential, Method::POST, "/v1/events?unknown=1")
            .header("content-type", "text/plain")
            .body("no JSON");
        assert_eq!(faulty.send().await.unwrap().status(), status);
    }
}
