//! Facilities that come, go, return and move, by plain SQL and by events. Which facilities exist,
//! and in which zone, is under the same freshness contract as any answer.

mod zones;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        age, bank, date_in, distribution, facility, get, header, inventory, noon_zone, now_ms,
        path, post, read, request, summary,
    },
    support::{outside::Outside, problem::problem, wait_until},
};

/// Two zones 25 hours apart, which are never on the same date.
const ZONES: [&str; 2] = ["Pacific/Pago_Pago", "Pacific/Kiritimati"];
const DAY_MS: i64 = 86_400_000;

/// The facilities of a list, by their ids.
fn ids(list: &Value) -> Vec<String> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["facility_id"].as_str().unwrap().to_owned())
        .collect()
}

on_both_stores! {
    async fn figures_from_before_a_removal_are_not_used_when_the_facility_returns(
        service: Service,
    ) {
        let zone = noon_zone();
        let (id, delivery) = (facility(&service, "North", &zone).await, Uuid::new_v4());
        let (bank, unit) = (bank(&service, id).await, Uuid::new_v4());
        let yesterday = date_in(&zone, -1);
        post(
            &service,
            &[distribution(delivery, id, 5, now_ms() - DAY_MS), inventory(unit, bank, "O+", 7)],
        )
        .await;
        assert_eq!(summary(&service, id, yesterday).await["total_transferred"], 5);
        let mut sql = Outside::connect(service.database_url()).await;
        let [f, b, d, u] = [id, bank, delivery, unit].map(|id| sql.id(id));
        sql.run(format!(
            "BEGIN; DELETE FROM blood_distributions WHERE id = {d};
             DELETE FROM blood_inventory WHERE id = {u};
             DELETE FROM blood_banks WHERE id = {b}; DELETE FROM facilities WHERE id = {f}; COMMIT"
        ))
        .await;
        let rows = format!("SELECT count(*) FROM dashboard_daily_summary WHERE facility_id = {f}");
        wait_until("the facility's rows are removed", async || {
            sql.number(rows.clone()).await == 0
        })
        .await;
        wait_until("the facility is unknown", async || {
            service.get(&path(id, yesterday)).await.status() == 404
        })
        .await;
        sql.run(format!(
            "INSERT INTO facilities (id, name, timezone) VALUES ({f}, 'North again', '{zone}')"
        ))
        .await;
        wait_until("the facility is known again", async || {
            service.get(&path(id, "today")).await.status() == 200
        })
        .await;
        for directives in ["", "max-age=3600", "no-cache"] {
            for date in [yesterday, date_in(&zone, 0)] {
                let shown: Value =
                    read(&service, &path(id, date), directives).await.json().await.unwrap();
                assert_eq!(
                    (&shown["total_transferred"], shown["total_stock"].as_i64().unwrap_or(0)),
                    (&json!(0), 0),
                    "{directives}: {shown}"
                );
            }
        }
        let range = get(&service, &format!("/v1/facilities/{id}/summaries")).await;
        assert!(
            range["items"].as_array().unwrap().iter().all(|day| day["total_transferred"] == 0),
            "{range}"
        );
    }

    async fn a_facility_registered_again_while_its_removal_waits_keeps_its_new_figures(
        service: Service,
    ) {
        let id = facility(&service, "North", &noon_zone()).await;
        let mut sql = Outside::connect(service.database_url()).await;
        for round in 1..=8 {
            let f = sql.id(id);
            sql.run(format!(
                "DELETE FROM blood_requests WHERE facility_id = {f};
                 DELETE FROM facilities WHERE id = {f}"
            ))
            .await;
            // Within the half second in which the drain finds that the facility is gone.
            let again = json!({"name": format!("North {round}"), "timezone": noon_zone()});
            let registered = service.put(&format!("/v1/facilities/{id}"), &again).await;
            assert_eq!(registered.status(), 200, "{}", registered.text().await.unwrap());
            let applied = post(&service, &[request(Uuid::new_v4(), id, now_ms())]).await;
            let version = applied["summaries"][0]["version"].as_i64().unwrap();
            let shown =
                get(&service, &format!("{}?min_version={version}", path(id, "today"))).await;
            assert_eq!(shown["total_requests"], 1, "{shown}");
            let marks = format!("SELECT count(*) FROM summary_marks WHERE facility_id = {f}");
            wait_until("the removal is processed", async || sql.number(marks.clone()).await == 0)
                .await;
            assert_eq!(summary(&service, id, "today").await["total_requests"], 1, "round {round}");
        }
    }

    async fn a_no_cache_read_sees_a_facility_that_was_written_by_sql_just_before(service: Service) {
        let zone = noon_zone();
        facility(&service, "There", &zone).await;
        let mut sql = Outside::connect(service.database_url()).await;
        for _ in 0..10 {
            let id = Uuid::new_v4();
            sql.run(format!(
                "INSERT INTO facilities (id, name, timezone) VALUES ({}, 'New', '{zone}')",
                sql.id(id)
            ))
            .await;
            for list in ["/v1/facilities?limit=500", "/v1/summaries/today?limit=500"] {
                let response = read(&service, list, "no-cache").await;
                assert_eq!((response.status().as_u16(), age(&response)), (200, 0), "{list}");
                let list_of = response.json::<Value>().await.unwrap();
                assert!(ids(&list_of).contains(&id.to_string()), "{list}: {list_of}");
            }
            assert_eq!(read(&service, &path(id, "today"), "no-cache").await.status(), 200);
            sql.run(format!("DELETE FROM facilities WHERE id = {}", sql.id(id))).await;
            for list in ["/v1/facilities?limit=500", "/v1/summaries/today?limit=500"] {
                let list_of = read(&service, list, "no-cache").await.json::<Value>().await.unwrap();
                assert!(!ids(&list_of).contains(&id.to_string()), "{list}: {list_of}");
            }
            problem(read(&service, &path(id, "today"), "no-cache").await, 404).await;
        }
    }

    async fn an_only_if_cached_list_is_answered_from_memory_or_not_at_all(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        post(&service, &[inventory(Uuid::new_v4(), bank(&service, id).await, "O+", 3)]).await;
        let range = format!("/v1/facilities/{id}/summaries?from={}", date_in(&zone, -1));
        problem(read(&service, &range, "only-if-cached").await, 504).await;
        // Single reads bring both days into memory.
        for days in [0, -1] {
            wait_until("memory holds the day", async || {
                let response = read(&service, &path(id, date_in(&zone, days)), "").await;
                header(&response, "cache-status") == "facility-summary; hit; detail=memory"
            })
            .await;
        }
        for list in ["/v1/summaries/today", &range] {
            let held = read(&service, list, "only-if-cached").await;
            assert_eq!(
                (held.status().as_u16(), header(&held, "cache-status").as_str()),
                (200, "facility-summary; hit; detail=memory")
            );
            assert_eq!(held.json::<Value>().await.unwrap()["items"][0]["total_stock"], 3);
            problem(read(&service, list, "only-if-cached, no-cache").await, 504).await;
        }
    }
}
