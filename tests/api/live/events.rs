//! What comes as server-sent events.

use std::io::{BufRead, BufReader, Read, Write};

use serde_json::json;
use uuid::Uuid;

use super::client::Events;
use crate::{
    on_both_stores,
    steps::{bank, facility, get, inventory, path, post},
    support::{Service, wait_until},
};

on_both_stores! {
    async fn an_event_source_gets_the_summary_as_a_read_has_it_and_then_each_change(
        service: Service,
    ) {
        let a = facility(&service, "A", "UTC").await;
        let bank = bank(&service, a).await;
        let unit = Uuid::new_v4();
        post(&service, &[inventory(unit, bank, "O+", 5)]).await;
        let mut events = Events::open(&service, &format!("facility_id={a}"), None).await;
        assert_eq!(events.next().await.unwrap().name, "hello");
        let subscribed = events.next().await.unwrap();
        assert_eq!((subscribed.name.as_str(), &subscribed.data["facilities"]),
            ("subscribed", &json!([a])));
        let first = events.until("summary").await;
        assert_eq!(first.data["summary"], get(&service, &path(a, "today")).await);
        assert!(first.id.is_some(), "it can go on from here");
        for quantity in [7, 9, 4] {
            post(&service, &[inventory(unit, bank, "O+", quantity)]).await;
            let next = events.until("summary").await;
            assert_eq!(next.data["summary"]["total_stock"], quantity);
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_an_event_and_the_end_and_never_another_status_than_200() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__LIVE__MAX_CLIENTS", 1);
    let service = launch.start().await;
    let a = facility(&service, "A", "UTC").await;
    for query in ["", "facility=7", "subject=all&subject=totals"] {
        let mut events = Events::open(&service, query, None).await;
        let event = events.next().await.unwrap();
        assert_eq!((event.name.as_str(), event.retry), ("error", Some(60_000)), "{query}");
        assert!(events.next().await.is_none());
    }
    let query = format!("facility_id={a}");
    let mut held = Events::open(&service, &query, None).await;
    held.until("summary").await;
    let mut full = Events::open(&service, &query, None).await;
    let event = full.until("full").await;
    assert!(event.retry.is_some_and(|ms| (1_000..=15_000).contains(&ms)), "{event:?}");
    assert!(full.next().await.is_none());
    let told = async {
        let event = held.until("draining").await;
        assert!(event.retry.is_some());
        assert!(held.next().await.is_none());
    };
    let ((exited, _), ()) = tokio::join!(service.terminate(), told);
    assert_eq!(exited.code, Some(0));
}

#[tokio::test]
async fn no_proxy_is_to_hold_events_back() {
    let service = Service::on_sqlite().start().await;
    let answer = service
        .request(reqwest::Method::GET, "/v1/stream?subject=totals")
        .header("Accept-Encoding", "gzip, br")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let caching = answer.headers()["cache-control"].to_str().unwrap().to_owned();
    assert!(caching.contains("no-transform"), "{caching}");
    assert!(!answer.headers().contains_key("content-encoding"));
    let mut events = Events::of(answer);
    assert_eq!(events.until("totals").await.data["totals"]["facilities"], 0);
}

/// As the first request of a connection, events leave HTTP with their answer.
#[tokio::test]
async fn events_come_on_a_fresh_connection_and_on_one_that_has_served_another_request() {
    let service = Service::on_sqlite().env("FACILITY_SUMMARY__SERVER__WORKERS", 1).start().await;
    let a = facility(&service, "A", "UTC").await;
    let viewers = async || get(&service, &format!("/v1/facilities/{a}")).await["viewers"].clone();
    let events = format!("GET /v1/stream?facility_id={a} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let other = "GET /v1/facilities HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (before, is_chunked) in [("", false), (other, true)] {
        let mut socket = std::net::TcpStream::connect(service.address).unwrap();
        let asked = format!("{before}{events}");
        let read = tokio::task::spawn_blocking(move || {
            socket.write_all(asked.as_bytes()).unwrap();
            let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
            let mut head = Vec::new();
            for line in lines.by_ref() {
                let line = line.unwrap().to_ascii_lowercase();
                if line == "event: summary" {
                    break;
                }
                head.push(line);
            }
            (socket, head)
        });
        let (socket, head) = read.await.unwrap();
        let has = |line: &str| head.iter().any(|one| one == line);
        assert!(has("content-type: text/event-stream"), "{head:?}");
        assert_eq!(has("transfer-encoding: chunked"), is_chunked, "{head:?}");
        assert_eq!(has("connection: close"), !is_chunked, "its end is that of the events");
        assert_eq!(viewers().await, 1);
        drop(socket);
        if !is_chunked {
            wait_until("the close is noticed", async || viewers().await == 0).await;
        }
    }
    // A head that cannot be read is answered as for any other path.
    for path in ["/v1/stream", "/v1/facilities"] {
        let mut socket = std::net::TcpStream::connect(service.address).unwrap();
        socket.write_all(format!("GET {path}?a b c HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut answer = String::new();
            socket.read_to_string(&mut answer).map(|_| answer)
        });
        let answer = read.await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer:?}");
    }
}
