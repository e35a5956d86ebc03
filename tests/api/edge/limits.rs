//! How much is taken of one client.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    CONCURRENT, EVENT_BYTES, PROXIES, REQUESTS, client_at, get_from, header, metric, metric_of,
    server,
};
use crate::{
    access::{key_of, signed_in, site},
    on_both_stores,
    support::{Service, wait_until},
};

/// Asks until the answer is 429, at most so often; returns how many were answered before, and that
/// answer.
async fn until_refused(
    request: impl Fn() -> reqwest::RequestBuilder,
    most: usize,
) -> (usize, reqwest::Response) {
    for answered in 0..most {
        let response = request().send().await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            return (answered, response);
        }
    }
    panic!("nothing was refused of {most} requests");
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_refused_and_told_when_to_come_back() {
    let service = Service::on_sqlite().env(REQUESTS, 20).start().await;
    let client = client_at("127.0.0.1");
    let ask = || client.get(format!("http://{}/v1/facilities", service.address));
    // No answer but the last fifth says what is left: those of the hot path stay as they are.
    let first = ask().send().await.unwrap();
    assert_eq!((header(&first, "ratelimit"), header(&first, "ratelimit-policy")), (None, None));
    let (mut left, mut answered) = (Vec::new(), 1);
    let refused = loop {
        let began = Instant::now();
        let response = ask().send().await.unwrap();
        if response.status() == 429 {
            assert!(began.elapsed() >= Duration::from_millis(100), "the next one comes at once");
            break response;
        }
        assert_eq!(response.status(), 200);
        answered += 1;
        left.extend(header(&response, "ratelimit").map(str::to_owned));
        assert!(answered < 200, "nothing is refused");
    };
    // One in three seconds is added while the test asks.
    assert!(answered >= 20, "{answered}");
    assert!(left.len() >= 4 && left.iter().any(|text| text.starts_with("\"default\";r=3;t=")));
    assert!(left.last().unwrap().starts_with("\"default\";r=0;t="), "{left:?}");
    assert_eq!(header(&refused, "ratelimit-policy"), Some("\"default\";q=20;w=60"));
    assert!(header(&refused, "ratelimit").unwrap().starts_with("\"default\";r=0;t="));
    let wait: u64 = header(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((1..=4).contains(&wait), "{wait}");
    assert_eq!(header(&refused, "content-type"), Some("application/problem+json"));
    let problem: Value = refused.json().await.unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("limits.requests_per_minute"), "{detail}");
    // Health is answered all the same, and the refused are no failures of the service.
    assert_eq!(service.get("/health/ready").await.status(), 200);
    assert!(
        service
            .logged(
                "request failed; more of this route and status are counted, and told once a minute"
            )
            .is_empty()
    );
    // After the time that it was told, it is let in again.
    wait_until("the address may ask again", async || ask().send().await.unwrap().status() == 200)
        .await;
}

on_both_stores! {
    async fn the_flood_of_one_client_refuses_no_other(launch: Launch) {
        let service = signed_in(launch.env(REQUESTS, 60)).await;
        let own = site(&service, "Own").await;
        let flooding = key_of(&service, "viewer", &[]).await;
        let other = key_of(&service, "viewer", &[]).await;
        let path = format!("/v1/facilities/{}/summaries/today", own.facility);
        let ask = |key: &str| service.request_as(Some(key), Method::GET, &path);
        let (answered, _) = until_refused(|| ask(&flooding), 500).await;
        assert!(answered >= 59, "{answered}");
        assert_eq!(ask(&other).send().await.unwrap().status(), 200);
        // The same address floods with credentials that nobody has; those who have signed in do not
        // notice it, nor do they the flood of another principal.
        let forged = || service.request_as(Some("fs_0123456789ab_forged"), Method::GET, &path);
        until_refused(forged, 500).await;
        let (began, mut taken) = (Instant::now(), [0; 2]);
        for _ in 0..40 {
            assert_eq!(ask(&other).send().await.unwrap().status(), 200);
            for (taken, request) in taken.iter_mut().zip([forged(), ask(&flooding)]) {
                *taken += u64::from(request.send().await.unwrap().status() != 429);
            }
        }
        // One in a second is added to each budget while the test asks.
        let added = began.elapsed().as_secs() + 2;
        assert!(taken.iter().all(|taken| *taken <= added), "{taken:?} of {added}");
    }
}

