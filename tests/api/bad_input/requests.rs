//! Queries and methods, on every route that `/openapi.json` names. A new route is checked here
//! without any change.

use std::collections::BTreeSet;

use reqwest::{Method, header::ALLOW};
use serde_json::{Value, json};

use super::{World, says};
use crate::support::{Service, problem::problem};

/// Parameters that may be sent more than once, on the day of all facilities.
const REPEATED: [&str; 1] = ["facility_id"];

/// Its parameters are those of a provider: names that are not known are passed over (RFC 6749).
const OF_PROVIDERS: &str = "/v1/auth/callback";

/// Its answer is 200 always, and what is wrong is an event: tests/api/live.
const STREAM: &str = "/v1/stream";

/// A WebSocket, and events without an end. Neither has a head without a body.
const LIVE: [&str; 2] = ["/v1/live", STREAM];

/// Every operation: its method, its path with the world's ids, and the names of its query
/// parameters.
async fn operations(service: &Service, world: &World) -> Vec<(Method, String, Vec<String>)> {
    let document: Value = service.get("/openapi.json").await.json().await.expect("JSON");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path = path
            .replace("{facility_id}", &world.facility.to_string())
            .replace("{blood_bank_id}", &world.bank.to_string())
            .replace("{run_id}", &world.bank.to_string())
            .replace("{id}", "0a1b2c3d4e5f")
            .replace("{date}", "today");
        assert!(!path.contains('{'), "{path}: fill in the new path parameter here");
        for (method, operation) in item.as_object().expect("operations") {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let queries = parameters
                .iter()
                .filter(|p| p["in"] == "query")
                .filter_map(|p| p["name"].as_str().map(str::to_owned));
            found.push((method, path.clone(), queries.collect()));
        }
    }
    assert!(found.len() >= 15, "{found:?}");
    found
}

#[tokio::test]
async fn an_unknown_or_repeated_query_parameter_is_400_by_name_on_every_route() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    for (method, path, queries) in operations(&service, &world).await {
        if path == OF_PROVIDERS || path == STREAM {
            continue;
        }
        let ask = async |query: &str| {
            let request =
                service.request(method.clone(), &format!("{path}?{query}")).json(&json!({}));
            request.send().await.expect("the service answers")
        };
        says(ask("colour=red").await, 400, &["The query parameter \"colour\" is unknown"]).await;
        says(ask("%zz=1").await, 400, &["cannot be read"]).await;
        says(ask("%ff=1").await, 400, &["not UTF-8"]).await;
        for name in queries {
            // Each one selects one facility more.
            if path.starts_with("/v1/summaries/") && REPEATED.contains(&name.as_str()) {
                continue;
            }
            says(
                ask(&format!("{name}=1&{name}=1")).await,
                400,
                &[&format!("`{name}` was sent twice")],
            )
            .await;
            says(ask(&format!("{name}=%ff")).await, 400, &[&format!("`{name}` cannot be read")])
                .await;
        }
    }
    world.assert_unchanged(&service).await;
}

#[tokio::test]
async fn a_wrong_method_is_405_with_the_right_ones_on_every_route() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let operations = operations(&service, &world).await;
    let paths: BTreeSet<&String> = operations.iter().map(|(_, path, _)| path).collect();
    for path in paths {
        let mut right: BTreeSet<String> = operations
            .iter()
            .filter(|(_, p, _)| p == path)
            .map(|(method, ..)| method.to_string())
            .collect();
        if right.contains("GET") && !LIVE.contains(&path.as_str()) {
            right.insert("HEAD".to_owned());
        }
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            if right.contains(method) {
                continue;
            }
            let answer = service
                .request(method.parse().expect("a method"), path)
                .send()
                .await
                .expect("the service answers");
            let allow = answer
                .headers()
                .get(ALLOW)
                .map(|v| v.to_str().expect("text").to_owned())
                .unwrap_or_default();
            assert_eq!(
                allow.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(),
                right,
                "{method} {path}"
            );
            let body = problem(answer, 405).await;
            assert!(
                body["detail"].as_str().is_some_and(|detail| detail.contains(&allow)),
                "{body}"
            );
        }
    }
    world.assert_unchanged(&service).await;
}

#[tokio::test]
async fn head_answers_like_get_without_the_body() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    for (_, path, _) in
        operations(&service, &world).await.into_iter().filter(|(method, ..)| *method == Method::GET)
    {
        if LIVE.contains(&path.as_str()) {
            continue;
        }
        let get = service.get(&path).await;
        let head = service.request(Method::HEAD, &path).send().await.expect("the service answers");
        assert_eq!(head.status(), get.status(), "{path}");
        for name in ["content-type", "etag"] {
            assert_eq!(head.headers().get(name), get.headers().get(name), "{name} of {path}");
        }
        assert!(head.bytes().await.expect("it ends").is_empty(), "{path}");
    }
}

