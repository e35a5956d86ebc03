//! Every route, asked by everybody: the document of the running service says which routes there
//! are, and the table here says who may use each.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    added, asked,
    forged::{ISSUER, Signer},
    key, key_of, signed_in, site,
};
use crate::{
    on_both_stores,
    steps::{instant, now_ms},
    support::{Service, wait_until},
};

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

const ROUTES: [(&str, &str, Who); 33] = [
    ("get", "/v1/facilities/{facility_id}/summaries/{date}", Readers),
    ("get", "/v1/facilities/{facility_id}/summaries", Readers),
    ("get", "/v1/summaries/{date}", Readers),
    ("get", "/v1/live", Readers),
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
    ("get", "/v1/denied-principals", Admins),
    ("post", "/v1/denied-principals", Admins),
    ("delete", "/v1/denied-principals/{id}", Admins),
    ("get", "/v1/audit-log", Admins),
    ("get", "/.well-known/oauth-protected-resource", Everybody),
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

/// A credential of each role, keys and tokens. Those of limited roles come first, each limited to
/// `own`.
async fn of_roles(service: &Service, signer: &Signer, own: Uuid) -> Vec<(&'static str, String)> {
    let may_read = json!({"name": "reads", "role": "service", "may_read": true});
    let token = |role: &str| {
        signer.token(json!({"roles": [role], "facilities": [own], "sub": format!("a {role}")}))
    };
    vec![
        ("viewer", key_of(service, "viewer", &[own]).await),
        ("operator", key_of(service, "operator", &[own]).await),
        ("viewer", token("viewer")),
        ("operator", token("operator")),
        ("admin", key_of(service, "admin", &[]).await),
        ("service", key_of(service, "service", &[]).await),
        ("reading service", key(service, may_read).await),
        ("metrics", key_of(service, "metrics", &[]).await),
        ("admin", token("admin")),
        ("service", token("service")),
        ("metrics", token("metrics")),
    ]
}

const LIMITED: usize = 4;

/// What must not count, made of the key of an admin or like it.
async fn of_nobody(
    service: &Service,
    signer: &Signer,
    admin: &str,
) -> Vec<(&'static str, Option<String>)> {
    let counts = async |credential: &str| {
        assert_eq!(status(service, Some(credential), "get", "/v1/auth/me").await.0, 200);
    };
    let end_ms = now_ms() + 5_000;
    let short = json!({"name": "short", "role": "admin", "expires_at": instant(end_ms)});
    let expired = key(service, short).await;
    counts(&expired).await;
    let denied = signer.token(json!({"roles": ["admin"], "sub": "denied"}));
    counts(&denied).await;
    let denial = json!({"issuer": ISSUER, "subject": "denied"});
    assert_eq!(service.post("/v1/denied-principals", &denial).await.status(), 201);
    let revoked = key_of(service, "admin", &[]).await;
    counts(&revoked).await;
    let path = format!("/v1/api-keys/{}", revoked.split('_').nth(1).unwrap());
    let ended = asked(service, Some(admin), Method::DELETE, &path).await;
    assert_eq!(ended.status(), 204);
    // What is remembered is found by the end of a credential, and compared as a whole.
    counts(admin).await;
    let (head, secret) = admin.rsplit_once('_').unwrap();
    let other = if head.ends_with('0') { "1" } else { "0" };
    let of_another_id = format!("{}{other}_{secret}", &head[..head.len() - 1]);
    let remembered = signer.token(json!({"roles": ["metrics"]}));
    counts(&remembered).await;
    let of_admin = signer.token(json!({"roles": ["admin"]}));
    let mut parts: Vec<&str> = remembered.split('.').collect();
    parts[1] = of_admin.split('.').nth(1).unwrap();
    let of_another_head = parts.join(".");
    let forged = {
        let (head, last) = admin.split_at(admin.len() - 1);
        format!("{head}{}", if last == "A" { "E" } else { "A" })
    };
    let there = ["--role", "admin", "--name", "elsewhere"];
    let elsewhere = added(&Service::on_sqlite(), &there).await;
    wait_until("the short key has ended", async || now_ms() > end_ms).await;
    let mut all = vec![
        ("nobody", None),
        ("revoked", Some(revoked)),
        ("expired", Some(expired)),
        ("denied", Some(denied)),
        ("forged", Some(forged)),
        ("of another installation", Some(elsewhere)),
        ("of another id", Some(of_another_id)),
        ("with the end of another token", Some(of_another_head)),
        ("no key", Some("fs_".to_owned())),
        ("empty", Some(String::new())),
    ];
    all.extend(signer.forged().into_iter().map(|(name, token, _)| (name, Some(token))));
    all
}

on_both_stores! {
    async fn each_route_is_open_to_those_who_may_use_it_and_to_nobody_else(launch: Launch) {
        let signer = Signer::new();
        let service = signed_in(signer.accepted_by(launch)).await;
        let (own, other) = (site(&service, "Own").await, site(&service, "Other").await);
        let roles = of_roles(&service, &signer, own.facility).await;
        let nobody = of_nobody(&service, &signer, &roles[LIMITED].1).await;
        let operations = operations(&service).await;
        assert!(operations.len() >= ROUTES.len(), "{operations:?}");
        for (method, path) in &operations {
            if path == "/v1/stream" {
                continue; // always 200, as tests/api/live has it
            }
            let who = ROUTES.iter().find(|(m, p, _)| m == method && p == path);
            let (_, _, who) = who.unwrap_or_else(|| panic!("who may {method} {path}?"));
            let own_path = filled(path, own.facility);
            for (name, credential) in &nobody {
                let credential = credential.as_deref();
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
                for (role, key) in &roles[..LIMITED] {
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
    // Only the live updates take a WebSocket that signs in later.
    for (method, path) in [
        (Method::GET, "/v1/facilities"),
        (Method::GET, "/v1/api-keys"),
        (Method::GET, "/v1/stream?subject=all"),
        (Method::POST, "/v1/rebuild"),
    ] {
        let request = service.request_as(None, method, path).header("connection", "upgrade");
        let answer = request.header("upgrade", "websocket").send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        let is_refused = status == 401 || text.contains("event: expired");
        assert!(is_refused, "{path}: {status} {text}");
    }
}

#[tokio::test]
async fn a_challenge_names_an_error_only_where_a_bearer_credential_was_sent() {
    let service = signed_in(Service::on_sqlite()).await;
    for (sent, names_an_error) in [
        (None, false),
        (Some("Basic YTpi"), false),
        (Some("fs_x"), false),
        (Some("Bearer x"), true),
    ] {
        let request = service.request_as(None, Method::GET, "/v1/facilities");
        let request = sent.into_iter().fold(request, |r, sent| r.header("authorization", sent));
        let answer = request.send().await.unwrap();
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert_eq!(answer.status(), 401);
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        assert_eq!(challenge.contains("error="), names_an_error, "{sent:?}: {challenge}");
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
