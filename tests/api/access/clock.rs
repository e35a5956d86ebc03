//! The clock is set, forwards and back: what has ended stays ended.

use jiff::{Timestamp, ToSpan};
use reqwest::Method;
use serde_json::{Value, json};

use super::{added, get_as, key, people::*};
use crate::support::{Service, faketime::FakeClock, wait_until};

const ME: &str = "/v1/auth/me";
const SECRET: &str = "a secret of the tests, which is long enough";

async fn status(service: &Service, credential: &str) -> u16 {
    match credential.starts_with(SESSION) {
        true => asked_with(service, credential, Method::GET, ME).await.0,
        false => get_as(service, credential, ME).await.0,
    }
}

#[tokio::test]
async fn what_has_ended_does_not_count_again_when_the_clock_is_set_back() {
    let now = Timestamp::now();
    let clock = FakeClock::at(now);
    let launch = Service::on_sqlite()
        .env("FACILITY_SUMMARY__AUTH__ISSUER", "test")
        .env("FACILITY_SUMMARY__AUTH__KEYS", SECRET)
        .env("FACILITY_SUMMARY__AUTH__ALGORITHMS", "HS256")
        .env("FACILITY_SUMMARY__AUTH__SESSION_HOURS", "1")
        .envs(clock.environment());
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    add_user(&launch, "anna", &["--role", "viewer"]).await;
    let service = launch.credential(&admin).start().await;
    let wish = |end: Timestamp| {
        let end = end.to_string();
        json!({"name": "x", "role": "viewer", "facilities": "all", "expires_at": end})
    };
    let token = |end: Timestamp| {
        let claims = json!({
            "iss": "test", "aud": "facility-summary", "sub": "somebody", "exp": end.as_second(),
            "roles": ["admin"],
        });
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    };
    let end = now + 1.hours();
    let used = [key(&service, wish(end)).await, token(end), session(&service, "anna").await];
    let unused =
        [key(&service, wish(end)).await, token(end + 1.seconds()), session(&service, "anna").await];
    for credential in &used {
        assert_eq!(status(&service, credential).await, 200, "{credential}");
    }
    // Those that are remembered end at once.
    clock.set(now + 3.hours());
    for credential in &used {
        wait_until("it has ended", async || status(&service, credential).await == 401).await;
    }
    clock.set(now);
    wait_until("it is noticed that the clock was set back", async || {
        let text = service.get("/metrics").await.text().await.unwrap();
        let behind = text.lines().find_map(|line| {
            line.strip_prefix("access_clock_set_back_seconds ")?.parse::<f64>().ok()
        });
        behind.is_some_and(|seconds| seconds > 10_000.0)
    })
    .await;
    for credential in used.iter().chain(&unused) {
        assert_eq!(status(&service, credential).await, 401, "{credential}");
    }
    assert!(service.logs().join("\n").contains("the database's clock was set back"));
    // What has no end, or a later one, counts; what would have ended already is not made.
    assert_eq!(status(&service, &admin).await, 200);
    assert_eq!(status(&service, &token(now + 4.hours())).await, 200);
    assert_eq!(status(&service, &key(&service, wish(now + 4.hours())).await).await, 200);
    assert_eq!(status(&service, &session(&service, "anna").await).await, 200);
    let refused = service.post("/v1/api-keys", &wish(now + 2.hours())).await;
    assert_eq!(refused.status(), 422);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["errors"][0]["pointer"], "/expires_at", "{refused}");
}
