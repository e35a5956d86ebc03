//! What is counted of those who are not let in, and what readiness says of issuers.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    added, asked,
    forged::{ISSUER, Signer},
    get_as, key_of, signed_in, site,
};
use crate::{
    steps::{Scrape, now_ms, request},
    support::{Service, openid::OpenId, wait_until},
};

async fn counted(service: &Service, name: &str, label: (&str, &str)) -> f64 {
    Scrape::of(service).await.sum(name, &[label])
}

#[tokio::test]
async fn each_refused_token_is_counted_by_what_is_wrong_with_it_and_by_no_more() {
    let signer = Signer::new();
    let launch = signer.accepted_by(Service::on_sqlite());
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let service = launch.credential(&admin).start().await;
    for (what, token, reason) in signer.forged() {
        let name = "access_token_refusals_total";
        let before = counted(&service, name, ("reason", reason)).await;
        assert_eq!(get_as(&service, &token, "/v1/auth/me").await.0, 401, "{what}");
        let after = counted(&service, name, ("reason", reason)).await;
        assert_eq!(after - before, 1.0, "{what}: {reason}");
    }
    let denial = json!({"issuer": ISSUER, "subject": "denied"});
    assert_eq!(service.post("/v1/denied-principals", &denial).await.status(), 201);
    let denied = signer.token(json!({"roles": ["admin"], "sub": "denied"}));
    assert_eq!(get_as(&service, &denied, "/v1/auth/me").await.0, 401);
    assert_eq!(counted(&service, "access_token_refusals_total", ("reason", "denied")).await, 1.0);
    let scrape = Scrape::of(&service).await;
    for (name, labels, _) in scrape.samples().filter(|(name, ..)| name.starts_with("access_")) {
        for value in labels.values() {
            let is_word = value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(is_word, "{name}: {labels:?} has more than a word of ours");
        }
    }
}

#[tokio::test]
async fn each_denial_is_counted_by_its_kind() {
    let service = signed_in(Service::on_sqlite()).await;
    let (own, other) = (site(&service, "Own").await, site(&service, "Other").await);
    let viewer = key_of(&service, "viewer", &[own.facility]).await;
    let operator = key_of(&service, "operator", &[own.facility]).await;
    let of_other = format!("/v1/facilities/{}", other.facility);
    let in_the_list = format!("/v1/summaries/today?facility_id={}", other.facility);
    for (kind, credential, path) in [
        ("missing", None, "/v1/facilities"),
        ("invalid", Some("fs_"), "/v1/facilities"),
        ("role", Some(viewer.as_str()), "/v1/api-keys"),
        ("facility", Some(viewer.as_str()), of_other.as_str()),
        ("facility", Some(viewer.as_str()), in_the_list.as_str()),
    ] {
        let before = counted(&service, "access_denials_total", ("kind", kind)).await;
        let denied = asked(&service, credential, Method::GET, path).await;
        assert!([401, 403].contains(&denied.status().as_u16()), "{kind}");
        let after = counted(&service, "access_denials_total", ("kind", kind)).await;
        assert_eq!(after - before, 1.0, "{kind}: {path}");
    }
    let before = counted(&service, "access_denials_total", ("kind", "facility")).await;
    let event = request(Uuid::new_v4(), other.facility, now_ms());
    let denied = service
        .request_as(Some(&operator), Method::POST, "/v1/events")
        .header("content-type", "application/cloudevents+json")
        .body(event.to_string());
    assert_eq!(denied.send().await.unwrap().status(), 403);
    let after = counted(&service, "access_denials_total", ("kind", "facility")).await;
    assert_eq!(after - before, 1.0);
}

async fn issuer(service: &Service) -> (Value, Value) {
    let ready: Value = service.get("/health/ready").await.json().await.unwrap();
    let dependencies = ready["dependencies"].as_array().unwrap();
    let issuer = dependencies.iter().find(|one| one["name"] == "issuer").cloned();
    (ready["status"].clone(), issuer.unwrap_or_else(|| panic!("{ready}")))
}

#[tokio::test]
async fn readiness_says_in_words_what_is_known_of_the_keys_of_a_provider() {
    let mut provider = OpenId::start(&[]).await;
    provider.go_away().await;
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__AUTH__ISSUER", provider.issuer());
    let service = launch.start().await;
    wait_until("the first fetch has failed", async || {
        issuer(&service).await.1["last_error"] == "connect"
    })
    .await;
    let (status, down) = issuer(&service).await;
    assert_eq!((&status, &down["state"]), (&json!("degraded"), &json!("down")));
    assert_eq!(
        down["issuer"],
        json!({"name": provider.issuer(), "keys": 0, "fetched_seconds_ago": null})
    );
    let words = down["remedy"].as_str().unwrap();
    assert!(words.contains("cannot be reached") && words.contains("503"), "{words}");
    let signer = Signer::new();
    provider.rotate(&[signer.jwk()]);
    provider.come_back().await;
    wait_until("the keys are there", async || issuer(&service).await.1["state"] == "up").await;
    let (status, up) = issuer(&service).await;
    assert_eq!((&status, &up["issuer"]["keys"]), (&json!("ready"), &json!(1)));
    assert!(up["issuer"]["fetched_seconds_ago"].as_u64().unwrap() < 60, "{up}");
    assert_eq!((&up["last_error"], up.get("remedy")), (&Value::Null, None));

    let service = signer.accepted_by(Service::on_sqlite()).start().await;
    let (status, fixed) = issuer(&service).await;
    assert_eq!((&status, &fixed["state"]), (&json!("ready"), &json!("up")));
    assert_eq!(fixed["issuer"], json!({"name": ISSUER, "keys": 1, "fetched_seconds_ago": null}));
}