#[tokio::test]
async fn a_flood_of_unknown_credentials_is_refused_before_they_are_verified() {
    let service = signed_in(Service::on_sqlite().env(REQUESTS, 30)).await;
    let client = client_at("127.0.0.3");
    let ask = |number: usize| {
        client
            .get(format!("http://{}/v1/facilities", service.address))
            .bearer_auth(format!("fs_0123456789ab_{number}"))
    };
    let mut statuses = Vec::new();
    for number in 0..60 {
        statuses.push(ask(number).send().await.unwrap().status().as_u16());
    }
    let verified = statuses.iter().filter(|status| **status == 401).count();
    assert!((30..45).contains(&verified) && statuses[59] == 429, "{statuses:?}");
    // Requests without any credential count, too, and so do paths that do not exist.
    let bare = client.get(format!("http://{}/v1/facilities", service.address));
    assert_eq!(bare.send().await.unwrap().status(), 429);
    assert_eq!(get_from(&client, &service, "/none").await.status(), 429);
    // So do those for which nobody has to sign in.
    let login = format!("http://{}/v1/auth/login", service.address);
    until_refused(|| client.post(&login), 100).await;
    let elsewhere = client_at("127.0.0.4");
    assert_eq!(get_from(&elsewhere, &service, "/none").await.status(), 404);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_budget() {
    let launch = Service::on_sqlite().env(REQUESTS, 20).env(PROXIES, "127.0.0.5, fd00::/8");
    let service = launch.start().await;
    let (proxy, stranger) = (client_at("127.0.0.5"), client_at("127.0.0.6"));
    let url = format!("http://{}/v1/facilities", service.address);
    let through = |client: &str| proxy.get(&url).header("x-forwarded-for", client);
    until_refused(|| through("192.0.2.1"), 100).await;
    assert_eq!(through("192.0.2.2").send().await.unwrap().status(), 200);
    // What the client itself has written before is not looked at.
    assert_eq!(through("192.0.2.9, 192.0.2.1").send().await.unwrap().status(), 429);
    // One client has a whole network of IPv6 addresses.
    until_refused(|| through("2001:db8:0:1::1"), 100).await;
    assert_eq!(through("2001:db8:0:1:ffff::2").send().await.unwrap().status(), 429);
    assert_eq!(through("2001:db8:0:2::1").send().await.unwrap().status(), 200);
    // Nobody else is believed: the header of a stranger changes nothing.
    let forging = |number: usize| {
        stranger.get(&url).header("x-forwarded-for", format!("198.51.100.{number}"))
    };
    let mut refused = 0;
    for number in 0..60 {
        refused += usize::from(forging(number).send().await.unwrap().status() == 429);
    }
    assert!(refused > 20, "{refused}");
}

#[tokio::test]
async fn the_audit_log_names_the_client_behind_a_trusted_proxy() {
    let service = signed_in(Service::on_sqlite().env(PROXIES, "127.0.0.1")).await;
    let add = |from: &str| {
        service
            .request(Method::POST, "/v1/api-keys")
            .header("x-forwarded-for", from.to_owned())
            .json(&json!({"name": "through the proxy", "role": "admin"}))
    };
    assert_eq!(add("198.51.100.1, 192.0.2.7").send().await.unwrap().status(), 201);
    let log: Value = service.get("/v1/audit-log").await.json().await.unwrap();
    assert_eq!(log["items"][0]["address"], "192.0.2.7", "{log}");
}

#[tokio::test]
async fn more_bytes_of_events_than_a_client_may_send_are_refused_unread() {
    let launch = server(Service::on_sqlite(), "max_body", 2_000).env(EVENT_BYTES, 4_000);
    let service = launch.start().await;
    let body = format!("[{}]", " ".repeat(1_500));
    let post = || {
        service
            .request(Method::POST, "/v1/events")
            .header("content-type", "application/cloudevents-batch+json")
            .body(body.clone())
    };
    let (answered, refused) = until_refused(post, 10).await;
    assert!((2..=3).contains(&answered), "{answered}");
    assert!(header(&refused, "retry-after").is_some());
    let problem: Value = refused.json().await.unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("limits.event_bytes_per_minute"), "{detail}");
    // A body of unknown length counts, too.
    let parts: Vec<Result<String, std::io::Error>> = vec![Ok(body.clone())];
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
    assert_eq!(post().body(stream).send().await.unwrap().status(), 429);
    assert_eq!(service.get("/v1/facilities").await.status(), 200, "reads are not affected");
    let limited = "http_requests_limited_total{client=\"address\",limit=\"event_bytes\"}";
    assert!(metric(&service, limited).await >= 2.0);
}

