//! The refresh of a day and the rebuild of everything, on request.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        DAY_MS, Plain, date_in, distribution, facility, get, header, noon_zone, now_ms, path, post,
    },
    support::{problem::problem, wait_until},
};

on_both_stores! {
    async fn a_refresh_answers_the_day_as_its_sources_have_it(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        post(
            &service,
            &[
                distribution(Uuid::new_v4(), id, 5, now_ms() - DAY_MS),
                distribution(Uuid::new_v4(), id, 6, now_ms()),
            ],
        )
        .await;
        let mut plain = Plain::beside(&service).await;
        plain.run("UPDATE blood_distributions SET quantity = quantity * 10").await;
        for (query, want) in [
            (String::new(), 60),
            (format!("?date={}", date_in(&zone, -1)), 50),
            (format!("?date={}", date_in(&zone, -9)), 0),
        ] {
            let response = service
                .request(Method::POST, &format!("/v1/facilities/{id}/refresh{query}"))
                .send()
                .await
                .unwrap();
            assert_eq!((response.status().as_u16(), header(&response, "age").as_str()), (200, "0"));
            assert_eq!(response.json::<Value>().await.unwrap()["total_transferred"], want);
        }
        for (path, status) in [
            (format!("/v1/facilities/{id}/refresh?date={}", date_in(&zone, 2)), 404),
            (format!("/v1/facilities/{}/refresh", Uuid::new_v4()), 404),
            (format!("/v1/facilities/{id}/refresh?date=x"), 400),
        ] {
            problem(service.request(Method::POST, &path).send().await.unwrap(), status).await;
        }
    }

    async fn a_rebuild_repairs_rows_that_no_trigger_noticed_and_shows_its_progress(
        service: Service,
    ) {
        let zone = noon_zone();
        let mut ids = Vec::new();
        for i in 0..5 {
            ids.push(facility(&service, &format!("F{i}"), &zone).await);
            post(
                &service,
                &[
                    distribution(Uuid::new_v4(), ids[i], 5, now_ms() - 3 * DAY_MS),
                    distribution(Uuid::new_v4(), ids[i], 6, now_ms()),
                ],
            )
            .await;
        }
        let mut plain = Plain::beside(&service).await;
        let (day, id) = (date_in(&zone, -3), plain.id(ids[2]));
        plain
            .run(&format!(
                "UPDATE dashboard_daily_summary SET total_transferred = 77
                 WHERE facility_id = {id} AND date = '{day}'"
            ))
            .await;
        let response = service.request(Method::POST, "/v1/rebuild").send().await.unwrap();
        assert_eq!(response.status(), 202);
        let location = header(&response, "location");
        assert!(location.starts_with("/v1/runs/"), "{location}");
        wait_until("the rebuild is done", async || {
            get(&service, &location).await["state"] == "done"
        })
        .await;
        let run = get(&service, &location).await;
        let member = |name: &str| run[name].as_i64().unwrap();
        assert_eq!(
            (member("facilities"), member("done"), member("changed"), member("drift")),
            (5, 5, 1, 1),
            "{run}"
        );
        assert!(run["error"].is_null() && run["finished_at"].is_string(), "{run}");
        let repaired = get(&service, &path(ids[2], day)).await;
        assert_eq!(repaired["total_transferred"], 5);

        let again = service.request(Method::POST, "/v1/rebuild").send().await.unwrap();
        let location = header(&again, "location");
        wait_until("the second rebuild is done", async || {
            get(&service, &location).await["state"] == "done"
        })
        .await;
        let second = get(&service, &location).await;
        assert_eq!(
            (&second["changed"], &second["drift"]),
            (&json!(0), &json!(0)),
            "a rebuild over unchanged sources writes nothing: {second}"
        );
    }
}
