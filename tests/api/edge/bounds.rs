//! Bounds of a request that hold for everybody.

use reqwest::Method;
use serde_json::json;

use super::server;
use crate::{
    access::{asked, signed_in},
    bad_input::raw_http::ask,
    support::Service,
};

#[tokio::test]
async fn a_longer_target_than_the_setting_is_414_whoever_asks() {
    let service = server(Service::on_sqlite(), "max_url", 1_000);
    let service = signed_in(service).await;
    let long = |length: usize| {
        let path = "/v1/facilities?q=";
        format!("{path}{}", "a".repeat(length - path.len()))
    };
    assert_eq!(service.get(&long(1_000)).await.status(), 200);
    for credential in [None, Some("fs_forged")] {
        let refused = asked(&service, credential, Method::GET, &long(1_001)).await;
        assert_eq!(refused.status(), 414);
        assert!(refused.text().await.unwrap().contains("server.max_url"));
    }
    let nowhere = asked(&service, None, Method::GET, &format!("/{}", "b".repeat(2_000))).await;
    assert_eq!(nowhere.status(), 414);
}

#[tokio::test]
async fn more_headers_than_are_read_are_431() {
    let service = Service::on_sqlite().start().await;
    let headers = |count: usize| (0..count).map(|n| format!("X-H{n}: 1\r\n")).collect::<String>();
    // Host and Connection are two of the 96.
    for (count, status) in [(94, 200), (95, 431), (5_000, 431)] {
        let answer = ask(service.address, "GET", b"/health/live", headers(count).as_bytes());
        assert_eq!(answer.status, status, "{count} headers");
    }
    let long = format!("X-Long: {}\r\n", "a".repeat(131_072));
    assert_eq!(ask(service.address, "GET", b"/health/live", long.as_bytes()).status, 431);
}

#[tokio::test]
async fn a_longer_name_than_500_characters_is_422_in_each_place() {
    let service = signed_in(Service::on_sqlite()).await;
    let id = uuid::Uuid::new_v4();
    for (length, is_right) in [(500, true), (501, false), (1_000, false)] {
        let name = "ł".repeat(length);
        let wish = json!({"name": name, "timezone": "UTC"});
        let answer = service.put(&format!("/v1/facilities/{id}"), &wish).await;
        assert_eq!(answer.status(), if is_right { 200 } else { 422 }, "facility: {length}");
        let wish = json!({"name": name, "facility_id": id});
        let answer = service.put(&format!("/v1/blood-banks/{id}"), &wish).await;
        assert_eq!(answer.status(), if is_right { 200 } else { 422 }, "blood bank: {length}");
    }
    let wish = json!({"name": "n".repeat(1_001), "role": "admin"});
    assert_eq!(service.post("/v1/api-keys", &wish).await.status(), 422);
}