#[tokio::test]
async fn a_client_has_so_many_requests_under_way_and_others_are_served() {
    let service = server(Service::on_sqlite().env(CONCURRENT, 3), "read_timeout_ms", 20_000);
    let service = service.start().await;
    // Bodies that do not come keep requests under way.
    let mut waiting = JoinSet::new();
    for _ in 0..3 {
        let client = client_at("127.0.0.1");
        let url = format!("http://{}/v1/events", service.address);
        waiting.spawn(async move {
            let never = futures_util::stream::pending::<Result<String, std::io::Error>>();
            let body = reqwest::Body::wrap_stream(never);
            client.post(url).header("content-type", "application/json").body(body).send().await
        });
    }
    wait_until("a fourth request is refused", async || {
        service.get("/v1/facilities").await.status() == 429
    })
    .await;
    let refused = service.get("/v1/facilities").await;
    assert_eq!(header(&refused, "retry-after"), Some("1"));
    assert!(refused.text().await.unwrap().contains("limits.concurrent_requests"));
    assert_eq!(service.get("/health/ready").await.status(), 200);
    let other = client_at("127.0.0.7");
    assert_eq!(get_from(&other, &service, "/v1/facilities").await.status(), 200);
    let text = get_from(&other, &service, "/metrics").await.text().await.unwrap();
    let limited = "http_requests_limited_total{client=\"address\",limit=\"concurrent\"}";
    assert!(metric_of(&text, limited) >= 1.0 && metric_of(&text, "http_clients") >= 2.0, "{text}");
    waiting.abort_all();
    wait_until("the places are free again", async || {
        service.get("/v1/facilities").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_a_trusted_proxy_any_number() {
    let launch = server(Service::on_sqlite(), "connections_per_address", 3);
    let service = launch.env(PROXIES, "127.0.0.9").start().await;
    let address = service.address;
    let connect = |from: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(address)
    };
    // Those of the start may still end.
    let mut held = Vec::new();
    let refused = |text: &str| metric_of(text, "http_connections_refused_total") > 0.0;
    let watcher = client_at("127.0.0.9");
    wait_until("a connection is refused", async || {
        held.push(connect("127.0.0.8").await.unwrap());
        refused(&get_from(&watcher, &service, "/metrics").await.text().await.unwrap())
    })
    .await;
    // Three are counted now, whichever they are, so that another one is too many.
    let last = &connect("127.0.0.8").await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), last.readable()).await.unwrap().unwrap();
    let ends = match last.try_read(&mut [0; 1_000]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    assert!(ends, "the connection that is one too many is closed");
    // A request that has come with such a connection is answered so, where it is answered.
    for _ in 0..20 {
        let client = client_at("127.0.0.8");
        let url = format!("http://{address}/v1/facilities");
        if let Ok(answer) = client.get(url).send().await {
            assert_eq!(answer.status(), 429);
        }
    }
    let mut proxied = Vec::new();
    for _ in 0..10 {
        proxied.push(connect("127.0.0.9").await.unwrap());
    }
    assert_eq!(get_from(&watcher, &service, "/v1/facilities").await.status(), 200);
    assert_eq!(get_from(&client_at("127.0.0.10"), &service, "/v1/facilities").await.status(), 200);
    drop(held);
    wait_until("the address may connect again", async || {
        let client = client_at("127.0.0.8");
        let url = format!("http://{address}/v1/facilities");
        client.get(url).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}
