//! A client that passes the version from its acknowledgement sees its own write at once, at any
//! replica.

use futures_util::future::join_all;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Fleet, set_stock, today};
use crate::{
    steps::{get, header, noon_zone, path, post},
    support::{Service, events::event, site::Site},
};

const EVENTS: i64 = 300;

/// What a replica answers to a client that passes this version.
async fn since(replica: &Service, path: &str, version: i64) -> Value {
    let response = replica.get(&format!("{path}?min_version={version}")).await;
    let (status, age) = (response.status(), header(&response, "age"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{path} from version {version}: {body}");
    assert!(age.parse::<i64>().unwrap() <= 5, "Age {age}");
    assert!(
        body["version"].as_i64() >= Some(version),
        "version {version} was acknowledged: {body}"
    );
    body
}

async fn each_write_is_seen(fleet: &Fleet) {
    let site = Site::register(&fleet[0], &noon_zone()).await;
    let item = Uuid::new_v4();
    for quantity in 1..=EVENTS {
        let writer = quantity as usize % fleet.len();
        let version = set_stock(&fleet[writer], site, item, quantity).await;
        let path = today(site);
        for body in join_all(fleet.others(writer).map(|reader| since(reader, &path, version))).await
        {
            assert_eq!(body["total_stock"], quantity, "{body}");
        }
    }
}

#[tokio::test]
async fn every_replica_shows_at_once_an_event_that_one_acknowledged() {
    let fleet = Fleet::of(3).await;
    each_write_is_seen(&fleet).await;
    assert_eq!(
        fleet.sum("summary_refreshes_total", &[("trigger", "read")]).await,
        0.0,
        "no read refreshes, since the event has done it"
    );
}

#[tokio::test]
async fn replicas_without_memory_show_an_event_that_one_acknowledged() {
    let fleet =
        Fleet::with(2, |launch| launch.env("FACILITY_SUMMARY__CACHE__MEMORY_BYTES", 0)).await;
    each_write_is_seen(&fleet).await;
}

#[tokio::test]
async fn every_replica_knows_a_facility_registered_at_one() {
    let fleet = Fleet::of(3).await;
    for round in 0..20 {
        let ids: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
        let registration = |id: &Uuid| {
            event(
                "facility.registered",
                json!({"facility_id": id, "name": "New", "timezone": noon_zone()}),
            )
        };
        let writer = round % fleet.len();
        let applied = post(&fleet[writer], &ids.iter().map(registration).collect::<Vec<_>>()).await;
        let version = |id: &Uuid| {
            let days = applied["summaries"].as_array().unwrap();
            days.iter()
                .find(|day| day["facility_id"] == id.to_string())
                .expect("its day was opened")["version"]
                .as_i64()
                .unwrap()
        };
        let asked = ids.iter().flat_map(|id| {
            fleet.others(writer).map(move |reader| async move {
                since(reader, &path(*id, "today"), version(id)).await
            })
        });
        for body in join_all(asked).await {
            assert_eq!(body["total_stock"], 0);
        }
    }
}

#[tokio::test]
async fn a_facility_moved_to_another_date_is_seen_on_that_date() {
    let fleet = Fleet::of(2).await;
    let site = Site::register(&fleet[0], "Etc/GMT+12").await;
    let id = site.facility;
    for round in 0..10 {
        // The two zones are a day apart, at any time of the day.
        let zone = ["Pacific/Kiritimati", "Etc/GMT+12"][round % 2];
        let moved = event(
            "facility.registered",
            json!({"facility_id": id, "name": "Nomad", "timezone": zone}),
        );
        let date = Timestamp::now().to_zoned(TimeZone::get(zone).unwrap()).date().to_string();
        let applied = post(&fleet[round % 2], &[moved]).await;
        let days = applied["summaries"].as_array().unwrap();
        let Some(version) =
            days.iter().find(|day| day["date"] == date).and_then(|day| day["version"].as_i64())
        else {
            panic!("{date} is not in {applied}");
        };
        let body = since(&fleet[(round + 1) % 2], &path(id, "today"), version).await;
        assert_eq!(body["date"], date, "{body}");
        assert_eq!(
            get(&fleet[(round + 1) % 2], &format!("/v1/facilities/{id}")).await["timezone"],
            zone
        );
    }
}
