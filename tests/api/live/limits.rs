//! How much is taken of one live client.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Error;

use super::client::Live;
use crate::{
    access::{key_of, signed_in},
    steps::Scrape,
    support::{PATIENCE, Service},
};

const FOR: &str = "x-forwarded-for";

#[tokio::test]
async fn credentials_in_messages_count_for_their_address_and_one_is_verified_at_a_time() {
    let launch = Service::on_sqlite()
        .env("FACILITY_SUMMARY__SERVER__TRUSTED_PROXIES", "127.0.0.1")
        .env("FACILITY_SUMMARY__LIMITS__REQUESTS_PER_MINUTE", 21)
        .env("FACILITY_SUMMARY__LIVE__CLIENTS_PER_ADDRESS", 2);
    let service = signed_in(launch).await;
    let wrong = |number: usize| json!({"type": "auth", "token": format!("nothing {number}")});
    // Whoever is refused has to go, and nothing else of it is verified.
    let (mut live, _) = Live::connect(&service, &[(FOR, "192.0.2.1")]).await;
    live.send_at_once(&(0..20).map(wrong).collect::<Vec<_>>()).await;
    let (before, code) = live.end().await;
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!((&before[0]["code"], code), (&json!("unauthorized"), Some(1008)));
    let verified = [("kind", "token")];
    let scrape = Scrape::of(&service).await;
    assert_eq!(scrape.find("access_verifications_total", &verified), Some(1.0));
    // One handshake and one credential at a time: the last one that is taken is a handshake.
    let refused = async {
        for number in 100.. {
            let mut live = match Live::try_connect(&service, &[(FOR, "192.0.2.7")]).await {
                Ok(live) => live,
                Err(Error::Http(answer)) if answer.status() == 429 => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            live.send(wrong(number)).await;
            let (before, code) = live.end().await;
            assert_eq!(code, Some(1008), "{before:?}");
            if before.last().unwrap()["code"] == "too_many_requests" {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("one too many is refused");
    // An address is what it is for the limits: of IPv6, a network of 64 bits.
    let key = format!("Bearer {}", key_of(&service, "viewer", &[]).await);
    let at = async |address: &str| {
        let headers = [("authorization", key.as_str()), (FOR, address)];
        Live::connect(&service, &headers).await.0
    };
    let _held = [at("2001:db8::1").await, at("2001:db8::2").await];
    let (before, code) = at("2001:db8::3").await.end().await;
    assert_eq!((&before[0]["code"], code), (&json!("too_many_of_one"), Some(1013)));
    let mut other = at("2001:db8:0:1::1").await;
    other.send(json!({"type": "ping"})).await;
    assert_eq!(other.news().await["type"], "pong");
}
