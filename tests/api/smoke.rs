//! The service starts, reports that it is ready, refuses clearly and stops.

use serde_json::{Value, json};

use crate::{
    on_both_stores,
    steps::{facility, get, path},
    support::{Service, problem::problem},
};

on_both_stores! {
    async fn a_started_service_is_alive_and_ready(service: Service) {
        for path in ["/health/live", "/health/ready"] {
            assert_eq!(service.get(path).await.status(), 200, "{path}");
        }
    }

    async fn an_unknown_facility_is_a_404_that_says_so(service: Service) {
        let unknown = uuid::Uuid::new_v4();
        let response = service.get(&format!("/v1/facilities/{unknown}/summaries/today")).await;
        let body = problem(response, 404).await;
        assert!(
            body["detail"].as_str().is_some_and(|detail| detail.contains(&unknown.to_string())),
            "{body}"
        );
    }

    async fn an_unknown_path_is_a_problem_too(service: Service) {
        problem(service.get("/v1/nothing-here").await, 404).await;
    }

    async fn a_terminated_service_exits_with_0(service: Service) {
        let (exited, _) = service.terminate().await;
        assert_eq!(exited.code, Some(0), "{}", exited.output);
    }
}

#[tokio::test]
async fn a_port_in_use_stops_the_start_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let exited = Service::on_sqlite().env("BIND_ADDR", &address).run(&["serve"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(exited.output.contains(&address), "{}", exited.output);
}

#[tokio::test]
async fn a_bad_setting_stops_the_start_with_its_key_and_value() {
    let exited =
        Service::on_sqlite().env("FACILITY_SUMMARY__REFRESH__CHUNK", 0).run(&["serve"]).await;
    assert_eq!(exited.code, Some(2), "{}", exited.output);
    assert!(exited.output.contains("refresh.chunk = 0"), "{}", exited.output);
}

#[tokio::test]
async fn the_openapi_document_describes_the_hot_path() {
    let service = Service::on_sqlite().start().await;
    let document: Value = service.get("/openapi.json").await.json().await.expect("it is JSON");
    assert!(
        document["paths"]["/v1/facilities/{facility_id}/summaries/{date}"]["get"].is_object(),
        "{document}"
    );
}

#[tokio::test]
async fn the_openapi_document_names_the_headers_and_members_that_answers_have() {
    let service = Service::on_sqlite().start().await;
    let document: Value = service.get("/openapi.json").await.json().await.expect("it is JSON");
    let id = facility(&service, "North", "UTC").await;
    for route in [
        "/v1/facilities",
        "/v1/facilities/{facility_id}",
        "/v1/facilities/{facility_id}/summaries",
        "/v1/facilities/{facility_id}/summaries/{date}",
        "/v1/summaries/{date}",
    ] {
        let asked = route.replace("{facility_id}", &id.to_string()).replace("{date}", "today");
        let answer = service.get(&asked).await;
        assert_eq!(answer.status(), 200, "{asked}");
        for status in ["200", "304"] {
            let documented = &document["paths"][route]["get"]["responses"][status]["headers"];
            for name in ["Age", "Cache-Control", "Cache-Status", "ETag", "Vary"] {
                assert_eq!(
                    documented[name].is_object(),
                    answer.headers().contains_key(name),
                    "{route} {status} {name}: {documented}"
                );
            }
        }
    }
    let totals = get(&service, "/v1/summaries/today?fields=totals").await;
    let one = get(&service, &path(id, "today")).await;
    for (schema, answer) in [
        ("Listing", &totals),
        ("ListedSummary", &totals["items"][0]),
        ("Totals", &totals["totals"]),
        ("Summary", &one),
    ] {
        let required = &document["components"]["schemas"][schema]["required"];
        for name in required.as_array().expect("some members are required") {
            assert!(answer.get(name.as_str().unwrap()).is_some(), "{schema}: {name} in {answer}");
        }
        let is_required = required.as_array().unwrap().contains(&json!("by_blood_type"));
        assert_eq!(is_required, schema == "Summary", "{schema}");
    }
}
