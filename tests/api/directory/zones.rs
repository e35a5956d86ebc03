//! A facility that moves to another zone, by SQL: its days are those of the new zone, and no figure
//! of the zone before is shown for them.

use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{DAY_MS, ZONES};
use crate::{
    on_both_stores,
    steps::{
        age, bank, date_in, facility, get, instant, inventory, now_ms, path, post, read, request,
        summary,
    },
    support::{Service, events::event, outside::Outside, problem::problem, wait_until},
};

on_both_stores! {
    async fn a_change_of_zone_by_sql_leaves_no_figure_of_the_zone_before(service: Service) {
        let id = facility(&service, "North", ZONES[0]).await;
        let at_ms = now_ms() - 40 * DAY_MS;
        post(
            &service,
            &[
                request(Uuid::new_v4(), id, at_ms),
                inventory(Uuid::new_v4(), bank(&service, id).await, "O+", 3),
            ],
        )
        .await;
        let date = |zone: usize| {
            jiff::Timestamp::from_millisecond(at_ms).unwrap().in_tz(ZONES[zone]).unwrap().date()
        };
        assert_eq!(summary(&service, id, date(0)).await["total_requests"], 1);
        let mut sql = Outside::connect(service.database_url()).await;
        for zone in [1, 0, 1, 0] {
            sql.run(format!(
                "UPDATE facilities SET timezone = '{}' WHERE id = {}",
                ZONES[zone],
                sql.id(id)
            ))
            .await;
            wait_until("the move is known", async || {
                get(&service, &format!("/v1/facilities/{id}")).await["timezone"] == ZONES[zone]
            })
            .await;
            for directives in ["", "no-cache"] {
                let asked_ms = now_ms();
                let today: Value =
                    read(&service, &path(id, "today"), directives).await.json().await.unwrap();
                let dates = [asked_ms, now_ms()].map(|ms| {
                    jiff::Timestamp::from_millisecond(ms)
                        .unwrap()
                        .in_tz(ZONES[zone])
                        .unwrap()
                        .date()
                });
                assert!(
                    dates.iter().any(|date| today["date"] == date.to_string()),
                    "{today} in {}",
                    ZONES[zone]
                );
                assert_eq!(today["total_stock"], 3, "{today}");
                for other in [0, 1] {
                    let shown: Value = read(&service, &path(id, date(other)), directives)
                        .await
                        .json()
                        .await
                        .unwrap();
                    assert_eq!(
                        shown["total_requests"],
                        i64::from(other == zone),
                        "{} in {}: {shown}",
                        date(other),
                        ZONES[zone]
                    );
                }
            }
        }
    }

    async fn figures_of_a_day_that_a_move_put_into_the_future_are_not_shown_after_the_move_back(
        service: Service,
    ) {
        let id = facility(&service, "North", ZONES[1]).await;
        let (bank, unit) = (bank(&service, id).await, Uuid::new_v4());
        post(&service, &[inventory(unit, bank, "O+", 7)]).await;
        assert_eq!(summary(&service, id, "today").await["total_stock"], 7, "in the new zone");
        let mut sql = Outside::connect(service.database_url()).await;
        let f = sql.id(id);
        let move_to = |zone: usize| {
            format!("UPDATE facilities SET timezone = '{}' WHERE id = {f}", ZONES[zone])
        };
        sql.run(move_to(0)).await;
        wait_until("the move is known", async || {
            summary(&service, id, "today").await["date"] == date_in(ZONES[0], 0).to_string()
        })
        .await;
        post(&service, &[inventory(unit, bank, "O+", 9)]).await;
        let changed = Instant::now();
        wait_until("the change is old", async || changed.elapsed().as_secs() > 3).await;
        assert_eq!(
            read(&service, "/v1/summaries/today", "no-cache").await.status(),
            200,
            "the list is proven"
        );
        // The lock keeps the refresh of the move back waiting.
        let mut holder = Outside::connect(service.database_url()).await;
        if holder.is_postgres() {
            holder
                .run(format!(
                    "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {f} FOR UPDATE"
                ))
                .await;
            sql.run(move_to(1)).await;
        } else {
            holder.run(format!("BEGIN IMMEDIATE; {}; COMMIT; BEGIN IMMEDIATE", move_to(1))).await;
        }
        wait_until("the move back is known", async || {
            get(&service, &format!("/v1/facilities/{id}")).await["timezone"] == ZONES[1]
        })
        .await;
        for list in [
            path(id, "today"),
            "/v1/summaries/today".to_owned(),
            format!("/v1/facilities/{id}/summaries?limit=1"),
        ] {
            for directives in ["max-age=600", "max-age=600, only-if-cached"] {
                let response = read(&service, &list, directives).await;
                if response.status() != 200 {
                    continue;
                }
                let (age, since) = (age(&response), changed.elapsed().as_secs() as i64);
                let shown: Value = response.json().await.unwrap();
                let stock = &shown["items"].get(0).unwrap_or(&shown)["total_stock"];
                assert!(
                    *stock == 9 || age >= since,
                    "{list}, {directives}: {stock} with Age {age}, {since} s after the change"
                );
            }
        }
        holder.run("ROLLBACK").await;
        wait_until("today is there", async || {
            let today = read(&service, &path(id, "today"), "").await;
            today.status() == 200 && today.json::<Value>().await.unwrap()["total_stock"] == 9
        })
        .await;
        assert_eq!(summary(&service, id, "today").await["date"], date_in(ZONES[1], 0).to_string());
    }

    async fn an_expiry_on_a_day_that_a_move_put_into_the_future_does_not_stop_the_watermark(
        service: Service,
    ) {
        let service = service
            .terminate()
            .await
            .1
            .env("FACILITY_SUMMARY__REFRESH__DRAIN_BATCH", 1)
            .start()
            .await;
        let id = facility(&service, "North", ZONES[1]).await;
        let bank = bank(&service, id).await;
        let expires_ms = now_ms() + 3_000;
        let unit = json!({
            "inventory_id": Uuid::new_v4(),
            "blood_bank_id": bank,
            "quantity": 7,
            "expires_at": instant(expires_ms),
        });
        post(&service, &[event("inventory.set", unit)]).await;
        let mut sql = Outside::connect(service.database_url()).await;
        sql.run(format!(
            "UPDATE facilities SET timezone = '{}' WHERE id = {}",
            ZONES[0],
            sql.id(id)
        ))
        .await;
        wait_until("the unit has expired", async || now_ms() > expires_ms).await;
        wait_until("the list no longer has the expired unit", async || {
            let today = read(&service, "/v1/summaries/today", "no-cache").await;
            today.status() == 200
                && today.json::<Value>().await.unwrap()["items"][0]["total_stock"] == 0
        })
        .await;
    }

    async fn a_day_of_a_zone_that_was_set_just_before_is_found_by_a_no_cache_read(
        service: Service,
    ) {
        let id = facility(&service, "North", ZONES[0]).await;
        // The drain is off, so that it does not report the move.
        let service = service
            .terminate()
            .await
            .1
            .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 3_600_000)
            .start()
            .await;
        let mut sql = Outside::connect(service.database_url()).await;
        for directives in ["no-cache", "refresh"] {
            sql.run(format!(
                "UPDATE facilities SET timezone = '{}' WHERE id = {}",
                ZONES[0],
                sql.id(id)
            ))
            .await;
            assert_eq!(
                read(&service, &path(id, "today"), "no-cache").await.status(),
                200,
                "the read finds the facility"
            );
            sql.run(format!(
                "UPDATE facilities SET timezone = '{}' WHERE id = {}",
                ZONES[1],
                sql.id(id)
            ))
            .await;
            let date = date_in(ZONES[1], 0);
            let response = if directives == "refresh" {
                service
                    .request(
                        reqwest::Method::POST,
                        &format!("/v1/facilities/{id}/refresh?date={date}"),
                    )
                    .send()
                    .await
                    .unwrap()
            } else {
                read(&service, &path(id, date), directives).await
            };
            let status = response.status();
            let shown: Value = response.json().await.unwrap();
            assert_eq!(
                (status.as_u16(), &shown["date"]),
                (200, &json!(date.to_string())),
                "{directives}: {shown}"
            );
        }
        problem(read(&service, &path(id, date_in(ZONES[1], 1)), "no-cache").await, 404).await;
    }

    async fn an_event_that_changes_nothing_of_a_facility_that_sql_has_just_moved_is_answered(
        service: Service,
    ) {
        let id = facility(&service, "North", ZONES[0]).await;
        let unit = Uuid::new_v4();
        post(&service, &[inventory(unit, bank(&service, id).await, "O+", 3)]).await;
        let removal = event("inventory.removed", json!({"inventory_id": unit}));
        post(&service, std::slice::from_ref(&removal)).await;
        // The drain is off, so that only the requests can find the move.
        let service = service
            .terminate()
            .await
            .1
            .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 3_600_000)
            .start()
            .await;
        let mut sql = Outside::connect(service.database_url()).await;
        let mut move_to = async |zone: &str| {
            sql.run(format!(
                "UPDATE facilities SET timezone = '{zone}', event_time = {} WHERE id = {}",
                sql.at(now_ms() + 3_600_000),
                sql.id(id)
            ))
            .await;
        };
        move_to(ZONES[1]).await;
        // An earlier statement about the facility itself.
        let stated = json!({"name": "South", "timezone": ZONES[0]});
        let response = service.put(&format!("/v1/facilities/{id}"), &stated).await;
        let status = response.status();
        let applied: Value = response.json().await.unwrap();
        assert_eq!((status.as_u16(), &applied["superseded"]), (200, &json!(1)), "{applied}");
        let today = |zone| json!(date_in(zone, 0).to_string());
        assert_eq!(applied["summaries"][0]["date"], today(ZONES[1]), "{applied}");
        move_to(ZONES[0]).await;
        // A removal of what is gone; the facility is where it was counted last.
        let applied = post(&service, &[removal]).await;
        assert_eq!(applied["summaries"][0]["date"], today(ZONES[0]), "{applied}");
    }
}

