//! Banks, deliveries and facilities that move: their figures move with them.

use jiff::civil::Date;
use serde_json::{Value, json};
use uuid::Uuid;

use super::figures;
use crate::{
    on_both_stores,
    steps::{
        HOUR_MS, bank, date_in, distribution, facility, get, inventory, noon_zone, now_ms, path,
        post, summary, version_of,
    },
};

on_both_stores! {
    async fn figures_move_with_a_facility_and_with_a_bank(service: Service) {
        let zone = noon_zone();
        let (north, south) =
            (facility(&service, "North", &zone).await, facility(&service, "South", &zone).await);
        let bank = bank(&service, north).await;
        let sent = Uuid::new_v4();
        post(
            &service,
            &[inventory(Uuid::new_v4(), bank, "O+", 5), distribution(sent, north, 6, now_ms())],
        )
        .await;
        let response = service
            .put(&format!("/v1/blood-banks/{bank}"), &json!({"facility_id": south, "name": "Ward"}))
            .await;
        let moved: Value = response.json().await.unwrap();
        let today = date_in(&zone, 0);
        for (id, want) in [(north, (0, 6, 0)), (south, (5, 0, 0))] {
            version_of(&moved, id, today);
            assert_eq!(figures(&service, id).await, want);
        }
        let sent_on = post(&service, &[distribution(sent, south, 6, now_ms())]).await;
        assert_eq!(sent_on["summaries"].as_array().unwrap().len(), 2);
        assert_eq!(
            (figures(&service, north).await, figures(&service, south).await),
            ((0, 0, 0), (5, 6, 0))
        );
    }

    async fn a_change_of_zone_moves_what_is_now_on_another_day(service: Service) {
        let id = facility(&service, "North", "UTC").await;
        let day: Date = date_in("UTC", -5);
        let start_ms = day.in_tz("UTC").unwrap().timestamp().as_millisecond();
        // 22:30 UTC is the next day in Kathmandu (+05:45), 10:00 is the same.
        post(
            &service,
            &[
                distribution(Uuid::new_v4(), id, 1, start_ms + 22 * HOUR_MS + HOUR_MS / 2),
                distribution(Uuid::new_v4(), id, 10, start_ms + 10 * HOUR_MS),
            ],
        )
        .await;
        let next = day.tomorrow().unwrap();
        let delivered = async |date: Date| {
            summary(&service, id, date).await["total_transferred"].as_i64().unwrap()
        };
        assert_eq!((delivered(day).await, delivered(next).await), (11, 0));
        let response = service
            .put(
                &format!("/v1/facilities/{id}"),
                &json!({"name": "North", "timezone": "Asia/Kathmandu"}),
            )
            .await;
        let applied: Value = response.json().await.unwrap();
        for (date, want) in [(day, 10), (next, 1)] {
            let version = version_of(&applied, id, date);
            let shown = get(&service, &format!("{}?min_version={version}", path(id, date))).await;
            assert_eq!(
                (&shown["total_transferred"], &shown["version"]),
                (&json!(want), &json!(version)),
                "{date}"
            );
        }
        assert_eq!(
            get(&service, &format!("/v1/facilities/{id}")).await["timezone"],
            "Asia/Kathmandu"
        );
    }
}
