//! Who asks with `no-cache` gets everything that was committed before, whatever others read at the
//! same time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::future::{join, join_all};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{noon_zone, read},
    support::{Service, outside::Outside, site::Site},
};

const ROUNDS: i64 = 150;

/// A unit, written by another program.
fn unit(sql: &Outside, site: Site) -> String {
    format!(
        "INSERT INTO blood_inventory (id, event_time, blood_bank_id, blood_type, quantity) VALUES \
         ({}, {}, {}, 'O+', 1)",
        sql.id(Uuid::new_v4()),
        sql.at(crate::steps::now_ms()),
        sql.id(site.bank),
    )
}

/// Reads all of these without a pause until told to stop.
async fn hammer(service: &Service, paths: &[String], stop: &AtomicBool) {
    let one = async |path: &String| {
        while !stop.load(Ordering::Relaxed) {
            let response = read(service, path, "no-cache").await;
            assert_eq!(response.status(), 200, "{path}");
        }
    };
    join_all(paths.iter().map(one)).await;
}

/// Writes a unit and reads it back, round by round.
async fn write_and_read(service: &Service, site: Site, paths: &[String], stop: &AtomicBool) {
    let mut sql = Outside::connect(service.database_url()).await;
    for round in 1..=ROUNDS {
        let insert = unit(&sql, site);
        sql.run(insert).await;
        let path = &paths[usize::try_from(round).unwrap() % paths.len()];
        let response = read(service, path, "no-cache").await;
        assert_eq!(response.status(), 200, "{path}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["items"][0]["total_stock"], round, "{path}");
        // So that rounds begin at any point of the others' reads.
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..2_000))).await;
    }
    stop.store(true, Ordering::Relaxed);
}

on_both_stores! {
    async fn lists_have_every_commit_before_the_request(service: Service) {
        let site = Site::register(&service, &noon_zone()).await;
        let paths = [
            format!("/v1/facilities/{}/summaries", site.facility),
            format!("/v1/summaries/today?facility_id={}", site.facility),
        ];
        let stop = AtomicBool::new(false);
        let writing = write_and_read(&service, site, &paths, &stop);
        join(hammer(&service, &paths, &stop), writing).await;
    }

    async fn the_list_of_facilities_has_every_commit_before_the_request(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        Site::register(&service, &noon_zone()).await;
        let paths = ["/v1/facilities?limit=500".to_owned()];
        let stop = AtomicBool::new(false);
        let writing = async {
            for round in 1..=ROUNDS {
                let id = Uuid::new_v4();
                let values = format!("({}, 'New', 'UTC')", sql.id(id));
                let into = "INSERT INTO facilities (id, name, timezone) VALUES";
                sql.run(format!("{into} {values}")).await;
                let list: Value =
                    read(&service, &paths[0], "no-cache").await.json().await.unwrap();
                let items = list["items"].as_array().unwrap();
                assert_eq!(items.len() as i64, round + 1, "it has all facilities");
                tokio::time::sleep(Duration::from_micros(rand::random_range(0..2_000))).await;
            }
            stop.store(true, Ordering::Relaxed);
        };
        join(hammer(&service, &paths, &stop), writing).await;
    }
}
