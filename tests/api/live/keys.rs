//! Facilities that a token names by the owner's keys: which ones these are is looked up each 60 s,
//! of open connections, too.

use serde_json::{Value, json};

use super::client::Live;
use crate::{
    access::forged::Signer,
    sources::{MAPPING, mapped},
    steps::{get, read},
    support::{faketime::FakeClock, wait_until},
};

/// The ids of facilities with these keys.
async fn ids(service: &crate::support::Service, keys: &[&str]) -> Vec<Value> {
    let list = get(service, "/v1/facilities").await;
    let items = list["items"].as_array().unwrap();
    let of = |key: &&str| items.iter().find(|item| item["key"] == **key);
    keys.iter().filter_map(of).map(|item| item["facility_id"].clone()).collect()
}

#[tokio::test]
async fn a_facility_that_gets_a_key_of_the_token_is_followed_and_one_that_has_gone_is_told() {
    let signer = Signer::new();
    let claims = json!({"roles": ["viewer"], "facilities": ["1", "2", "4"]});
    let token = signer.token(claims);
    let clock = FakeClock::at(jiff::Timestamp::now());
    let (launch, mut sql) = mapped(MAPPING).await;
    let service = signer
        .accepted_by(launch)
        .env("FACILITY_SUMMARY__AUTH__CLAIMS__FACILITIES_ARE", "keys")
        .credential(&token)
        .envs(clock.environment())
        // The time between two looks is one of the monotonic clock.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", 0)
        .start()
        .await;
    let named = ids(&service, &["1", "2"]).await;
    let [one, two] = &named[..] else { panic!("both are there: {named:?}") };
    let token = format!("Bearer {token}");
    let (mut live, _) = Live::connect(&service, &[("authorization", &token)]).await;
    live.send(json!({"type": "subscribe", "subject": "all"})).await;
    let mut shown = Vec::new();
    let take = |message: &Value, shown: &mut Vec<Value>| {
        let items = message["summaries"].as_array().into_iter().flatten();
        shown.extend(items.map(|item| item["summary"]["facility_id"].clone()));
    };
    while !(shown.contains(one) && shown.contains(two)) {
        take(&live.news().await, &mut shown);
    }
    sql.run("UPDATE public.hospital SET closed_on = now()::date WHERE id = 2").await;
    assert_eq!(live.until("error").await["facility_id"], *two);
    sql.run("INSERT INTO public.hospital VALUES (4, 'Apam Clinic', NULL)").await;
    // The service knows it, and does not show it to this token yet.
    read(&service, "/v1/facilities", "no-cache").await;
    assert!(ids(&service, &["4"]).await.is_empty());
    clock.set(jiff::Timestamp::now() + jiff::SignedDuration::from_secs(61));
    let mut four = Vec::new();
    wait_until("the new one may be seen", async || {
        four = ids(&service, &["4"]).await;
        !four.is_empty()
    })
    .await;
    shown.clear();
    while !shown.contains(&four[0]) {
        take(&live.news().await, &mut shown);
    }
    assert!(!shown.contains(two), "{shown:?}");
}
