//! Events that come late, twice or in another order: the newest statement wins, and each answer
//! names the days that it is about.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{figures, nine};
use crate::{
    on_both_stores,
    steps::{
        DAY_MS, at, bank, date_in, distribution, facility, inventory, noon_zone, now_ms, post,
        request, summary, version_of,
    },
    support::events::event,
};

on_both_stores! {
    async fn the_newest_statement_wins_whenever_it_comes(service: Service) {
        let id = facility(&service, "North", &noon_zone()).await;
        let bank = bank(&service, id).await;
        let (unit, now) = (Uuid::new_v4(), now_ms());
        let said = |quantity, ago| at(inventory(unit, bank, "O+", quantity), now - ago);
        let gone = |ago| at(event("inventory.removed", json!({"inventory_id": unit})), now - ago);
        for (event, outcome, stock) in [
            (said(5, 9_000), 1, 5),
            (said(7, 7_000), 1, 7),
            (said(6, 8_000), 0, 7),
            (said(7, 7_000), 0, 7), // the same event again
            // equal times: the greater canonical data
            (said(3, 7_000), 0, 7),
            (said(8, 7_000), 1, 8),
            (gone(7_000), 1, 0), // equal times: a removal wins
            (said(9, 7_000), 0, 0),
            (said(9, 7_500), 0, 0), // late, after the removal
            (gone(7_000), 0, 0),
            (gone(8_000), 0, 0),
            (said(4, 6_000), 1, 4),
            (gone(6_500), 0, 4),
        ] {
            let applied = post(&service, std::slice::from_ref(&event)).await;
            assert_eq!(
                (&applied["applied"], &applied["superseded"]),
                (&json!(outcome), &json!(1 - outcome)),
                "{event}"
            );
            assert_eq!(figures(&service, id).await.0, stock, "{event}");
        }
    }

    async fn a_statement_older_than_a_removal_is_superseded_by_it(service: Service) {
        let id = facility(&service, "North", &noon_zone()).await;
        let bank = bank(&service, id).await;
        let (unit, sent, asked, now) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4(), now_ms());
        post(
            &service,
            &[
                event("inventory.removed", json!({"inventory_id": unit})),
                event("distribution.removed", json!({"distribution_id": sent})),
                event("request.removed", json!({"request_id": asked})),
            ],
        )
        .await;
        let late = [
            inventory(unit, bank, "O+", 5),
            distribution(sent, id, 5, now),
            request(asked, id, now),
        ]
        .map(|event| at(event, now - 60_000));
        let applied = post(&service, &late).await;
        assert_eq!(applied["superseded"], 3);
        assert_eq!(figures(&service, id).await, (0, 0, 0));
    }

    async fn versions_rise_through_changes_of_zone_and_back(service: Service) {
        let id = facility(&service, "Wanderer", "Pacific/Kiritimati").await;
        let version_now =
            async || summary(&service, id, "today").await["version"].as_i64().unwrap();
        let mut last = version_now().await;
        for zone in ["Pacific/Honolulu", "Pacific/Kiritimati", "Pacific/Honolulu"] {
            let moved = service
                .put(
                    &format!("/v1/facilities/{id}"),
                    &json!({"name": "Wanderer", "timezone": zone}),
                )
                .await;
            assert_eq!(moved.status(), 200, "{zone}");
            let version = version_now().await;
            assert!(version > last, "{zone}: {version} after {last}");
            last = version;
        }
        let renamed = service
            .put(
                &format!("/v1/facilities/{id}"),
                &json!({"name": "Settled", "timezone": "Pacific/Honolulu"}),
            )
            .await;
        assert_eq!(renamed.status(), 200);
        assert_eq!(version_now().await, last, "a new name is no change of figures");
    }

    async fn a_repeated_removal_names_the_day_again(service: Service) {
        let (id, bank) = (Uuid::new_v4(), Uuid::new_v4());
        let events = nine(id, bank);
        post(&service, &events[..6]).await;
        for removal in &events[6..] {
            let first = post(&service, std::slice::from_ref(removal)).await;
            let again = post(&service, std::slice::from_ref(removal)).await;
            assert_eq!(
                (&first["applied"], &again["superseded"]),
                (&json!(1), &json!(1)),
                "{removal}"
            );
            assert_eq!(first["summaries"].as_array().map(Vec::len), Some(1), "{first}");
            assert_eq!(first["summaries"], again["summaries"], "{removal}");
        }
    }

    async fn superseded_events_name_their_days_too(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let (sent, now) = (Uuid::new_v4(), now_ms());
        let (first, moved) = (
            at(distribution(sent, id, 5, now - DAY_MS), now - 9_000),
            at(distribution(sent, id, 5, now - 2 * DAY_MS), now - 8_000),
        );
        let yesterday =
            version_of(&post(&service, std::slice::from_ref(&first)).await, id, date_in(&zone, -1));
        let applied = post(&service, &[moved]).await;
        assert!(
            version_of(&applied, id, date_in(&zone, -1)) > yesterday,
            "the day that the unit left has a new version"
        );
        let before = version_of(&applied, id, date_in(&zone, -2));
        let again = post(&service, &[first]).await;
        assert_eq!(again["superseded"], 1);
        assert_eq!(
            version_of(&again, id, date_in(&zone, -2)),
            before,
            "a repeated event is answered with the current version"
        );
        assert_eq!(
            version_of(&again, id, date_in(&zone, -1)),
            version_of(&applied, id, date_in(&zone, -1))
        );
        assert_eq!(summary(&service, id, date_in(&zone, -1)).await["total_transferred"], 0);
        assert_eq!(summary(&service, id, date_in(&zone, -2)).await["total_transferred"], 5);
    }

    async fn an_undelivered_then_delivered_then_returned_distribution_counts_only_while_delivered(
        service: Service,
    ) {
        let id = facility(&service, "North", &noon_zone()).await;
        let (sent, now) = (Uuid::new_v4(), now_ms());
        let mut pending = at(distribution(sent, id, 5, now), now - 5_000);
        pending["data"]["date_delivered"] = Value::Null;
        post(&service, std::slice::from_ref(&pending)).await;
        assert_eq!(figures(&service, id).await.1, 0);
        post(&service, &[at(distribution(sent, id, 5, now), now - 4_000)]).await;
        assert_eq!(figures(&service, id).await.1, 5);
        let returned = at(pending, now - 3_000);
        post(&service, &[returned]).await;
        assert_eq!(figures(&service, id).await.1, 0);
    }
}
