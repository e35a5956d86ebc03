//! Tokens in the place of keys: the same roles, the same facilities. `tests/api/tokens` has how
//! tokens are verified.

use serde_json::json;

use super::{added, get_as, site};
use crate::{
    steps::{inventory, now_ms, post},
    support::{Service, service::Launch, wait_until},
};

const SECRET: &str = "a secret of the tests, which is long enough";

async fn minted(launch: &Launch, options: &[&str]) -> String {
    let words: Vec<&str> = ["token", "mint"].into_iter().chain(options.iter().copied()).collect();
    let made = launch.run(&words).await;
    assert_eq!(made.code, Some(0), "{}", made.output);
    let token = made.output.lines().find(|line| line.starts_with("eyJ"));
    token.unwrap_or_else(|| panic!("it prints the token: {}", made.output)).to_owned()
}

async fn with_a_secret() -> Service {
    // The secret switches sign-in on.
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__AUTH__SECRET", SECRET);
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    launch.credential(&admin).start().await
}

#[tokio::test]
async fn a_token_shows_what_its_role_and_its_facilities_allow() {
    let service = with_a_secret().await;
    let (own, other) = (site(&service, "Own").await, site(&service, "Other").await);
    post(&service, &[inventory(uuid::Uuid::new_v4(), own.bank, "O+", 7)]).await;
    let id = own.facility.to_string();
    let viewer = minted(service.launch(), &["--role", "viewer", "--facility", &id]).await;
    let (status, me) = get_as(&service, &viewer, "/v1/auth/me").await;
    assert_eq!((status, &me["role"], &me["facilities"]), (200, &json!("viewer"), &json!([id])));
    assert!(me["id"].as_str().unwrap().starts_with("token:facility-summary#"), "{me}");
    for (path, expected) in [
        (format!("/v1/facilities/{id}/summaries/today"), 200),
        (format!("/v1/facilities/{}/summaries/today", other.facility), 403),
        ("/v1/api-keys".to_owned(), 403),
    ] {
        assert_eq!(get_as(&service, &viewer, &path).await.0, expected, "{path}");
    }
    let (_, page) = get_as(&service, &viewer, "/v1/summaries/today").await;
    assert_eq!(
        (&page["totals"]["total_stock"], page["items"].as_array().unwrap().len()),
        (&json!(7), 1)
    );
    let path = format!("/v1/facilities/{id}/refresh");
    let refresh = super::asked(&service, Some(&viewer), reqwest::Method::POST, &path).await;
    assert_eq!(refresh.status(), 403);
    let elsewhere = Service::on_sqlite()
        .env("FACILITY_SUMMARY__AUTH__SECRET", "another secret of the tests, long enough, too");
    let forged = minted(&elsewhere, &["--role", "admin"]).await;
    assert_eq!(get_as(&service, &forged, "/v1/auth/me").await.0, 401);
    let nobody = service.request_as(None, reqwest::Method::GET, "/v1/auth/me");
    assert_eq!(nobody.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_token_that_is_remembered_ends_at_its_end() {
    // Its end is beyond the leeway of 30 seconds, so that has to be left out.
    let launch = Service::on_sqlite()
        .env("FACILITY_SUMMARY__AUTH__ISSUER", "test")
        .env("FACILITY_SUMMARY__AUTH__KEYS", SECRET)
        .env("FACILITY_SUMMARY__AUTH__ALGORITHMS", "HS256")
        .env("FACILITY_SUMMARY__AUTH__LEEWAY_SECONDS", "0");
    let service = launch.start().await;
    let end = now_ms() / 1_000 + 4;
    let claims = json!({
        "iss": "test", "aud": "facility-summary", "sub": "somebody", "exp": end,
        "roles": ["admin"],
    });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let status = async || get_as(&service, &token, "/v1/auth/me").await.0;
    assert_eq!(status().await, 200);
    wait_until("the token has ended", async || status().await == 401).await;
    assert!(now_ms() >= end * 1_000, "not before its end");
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_a_bad_setting() {
    let refused = Service::on_sqlite()
        .env("FACILITY_SUMMARY__AUTH__ISSUER", "test")
        .env("FACILITY_SUMMARY__AUTH__KEYS", "too short")
        .env("FACILITY_SUMMARY__AUTH__ALGORITHMS", "HS256")
        .run(&["serve"])
        .await;
    assert_eq!(refused.code, Some(2), "{}", refused.output);
    assert!(refused.output.contains("auth.keys"), "{}", refused.output);
}

#[tokio::test]
async fn sign_in_cannot_be_off_where_tokens_are_accepted() {
    let refused = Service::on_sqlite()
        .env("FACILITY_SUMMARY__AUTH__SECRET", SECRET)
        .env("FACILITY_SUMMARY__AUTH__SIGN_IN", "off")
        .run(&["serve"])
        .await;
    assert_eq!(refused.code, Some(2), "{}", refused.output);
    assert!(refused.output.contains("auth.sign_in"), "{}", refused.output);
    assert!(!refused.output.contains(SECRET), "the secret is shown nowhere");
}
