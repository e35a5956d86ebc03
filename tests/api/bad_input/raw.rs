//! Paths, headers and bodies that no client library sends, over plain TCP.

use super::{
    World,
    raw_http::{Then, ask, exchange},
};
use crate::support::Service;

fn post(body_headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
         application/json\r\n{body_headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_trick_in_a_path_leads_nowhere() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let (id, today) = (world.facility, world.today());
    let overlong = format!("/v1/facilities/{}/summaries/today", "a".repeat(8_000));
    for (path, status, words) in [
        ("/v1/facilities/../facilities".to_owned(), 404, "There is nothing at this path"),
        ("/v1/%2e%2e/v1/facilities".to_owned(), 404, "There is nothing at this path"),
        ("/v1/facilities/%2e%2e/summaries/today".to_owned(), 400, "is not an id; expected a UUID"),
        (format!("/v1/facilities/{id}%00/summaries/today"), 400, "is not an id; expected a UUID"),
        (
            format!("/v1/facilities/{id}/summaries/today%00"),
            400,
            "cannot be read; expected YYYY-MM-DD or today",
        ),
        (
            format!("/v1/facilities/{id}/summaries/%ff"),
            400,
            "cannot be read; expected YYYY-MM-DD or today",
        ),
        ("/v1/facilities/%ff%fe".to_owned(), 400, "is not an id"),
        ("/v1/facilities/%zz".to_owned(), 400, "is not an id"),
        (format!("/v1/facilities/{id}%2Fsummaries%2Ftoday"), 400, "is not an id"),
        (format!("/v1//facilities/{id}"), 404, "There is nothing at this path"),
        (format!("//v1/facilities/{id}"), 404, "There is nothing at this path"),
        ("/v1/facilities/".to_owned(), 404, "There is nothing at this path"),
        (format!("{today}/"), 404, "There is nothing at this path"),
        (format!("/V1/facilities/{id}"), 404, "There is nothing at this path"),
        (overlong, 400, "…"),
        ("/docs/../../etc/passwd".to_owned(), 404, "There is no such page"),
        ("/docs/%2e%2e/%2e%2e/etc/passwd".to_owned(), 404, "There is no such page"),
        ("/docs/..%2f..%2fetc%2fpasswd".to_owned(), 404, "There is no such page"),
        ("/docs/%ff".to_owned(), 404, "There is no such page"),
    ] {
        let answer = ask(service.address, "GET", path.as_bytes(), b"");
        answer.says(status, words);
        assert!(answer.body.len() < 1_000, "{path}: {answer:?}");
    }
    // Percent-encoding of a plain letter is the letter.
    assert_eq!(
        ask(service.address, "GET", today.replace("today", "%74oday").as_bytes(), b"").status,
        200
    );
}

#[tokio::test]
async fn what_is_not_http_is_400_or_431_and_closes_the_connection() {
    let service =
        Service::on_sqlite().env("FACILITY_SUMMARY__SERVER__MAX_URL", 65_534).start().await;
    for bytes in [
        &b"GET /v1/facilities\xff HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/facilities HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nName without colon\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let answers = exchange(service.address, bytes, Then::HalfClose);
        assert_eq!(
            answers.iter().map(|a| a.status).collect::<Vec<_>>(),
            [400],
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
    // A target that is longer than any that the HTTP library reads, where the setting takes more.
    for (length, status) in [(65_534, 200), (65_535, 400)] {
        let mut target = "/v1/facilities?q=".to_owned();
        target.push_str(&"a".repeat(length - target.len()));
        let answer = ask(service.address, "GET", target.as_bytes(), b"");
        assert_eq!(answer.status, status, "{length}: {answer:?}");
        let is_read = status == 200;
        assert_eq!(answer.header("x-request-id").is_some(), is_read, "{length}: {answer:?}");
        assert_eq!(answer.body.is_empty(), !is_read, "{length}: {answer:?}");
    }
    let huge = format!("X-Huge: {}\r\n", "a".repeat(300_000));
    assert_eq!(ask(service.address, "GET", b"/health/live", huge.as_bytes()).status, 431);
    let long = format!("/{}", "a".repeat(300_000));
    assert_eq!(ask(service.address, "GET", long.as_bytes(), b"").status, 431);
    assert_eq!(service.get("/health/live").await.status(), 200);
}

#[tokio::test]
async fn a_header_that_is_not_text_is_ignored_or_named() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    for header in [
        "If-None-Match: \u{ff}\"",
        "Cache-Control: max-age=x, max-stale=\u{ff}",
        "Accept-Encoding: ;;\u{ff}",
        "X-Request-Id: \u{ff}",
    ] {
        let latin: Vec<u8> = header
            .chars()
            .map(|c| u8::try_from(u32::from(c)).expect("one byte"))
            .chain(*b"\r\n")
            .collect();
        let answer = ask(service.address, "GET", world.today().as_bytes(), &latin);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // A client's own id is taken over into the log as long as it is short.
    for (length, is_taken) in [(128, true), (129, false)] {
        let id = "a".repeat(length);
        let header = format!("X-Request-Id: {id}\r\n");
        let answer = ask(service.address, "GET", world.today().as_bytes(), header.as_bytes());
        assert_eq!(answer.header("x-request-id") == Some(id.as_str()), is_taken, "{length}");
    }
    let typed = post("Content-Type: \u{ff}\r\nConnection: close\r\nContent-Length: 2\r\n", b"{}");
    let answers = exchange(service.address, &typed, Then::Listen);
    assert!([415, 422].contains(&answers[0].status), "{answers:?}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_by_its_length_and_by_its_bytes() {
    let service =
        Service::on_sqlite().env("FACILITY_SUMMARY__SERVER__MAX_BODY", 1_000).start().await;
    let world = World::new(&service).await;
    let limit = "larger than the 1000 bytes that are taken (setting server.max_body)";
    // The service refuses it before a byte of the body has come.
    let announced = exchange(service.address, &post("Content-Length: 1001\r\n", b""), Then::Listen);
    announced[0].says(413, limit);
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1_024));
    let chunked = exchange(
        service.address,
        &post("Transfer-Encoding: chunked\r\n", chunk.as_bytes()),
        Then::Listen,
    );
    chunked[0].says(413, limit);
    assert_eq!((announced.len(), chunked.len()), (1, 1));
    let mut fits = world.stock(12).to_string();
    fits.push_str(&" ".repeat(1_000 - fits.len()));
    let fitting = post("Connection: close\r\nContent-Length: 1000\r\n", fits.as_bytes());
    assert_eq!(exchange(service.address, &fitting, Then::Listen)[0].status, 200);
}

#[tokio::test]
async fn a_body_cut_off_half_way_is_400_and_applies_nothing() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let event = world.stock(5).to_string();
    let length = format!("Content-Length: {}\r\n", event.len() + 1);
    // Complete JSON, but one byte shorter than announced.
    let cut = post(&length, event.as_bytes());
    exchange(service.address, &cut, Then::HalfClose)[0]
        .says(400, "The body ended before it was complete.");
    exchange(service.address, &cut, Then::Vanish);
    let half = format!("{:x}\r\n{event}\r\n", event.len());
    let chunked = post("Transfer-Encoding: chunked\r\n", half.as_bytes());
    exchange(service.address, &chunked, Then::HalfClose)[0]
        .says(400, "The body ended before it was complete.");
    exchange(service.address, &chunked, Then::Vanish);
    let malformed = post("Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n");
    assert_eq!(exchange(service.address, &malformed, Then::HalfClose)[0].status, 400);
    world.assert_unchanged(&service).await;
}

#[tokio::test]
async fn a_request_that_trickles_in_is_408_and_closes_the_connection() {
    let service =
        Service::on_sqlite().env("FACILITY_SUMMARY__SERVER__READ_TIMEOUT_MS", 2_000).start().await;
    let world = World::new(&service).await;
    let slow_body = exchange(service.address, &post("Content-Length: 100\r\n", b"{"), Then::Listen);
    slow_body[0]
        .says(408, "The body did not arrive within 2000 ms (setting server.read_timeout_ms)");
    let slow_chunks = exchange(
        service.address,
        &post("Transfer-Encoding: chunked\r\n", b"1\r\n{\r\n"),
        Then::Listen,
    );
    slow_chunks[0].says(408, "The body did not arrive within 2000 ms");
    let slow_head =
        exchange(service.address, b"GET /health/live HTTP/1.1\r\nHost: local", Then::Listen);
    assert_eq!(slow_head[0].status, 408);
    world.assert_unchanged(&service).await;
}

#[tokio::test]
async fn each_request_of_a_pipeline_gets_its_own_answer() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let (good, bad) = (world.stock(12).to_string(), world.stock(-1).to_string());
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    let posted = |body: &str| post(&format!("Content-Length: {}\r\n", body.len()), body.as_bytes());
    let unread = format!(
        "GET {}?a=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
        world.today()
    )
    .into_bytes();
    let pipeline = [
        get(&world.today()),
        posted(&bad),
        posted(&good),
        unread,
        get("/v1/nothing"),
        posted("{"),
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
    ];
    let answers = exchange(service.address, &pipeline.concat(), Then::Listen);
    assert_eq!(
        answers.iter().map(|a| a.status).collect::<Vec<_>>(),
        [200, 422, 200, 400, 404, 400, 200]
    );
    assert!(world.summary(&service).await.contains("\"total_stock\":12"));
}
