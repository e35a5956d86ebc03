//! What a refusal costs the service: no connection, and no waiting without a bound.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{added, asked, get_as, key_of, signed_in};
use crate::{
    bad_input::raw_http::{Then, exchange},
    support::{PATIENCE, Service, wait_until},
};

/// What the service answers on a connection until it closes it.
async fn until_closed(service: &Service, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(PATIENCE, reading).await.expect("it closes the connection");
    // It may close it before it has read everything.
    drop(read);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_body_that_comes_slowly_does_not_hold_the_connection_of_a_refused_request() {
    let service = signed_in(Service::on_sqlite()).await;
    let viewer = key_of(&service, "viewer", &[]).await;
    for (credential, status) in [(String::new(), 401), (format!("Bearer {viewer}"), 403)] {
        for length in ["transfer-encoding: chunked\r\n\r\n1\r\n{\r\n", "content-length: 9\r\n\r\n{"]
        {
            let head = format!(
                "POST /v1/events HTTP/1.1\r\nhost: a\r\nauthorization: {credential}\r\n\
                 content-type: application/json\r\n{length}"
            );
            let answer = until_closed(&service, head.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }
    // A short body that is there costs no connection.
    let post = "POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}";
    let last = "GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = until_closed(&service, format!("{post}{post}{last}").as_bytes()).await;
    let statuses: Vec<&str> = answer.matches("HTTP/1.1 401").collect();
    assert_eq!((statuses.len(), answer.matches("HTTP/1.1 200").count()), (2, 1), "{answer}");
}

/// What the service answers to a body that comes in a chunk each 50 ms, until it closes the
/// connection.
async fn to_a_slow_body(service: &Service, head: &str) -> String {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let trickling = async {
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        while writing.write_all(b"1\r\n \r\n").await.is_ok() {
            pause.tick().await;
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        // It may close it before it has read everything.
        drop(tokio::time::timeout(PATIENCE, reading.read_to_end(&mut answer)).await.expect(head));
    };
    tokio::select! {
        () = trickling => {}
        () = reading => {}
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether a route takes a body or not, and whether it is refused or not: nobody holds a connection
/// by a body that has no end.
#[tokio::test]
async fn a_body_without_an_end_holds_no_connection_whatever_is_asked() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__SERVER__READ_TIMEOUT_MS", 1_000);
    let service = signed_in(launch).await;
    let admin = key_of(&service, "admin", &[]).await;
    let id = uuid::Uuid::new_v4();
    let refresh = format!("POST /v1/facilities/{id}/refresh");
    let hot = format!("GET /v1/facilities/{id}/summaries/today");
    let asked = [
        ("POST /nothing", 404),
        ("POST /v1/facilities", 405),
        ("DELETE /docs/", 405),
        ("GET /v1/facilities", 200),
        ("GET /health/live", 200),
        ("GET /docs/", 200),
        ("GET /", 307),
        ("GET /docs", 307),
        (hot.as_str(), 404),
        ("POST /v1/auth/login", 408),
        ("POST /v1/auth/backchannel-logout", 415),
        ("POST /v1/auth/logout", 404),
        ("DELETE /v1/api-keys/000000000000", 404),
        ("POST /v1/rebuild", 202),
        (refresh.as_str(), 404),
        ("POST /v1/events", 408),
    ];
    let asking = asked.iter().flat_map(|(line, status)| {
        ["", "expect: 100-continue\r\n"].map(|expect| {
            let head = format!(
                "{line} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {admin}\r\ncontent-type: \
                 application/json\r\n{expect}transfer-encoding: chunked\r\n\r\n"
            );
            let service = &service;
            async move {
                let answer = to_a_slow_body(service, &head).await;
                // The HTTP library sends its 100 before anything else is looked at.
                let last = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n");
                assert_eq!(last.is_some(), !expect.is_empty(), "{head}{answer}");
                let last = last.unwrap_or(&answer);
                assert!(last.starts_with(&format!("HTTP/1.1 {status} ")), "{head}{answer}");
            }
        })
    });
    join_all(asking).await;
    let next = get_as(&service, &admin, "/v1/auth/me").await;
    assert_eq!(next.0, 200);
}

#[tokio::test]
async fn a_refusal_after_the_100_is_the_same_and_reads_no_more_than_without_it() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__SERVER__MAX_BODY", 1_000);
    let service = signed_in(launch).await;
    let viewer = key_of(&service, "viewer", &[]).await;
    let admin = key_of(&service, "admin", &[]).await;
    for (credential, length, status) in [
        ("nobody", 100, 401),
        (viewer.as_str(), 100, 403),
        (admin.as_str(), 1_001, 413),
        ("nobody", 1 << 30, 401),
    ] {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {credential}\r\n\
             content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: \
             {length}\r\n\r\n"
        );
        // Nothing of the body comes: the refusal does not wait for it.
        let answer = until_closed(&service, head.as_bytes()).await;
        let last = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&answer);
        assert!(last.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn of_a_long_body_that_nobody_reads_the_rest_is_not_read_either() {
    let service = Service::on_sqlite().start().await;
    for (length, is_read) in [(10_000, true), (1_000_000, false)] {
        let first = "GET /v1/facilities HTTP/1.1\r\nhost: localhost\r\ncontent-length: ";
        let body = "x".repeat(length);
        let next = "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let bytes = format!("{first}{length}\r\n\r\n{body}{next}");
        // The request behind the body is answered only where the whole body is read.
        let answers = exchange(service.address, bytes.as_bytes(), Then::Listen).len();
        assert_eq!(answers == 2, is_read, "{length}");
    }
}

#[tokio::test]
async fn unknown_keys_wait_for_a_bounded_time_while_the_database_hangs() {
    const WITHIN: Duration = Duration::from_secs(6);
    let postgres = crate::support::postgres::Postgres::start(&[]);
    let launch =
        Service::on(postgres.fresh_database().await).env("FACILITY_SUMMARY__AUTH__SIGN_IN", "on");
    let admin = added(&launch, &["--role", "admin", "--name", "the test"]).await;
    let service = launch.credential(&admin).start().await;
    let path = "/v1/auth/me";
    assert_eq!(get_as(&service, &admin, path).await.0, 200);
    postgres.freeze();
    let began = Instant::now();
    let unknown = (0..400).map(|n| {
        let key = format!("fs_{:0>12}_{}", n, "A".repeat(43));
        let service = &service;
        async move { asked(service, Some(&key), Method::GET, path).await.status().as_u16() }
    });
    let statuses = join_all(unknown).await;
    let took = began.elapsed();
    let known = get_as(&service, &admin, path).await.0;
    postgres.thaw();
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    assert_eq!(known, 200);
    assert!(took < WITHIN, "{took:?}");
    // Those that waited have left their places.
    let unknown = format!("fs_{}_{}", "0".repeat(12), "A".repeat(43));
    wait_until("an unknown key is looked up again", async || {
        get_as(&service, &unknown, path).await.0 == 401
    })
    .await;
}