/// The facility's lock is held, so the days of the new zone cannot be derived yet. The table has no
/// row of the day to which the request belongs in the new zone.
#[tokio::test]
async fn a_day_that_got_figures_by_a_change_of_zone_is_not_taken_for_empty() {
    let service = Service::on_postgres()
        .await
        .env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 700)
        .start()
        .await;
    let id = facility(&service, "North", ZONES[0]).await;
    let at_ms = now_ms() - 40 * DAY_MS;
    post(&service, &[request(Uuid::new_v4(), id, at_ms)]).await;
    let date = jiff::Timestamp::from_millisecond(at_ms).unwrap().in_tz(ZONES[1]).unwrap().date();
    let mut holder = Outside::connect(service.database_url()).await;
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE",
            holder.id(id)
        ))
        .await;
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run(format!("UPDATE facilities SET timezone = '{}' WHERE id = {}", ZONES[1], sql.id(id)))
        .await;
    wait_until("the move is known", async || {
        get(&service, &format!("/v1/facilities/{id}")).await["timezone"] == ZONES[1]
    })
    .await;
    let range = format!("/v1/facilities/{id}/summaries?from={date}&to={date}");
    for path in [path(id, date), range.clone()] {
        for directives in ["", "max-age=600", "max-stale"] {
            let response = read(&service, &path, directives).await;
            assert_eq!(
                response.status(),
                503,
                "{path} {directives}: {}",
                response.text().await.unwrap()
            );
        }
    }
    holder.run("ROLLBACK").await;
    wait_until("the day is derived", async || service.get(&path(id, date)).await.status() == 200)
        .await;
    assert_eq!(summary(&service, id, date).await["total_requests"], 1);
    assert_eq!(get(&service, &range).await["items"][0]["total_requests"], 1);
}