/// Requests with a value that its parameter does not take, and what the answer must say.
fn values_not_taken(facility: &str) -> Vec<(String, &'static str)> {
    vec![
        (
            "/v1/facilities?limit=0".to_owned(),
            "`limit` is \"0\"; expected a whole number from 1 to 500",
        ),
        (
            "/v1/facilities?limit=501".to_owned(),
            "`limit` is \"501\"; expected a whole number from 1 to 500",
        ),
        ("/v1/facilities?limit=99999999999999999999999".to_owned(), "`limit`"),
        (
            "/v1/facilities?cursor=7".to_owned(),
            "`cursor` is \"7\"; expected the next_cursor of the page before",
        ),
        ("/v1/facilities?cursor=%C5%81".to_owned(), "`cursor` is \"Ł\""),
        (
            "/v1/summaries/today?sort=size".to_owned(),
            "`sort` is \"size\"; expected one of name, -name, total_stock",
        ),
        ("/v1/summaries/today?cursor=7".to_owned(), "`cursor` is \"7\""),
        (
            "/v1/summaries/tomorrow".to_owned(),
            "The date \"tomorrow\" cannot be read; expected YYYY-MM-DD or today.",
        ),
        (format!("{facility}/summaries/2026-02-30"), "The date \"2026-02-30\" cannot be read"),
        (
            format!("{facility}/summaries/1899-12-31"),
            "The date 1899-12-31 is too early; expected one from 1900-01-01 on, or today.",
        ),
        (
            "/v1/summaries/0001-01-01".to_owned(),
            "The date 0001-01-01 is too early; expected one from 1900-01-01 on, or today.",
        ),
        (
            format!("{facility}/summaries?from=1899-12-31"),
            "expected a calendar date such as 2026-11-21, from 1900-01-01 on",
        ),
        (
            format!("{facility}/summaries?cursor=1"),
            "`cursor` is \"1\"; expected the next_cursor of the page before",
        ),
        (
            format!("{facility}/summaries/today?min_version=-1"),
            "`min_version` is \"-1\"; expected a whole number from 0 to 9223372036854775807",
        ),
        (format!("{facility}/summaries/today?min_version=two"), "`min_version` is \"two\""),
        (format!("{facility}/summaries/today?min_version=9223372036854775808"), "`min_version`"),
        (format!("{facility}/summaries?limit=401"), "expected a whole number from 1 to 400"),
        (
            format!("{facility}/summaries?from=21.11.2026"),
            "`from` is \"21.11.2026\"; expected a calendar date such as 2026-11-21",
        ),
        (
            format!("{facility}/summaries?from=2020-02-02&to=2020-02-01"),
            "expected a date not after to=2020-02-01",
        ),
        (format!("{facility}/summaries?from=2000-01-01&to=2020-01-01"), "at most 400 days"),
        (
            "/v1/facilities/7/summaries/today".to_owned(),
            "facility_id \"7\" in the path is not an id; expected a UUID",
        ),
        ("/v1/runs/7".to_owned(), "run_id \"7\" in the path is not an id"),
    ]
}

#[tokio::test]
async fn a_value_that_a_parameter_does_not_take_is_400_with_those_that_it_takes() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let facility = format!("/v1/facilities/{}", world.facility);
    for (path, words) in values_not_taken(&facility) {
        says(service.get(&path).await, 400, &[words]).await;
    }
    says(
        service.post(&format!("{facility}/refresh?date=soon"), &Value::Null).await,
        400,
        &["`date` is \"soon\""],
    )
    .await;
    says(service.get(&format!("/v1/runs/{}", world.bank)).await, 404, &["There is no run"]).await;
}

#[tokio::test]
async fn a_future_day_is_404_with_the_date_of_today_at_any_distance() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let facility = format!("/v1/facilities/{}", world.facility);
    let today =
        service.get(&facility).await.json::<Value>().await.expect("it is JSON")["today"].clone();
    let today = today.as_str().expect("a date");
    for date in ["2190-01-01", "2200-01-01", "2999-01-01", "9999-12-31"] {
        let words = [&*format!("{date} has not begun in Europe/Warsaw; today is {today} there.")];
        says(service.get(&format!("{facility}/summaries/{date}")).await, 404, &words).await;
        says(
            service.post(&format!("{facility}/refresh?date={date}"), &Value::Null).await,
            404,
            &words,
        )
        .await;
        let of_all = format!(
            "{date} has not begun at any facility; today is {today} where it is latest, in \
             Europe/Warsaw."
        );
        says(service.get(&format!("/v1/summaries/{date}")).await, 404, &[&of_all]).await;
        let clipped = service.get(&format!("{facility}/summaries?from={today}&to={date}")).await;
        let clipped: Value = clipped.json().await.expect("it is JSON");
        assert_eq!(clipped["items"].as_array().map(Vec::len), Some(1), "{clipped}");
    }
}

#[tokio::test]
async fn the_first_page_leads_to_the_docs_which_load_nothing_from_other_hosts() {
    let service = Service::on_sqlite().start().await;
    for path in ["/", "/docs"] {
        let page = service.get(path).await;
        assert_eq!((page.status().as_u16(), page.url().path()), (200, "/docs/"), "{path}");
    }
    let page = service.get("/docs/").await.text().await.expect("text");
    let assets: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|mark| page.split(mark).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(assets.len() >= 4, "{page}");
    for asset in assets {
        assert!(!asset.contains("//"), "{asset} is loaded from another host");
        let answer = service.get(&format!("/docs/{}", asset.trim_start_matches("./"))).await;
        assert_eq!(answer.status(), 200, "{asset}");
        assert!(!answer.bytes().await.expect("bytes").is_empty(), "{asset}");
    }
    let initializer = service.get("/docs/swagger-initializer.js").await.text().await.expect("text");
    assert!(
        initializer.contains("/openapi.json") && !initializer.contains("http"),
        "{initializer}"
    );
    problem(service.get("/docs/nothing.js").await, 404).await;
}
