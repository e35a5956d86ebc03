//! What the log says of requests that are not served. Mistakes of clients, and refusals that
//! clients asked for, are not logged as warnings. An outage has one line when it begins, and one
//! with the number of requests when it is over.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{path, read},
    support::{
        Service,
        postgres::Postgres,
        site::{Site, a_zone_at_noon, acknowledged},
        wait_until,
    },
};

const TIMES: usize = 20;

/// Log entries of the level WARN or ERROR.
fn worries(service: &Service) -> Vec<Value> {
    let entries =
        service.logs().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    entries
        .filter(|entry| ["WARN", "ERROR"].contains(&entry["level"].as_str().unwrap_or_default()))
        .collect()
}

/// Sends bytes as they are, and reads until the connection is closed.
async fn raw(service: &Service, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(service.address).await.expect("it listens");
    stream.write_all(bytes).await.expect("it takes bytes");
    stream.shutdown().await.expect("it can be told that this is all");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await; // a reset is an end, too
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends requests that are cut off, and bytes that are not HTTP.
async fn send_broken_http(service: &Service) {
    raw(
        service,
        b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 99\r\n\r\n{",
    )
    .await;
    raw(service, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    raw(service, b"GET / HTTP/9.9\r\n\r\n").await;
    raw(service, b"GET /v1/facilities HTTP/1.1\r\n").await;
    raw(
        service,
        b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    )
    .await;
}

on_both_stores! {
    async fn mistakes_of_clients_and_normal_requests_are_not_logged_as_warnings(service: Service) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        let before = worries(&service);
        let event = |data: Value| {
            json!({"specversion": "1.0", "id": "1", "source": "/tests", "type": "request.set",
            "time": jiff::Timestamp::now().to_string(), "data": data})
        };
        for number in 0..TIMES {
            let past = path(site.facility, format!("2020-01-{:02}", 1 + number));
            let status = |response: reqwest::Response| response.status().as_u16();
            let its_own = |response: reqwest::Response| {
                assert!(response.status().is_client_error(), "{response:?}")
            };
            assert_eq!(status(read(&service, &past, "only-if-cached").await), 504);
            its_own(service.get(&path(Uuid::new_v4(), "today")).await);
            its_own(service.get(&path(site.facility, "2100-01-01")).await);
            its_own(service.get(&path(site.facility, "never")).await);
            its_own(service.get("/v1/facilities?colour=red").await);
            its_own(service.get("/nothing/here").await);
            its_own(
                service.request(reqwest::Method::DELETE, "/v1/facilities").send().await.unwrap(),
            );
            its_own(service.post("/v1/events", &json!({"no": "event"})).await);
            its_own(service.post("/v1/events", &event(json!({"request_id": 5}))).await);
            let unknown = json!({
                "request_id": Uuid::new_v4(),
                "facility_id": Uuid::new_v4(),
                "created_at": "2026-01-01T00:00:00Z",
            });
            its_own(service.post("/v1/events", &event(unknown)).await);
            its_own(
                service
                    .put(
                        &format!("/v1/blood-banks/{}", Uuid::new_v4()),
                        &json!({"facility_id": Uuid::new_v4(), "name": "x"}),
                    )
                    .await,
            );
            let text = service
                .request(reqwest::Method::POST, "/v1/events")
                .header("content-type", "text/plain")
                .body("hello");
            its_own(text.send().await.unwrap());
            let large = service
                .request(reqwest::Method::POST, "/v1/events")
                .header("content-length", 1 << 30)
                .body("");
            // The answer is 413, or the client fails since it announced more bytes than it sends.
            let _ = large.send().await;
            send_broken_http(&service).await;
            let today = path(site.facility, "today");
            let asked = format!("GET {today} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            // The client closes the connection before the answer comes.
            drop(
                TcpStream::connect(service.address)
                    .await
                    .unwrap()
                    .write_all(asked.as_bytes())
                    .await,
            );
        }
        let today = path(site.facility, "today");
        wait_until("the service answers", async || service.get(&today).await.status() == 200).await;
        let after = worries(&service);
        assert_eq!(after.len(), before.len(), "{:#?}", &after[before.len()..]);
    }
}

#[tokio::test]
async fn an_outage_is_logged_once_and_with_a_count_when_it_is_over() {
    let postgres = Postgres::start(&[]);
    let service = Service::on(postgres.fresh_database().await)
        .env("FACILITY_SUMMARY__DATABASE__ACQUIRE_TIMEOUT_MS", 1_000)
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
        .start()
        .await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let today = path(site.facility, "today");
    acknowledged(&service, &site.stock(Uuid::new_v4(), 1)).await;
    postgres.stop();
    wait_until("a read fails", async || read(&service, &today, "no-cache").await.status() == 503)
        .await;
    let (mut refused, mut asked) = (0, 0);
    for _ in 0..TIMES {
        let path = format!("/v1/facilities/{}/refresh", site.facility);
        let refresh = service.request(reqwest::Method::POST, &path).send();
        let event = site.stock(Uuid::new_v4(), 1);
        let unknown = crate::steps::path(Uuid::new_v4(), "today");
        let all = tokio::join!(
            read(&service, &today, "no-cache"),
            service.post("/v1/events", &event),
            refresh,
            service.get(&unknown)
        );
        for status in [all.0.status(), all.1.status(), all.2.unwrap().status()] {
            asked += 1;
            refused += usize::from(status == 503);
        }
        // It is a 404 as long as the directory was verified not long ago.
        assert!([404, 503].contains(&all.3.status().as_u16()));
    }
    assert_eq!(refused, asked, "while the database is away, every request is refused");
    // The log is read in the background, a moment later.
    let failed = || {
        service.logged(
            "request failed; more of this route and status are counted, and told once a minute",
        )
    };
    wait_until("the log has a line for each route", async || failed().len() >= 3).await;
    let failed = failed();
    assert_eq!(failed.len(), 3, "{failed:#?}");
    assert!(
        failed.iter().any(|entry| entry["cause"]
            .as_str()
            .is_some_and(|cause| cause.starts_with("unavailable: "))),
        "{failed:#?}"
    );
    let lines = worries(&service);
    assert!(lines.len() <= 15, "{} lines for {asked} requests: {lines:#?}", lines.len());
    postgres.start_again();
    wait_until("events are taken again", async || {
        service.post("/v1/events", &site.stock(Uuid::new_v4(), 1)).await.status() == 200
    })
    .await;
    wait_until("the log says that the outage is over", async || {
        assert_eq!(service.get(&today).await.status(), 200);
        service.logged("no request fails so any more").len() == 3
    })
    .await;
    let counted: f64 = service
        .logged("no request fails so any more")
        .iter()
        .filter_map(|entry| entry["requests"].as_f64())
        .sum();
    assert!(counted >= asked as f64, "{counted} failures were counted, of at least {asked}");
}

/// The request ids of the log lines with this message.
fn ids_of(service: &Service, message: &str) -> Vec<String> {
    let entries =
        service.logs().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    entries
        .filter(|entry| entry["fields"]["message"] == message)
        .filter_map(|entry| Some(entry["span"]["request_id"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test]
async fn each_line_that_a_request_causes_carries_the_id_of_its_answer() {
    let postgres = Postgres::start(&[]);
    let service = Service::on(postgres.fresh_database().await)
        .env("FACILITY_SUMMARY__LOG__FILTER", "info,facility_summary=debug")
        .start()
        .await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let today = path(site.facility, "today");
    let own = service
        .request(reqwest::Method::GET, &today)
        .header("cache-control", "no-cache")
        .header("x-request-id", "ward-7");
    assert_eq!(own.send().await.unwrap().headers()["x-request-id"], "ward-7");
    let given = read(&service, &today, "no-cache").await;
    let given = given.headers()["x-request-id"].to_str().unwrap().to_owned();
    wait_until("both reads stand in the log", async || {
        let ids = ids_of(&service, "summary read");
        ids.contains(&"ward-7".to_owned()) && ids.contains(&given)
    })
    .await;
    let range = service
        .request(reqwest::Method::GET, &format!("/v1/facilities/{}/summaries", site.facility))
        .header("cache-control", "no-cache")
        .header("x-request-id", "range-7");
    assert_eq!(range.send().await.unwrap().headers()["x-request-id"], "range-7");
    wait_until("the read of the range stands in the log", async || {
        ids_of(&service, "range read").contains(&"range-7".to_owned())
    })
    .await;
    let refused = service
        .request(reqwest::Method::POST, "/v1/events")
        .header("x-request-id", "event-7")
        .json(&json!({"no": "event"}));
    assert_eq!(refused.send().await.unwrap().headers()["x-request-id"], "event-7");
    // An event that its lane refuses.
    postgres.stop();
    let lost = service
        .request(reqwest::Method::POST, "/v1/events")
        .header("x-request-id", "event-8")
        .json(&site.stock(Uuid::new_v4(), 1));
    assert_eq!(lost.send().await.unwrap().headers()["x-request-id"], "event-8");
    wait_until("the lost event stands in the log", async || {
        ids_of(&service, "events refused").contains(&"event-8".to_owned())
    })
    .await;
}
