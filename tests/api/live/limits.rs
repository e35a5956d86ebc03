//! How much is taken of one live client.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Error;
use uuid::Uuid;

use super::client::Live;
use crate::{
    access::{key_of, signed_in},
    steps::Scrape,
    support::{PATIENCE, Service, plain_sql::execute},
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

#[tokio::test]
async fn a_client_names_so_many_facilities_and_no_more() {
    const MOST: usize = 2_000;
    let launch = Service::on_sqlite();
    assert_eq!(launch.run(&["migrate"]).await.code, Some(0));
    let sql = format!(
        "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n <= {MOST}) \
         INSERT INTO facilities (id, name) SELECT unhex(printf('%032X', n)), 'F' || n FROM n"
    );
    execute(launch.database_url(), &sql).await;
    let service = launch.start().await;
    let (mut live, _) = Live::connect(&service, &[]).await;
    let ids: Vec<Uuid> = (1..=MOST as u128 + 1).map(Uuid::from_u128).collect();
    let mut taken = 0;
    for some in ids.chunks(400) {
        let told = live.subscribe(some).await;
        taken += told["facilities"].as_array().unwrap().len();
        let refused = told["refused"].as_array().unwrap();
        match some.contains(&ids[MOST]) {
            false => assert!(refused.is_empty(), "{told}"),
            true => assert_eq!(refused[0]["reason"], "too_many", "{told}"),
        }
    }
    assert_eq!(taken, MOST);
    live.send(json!({"type": "unsubscribe", "facilities": [ids[0]]})).await;
    assert_eq!(live.subscribe(&ids[MOST..]).await["facilities"], json!([ids[MOST]]));
}
