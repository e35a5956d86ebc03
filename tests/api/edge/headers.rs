//! What each answer says to browsers.

use reqwest::{Method, Response};

use super::{PROXIES, client_at, header, server};
use crate::{
    access::{key_of, signed_in, site},
    support::Service,
};

#[tokio::test]
async fn every_answer_forbids_sniffing_framing_and_loading() {
    let service = signed_in(Service::on_sqlite()).await;
    let site = site(&service, "A").await;
    let today = format!("/v1/facilities/{}/summaries/today", site.facility);
    let viewer = key_of(&service, "viewer", &[]).await;
    let ask = |credential: Option<&str>, method: Method, path: &str| {
        service.request_as(credential, method, path).send()
    };
    let admin = service.request(Method::GET, &today).send().await.unwrap();
    let etag = header(&admin, "etag").unwrap().to_owned();
    let known = service.request(Method::GET, &today).header("if-none-match", etag);
    let answers: Vec<(&str, u16, Response)> = vec![
        ("a summary", 200, admin),
        ("not modified", 304, known.send().await.unwrap()),
        ("nobody", 401, ask(None, Method::GET, &today).await.unwrap()),
        ("forbidden", 403, ask(Some(&viewer), Method::POST, "/v1/rebuild").await.unwrap()),
        ("no such path", 404, ask(None, Method::GET, "/none").await.unwrap()),
        ("another method", 405, service.request(Method::PATCH, &today).send().await.unwrap()),
        ("no query", 400, service.get(&format!("{today}?x=1")).await),
        (
            "no media type",
            415,
            service.request(Method::POST, "/v1/events").body("x").send().await.unwrap(),
        ),
        ("metrics", 200, service.get("/metrics").await),
        ("health", 200, service.get("/health/live").await),
        ("the document", 200, service.get("/openapi.json").await),
    ];
    for (what, status, answer) in answers {
        assert_eq!(answer.status(), status, "{what}");
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"), "{what}");
        let policy = "default-src 'none'; frame-ancestors 'none'";
        assert_eq!(header(&answer, "content-security-policy"), Some(policy), "{what}");
        assert_eq!(header(&answer, "strict-transport-security"), None, "{what}: without TLS");
        assert_eq!(header(&answer, "access-control-allow-origin"), None, "{what}");
    }
}

#[tokio::test]
async fn the_pages_of_the_documentation_run_no_inline_script_and_no_script_of_others() {
    let service = Service::on_sqlite().start().await;
    let page = service.get("/docs/").await;
    let policy = header(&page, "content-security-policy").unwrap().to_owned();
    assert_eq!(header(&page, "referrer-policy"), Some("no-referrer"));
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe-eval"));
    let text = page.text().await.unwrap();
    for script in text.split("<script").skip(1) {
        let (attributes, rest) = script.split_once('>').unwrap();
        assert!(attributes.contains("src=\"./") || attributes.contains("src=\"/"), "{attributes}");
        assert!(rest.trim_start().starts_with("</script>"), "an inline script: {rest:.80}");
    }
    assert!(!text.contains("javascript:") && !text.contains("http://"), "{text}");
}

#[tokio::test]
async fn pages_of_other_origins_read_answers_only_where_they_are_listed() {
    let launch = server(Service::on_sqlite(), "cors_origins", "https://board.example");
    let service = signed_in(launch).await;
    let preflight = |origin: &'static str| {
        service
            .request_as(None, Method::OPTIONS, "/v1/facilities")
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization")
            .send()
    };
    let allowed = preflight("https://board.example").await.unwrap();
    assert_eq!(allowed.status(), 200);
    let origin = header(&allowed, "access-control-allow-origin");
    assert_eq!(origin, Some("https://board.example"));
    assert_eq!(header(&allowed, "access-control-allow-credentials"), None);
    let headers = header(&allowed, "access-control-allow-headers").unwrap();
    assert!(headers.to_ascii_lowercase().contains("authorization"), "{headers}");
    let refused = preflight("https://evil.example").await.unwrap();
    assert_eq!(header(&refused, "access-control-allow-origin"), None);
    let ask = |origin: &'static str| {
        service.request(Method::GET, "/v1/facilities").header("origin", origin).send()
    };
    let answer = ask("https://board.example").await.unwrap();
    assert_eq!(answer.status(), 200);
    let origin = header(&answer, "access-control-allow-origin");
    assert_eq!(origin, Some("https://board.example"));
    let vary: Vec<&str> =
        answer.headers().get_all("vary").iter().map(|line| line.to_str().unwrap()).collect();
    assert!(vary.join(", ").to_ascii_lowercase().contains("origin"), "{vary:?}");
    let exposed = header(&answer, "access-control-expose-headers").unwrap().to_ascii_lowercase();
    assert!(exposed.contains("etag") && exposed.contains("age"), "{exposed}");
    let answer = ask("https://evil.example").await.unwrap();
    assert_eq!(header(&answer, "access-control-allow-origin"), None);
    // An error is readable, too: the page can say what was wrong.
    let nobody = service
        .request_as(None, Method::GET, "/v1/facilities")
        .header("origin", "https://board.example")
        .send();
    let nobody = nobody.await.unwrap();
    assert_eq!(nobody.status(), 401);
    assert!(header(&nobody, "access-control-allow-origin").is_some());
}

#[tokio::test]
async fn behind_a_proxy_only_its_word_says_that_the_client_uses_tls() {
    let service = Service::on_sqlite().env(PROXIES, "127.0.0.5").start().await;
    for (from, proto, has_tls) in [
        ("127.0.0.5", Some("https"), true),
        ("127.0.0.5", Some("https, http"), false),
        ("127.0.0.5", Some("http"), false),
        ("127.0.0.5", None, false),
        ("127.0.0.6", Some("https"), false),
    ] {
        let request = client_at(from).get(format!("http://{}/v1/facilities", service.address));
        let request =
            proto.into_iter().fold(request, |r, text| r.header("x-forwarded-proto", text));
        let answer = request.send().await.unwrap();
        let said = header(&answer, "strict-transport-security").is_some();
        assert_eq!(said, has_tls, "{from} {proto:?}");
    }
}
