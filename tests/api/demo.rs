//! `serve --demo`: facilities whose figures change without any other client.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Service, wait_until};

/// The version of today's summary, by facility.
async fn versions(service: &Service) -> BTreeMap<String, i64> {
    let page: Value =
        service.get("/v1/summaries/today?limit=100").await.json().await.expect("it is JSON");
    let items = page["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| (item["facility_id"].to_string(), item["version"].as_i64().expect("a version")))
        .collect()
}

async fn wait_for_facilities(service: &Service) -> BTreeMap<String, i64> {
    let mut seen = BTreeMap::new();
    wait_until("there are 25 facilities", async || {
        seen = versions(service).await;
        seen.len() == 25
    })
    .await;
    seen
}

async fn wait_until_figures_move(service: &Service, seen: &BTreeMap<String, i64>) {
    wait_until("a version rises by itself", async || {
        versions(service)
            .await
            .iter()
            .any(|(id, version)| seen.get(id).is_some_and(|before| version > before))
    })
    .await;
}

#[tokio::test]
async fn figures_move_and_go_on_moving_after_a_restart() {
    for launch in [Service::on_sqlite(), Service::on_postgres().await] {
        let service = launch.argument("--demo").start().await;
        let seen = wait_for_facilities(&service).await;
        wait_until_figures_move(&service, &seen).await;
        let foreign: Vec<String> = service
            .logs()
            .into_iter()
            .filter(|line| !line.contains("\"target\":\"facility_summary"))
            .collect();
        assert!(foreign.is_empty(), "the log has lines of libraries: {foreign:?}");
        let (exited, launch) = service.terminate().await;
        assert_eq!(exited.code, Some(0), "{}", exited.output);
        assert!(exited.output.contains("\"stopped\""), "{}", exited.output);

        let service = launch.start().await;
        let after = wait_for_facilities(&service).await;
        assert!(
            seen.iter().all(|(id, version)| after[id] >= *version),
            "before {seen:?}, after {after:?}"
        );
        wait_until_figures_move(&service, &after).await;
    }
}

#[tokio::test]
async fn the_simulation_sends_no_event_about_real_facilities() {
    let service = Service::on_sqlite().start().await;
    let id = uuid::Uuid::new_v4();
    let registered = service
        .put(&format!("/v1/facilities/{id}"), &json!({"name": "Tema", "timezone": "Africa/Accra"}))
        .await;
    assert!(registered.status().is_success(), "{}", registered.status());
    let (_, launch) = service.terminate().await;
    let service = launch.argument("--demo").start().await;
    wait_until("the log says why there is no demo", async || {
        service.logs().iter().any(|line| line.contains("no demo: the database has"))
    })
    .await;
    assert_eq!(versions(&service).await.len(), 1);
}
