//! Zones by their names: hosts that lack some names, and names that do not exist.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    support::{
        Service,
        outside::Outside,
        postgres::fresh_database,
        problem::problem,
        service::Launch,
        site::{Site, acknowledged, audited, metric},
        wait_until,
    },
};

/// A host like that of a slim image. Its zone folder lacks the old names of zones, and has wrong
/// rules for a known name.
fn on_a_slim_host(launch: Launch) -> Launch {
    let folder = launch.folder().join("zoneinfo");
    std::fs::create_dir_all(folder.join("Europe")).expect("the folder can be written to");
    // A TZif file of a zone without any change: UTC, under the name of Warsaw.
    let mut utc = b"TZif2".to_vec();
    let header =
        |counts: [u32; 6]| counts.into_iter().flat_map(u32::to_be_bytes).collect::<Vec<u8>>();
    for _ in 0..2 {
        if utc.len() > 5 {
            utc.extend(b"TZif2");
        }
        utc.extend([0; 15]);
        utc.extend(header([0, 0, 0, 0, 1, 4]));
        utc.extend([0, 0, 0, 0, 0, 0]);
        utc.extend(b"UTC\0");
    }
    utc.extend(b"\nUTC0\n");
    std::fs::write(folder.join("Europe/Warsaw"), &utc).expect("the folder can be written to");
    std::fs::write(folder.join("UTC"), &utc).expect("the folder can be written to");
    let folder = folder.display().to_string();
    launch.env("TZDIR", folder)
}

fn date_in(zone: &str) -> String {
    Timestamp::now()
        .to_zoned(jiff::tz::TimeZoneDatabase::bundled().get(zone).expect("it exists"))
        .date()
        .to_string()
}

async fn facility(service: &Service, id: Uuid) -> Value {
    service.get(&format!("/v1/facilities/{id}")).await.json().await.expect("it is JSON")
}

#[tokio::test]
async fn a_host_that_lacks_zones_has_the_same_days_as_one_that_has_them() {
    let url = fresh_database().await;
    let whole = Service::on(&url).start().await;
    let slim = on_a_slim_host(Service::on(&url)).start().await;
    // These zones never all have the same date. So a date that is in UTC by mistake differs in one
    // of them.
    for zone in ["Asia/Calcutta", "US/Eastern", "Europe/Warsaw", "Pacific/Kiritimati", "US/Samoa"] {
        let site = Site::register(&slim, zone).await;
        wait_until("both know it", async || {
            facility(&whole, site.facility).await["timezone"] == zone
        })
        .await;
        for service in [&whole, &slim] {
            let shown = facility(service, site.facility).await;
            assert_eq!(
                (&shown["today"], shown.get("timezone_error")),
                (&json!(date_in(zone)), None),
                "{zone}"
            );
        }
        acknowledged(&slim, &site.stock(Uuid::new_v4(), 3)).await;
        for service in [&whole, &slim] {
            let fresh = service
                .post(&format!("/v1/facilities/{}/refresh", site.facility), &Value::Null)
                .await;
            let fresh: Value = fresh.json().await.expect("it is JSON");
            assert_eq!(
                (&fresh["date"], &fresh["total_stock"]),
                (&json!(date_in(zone)), &json!(3)),
                "{zone}"
            );
        }
    }
    for service in [&whole, &slim] {
        let ready: Value = service.get("/health/ready").await.json().await.expect("it is JSON");
        assert_eq!(ready["status"], "ready", "{ready}");
        assert_eq!(metric(service, "facilities_in_unknown_zones").await, 0.0);
    }
    audited(&on_a_slim_host(slim.launch().clone())).await;
}

/// Registers a facility in this zone by SQL. Asserts that the facility shows the zone, with an
/// error that names the zone that may have been meant, alone and in the list.
async fn is_shown_everywhere(service: &Service, sql: &mut Outside, zone: &str, meant: &str) {
    let id = Uuid::new_v4();
    sql.run(format!(
        "INSERT INTO facilities (id, name, timezone) VALUES ({}, 'Odd', '{zone}')",
        sql.id(id)
    ))
    .await;
    wait_until("the facility is known", async || {
        service.get(&format!("/v1/facilities/{id}")).await.status() == 200
    })
    .await;
    let shown = facility(service, id).await;
    let error = shown["timezone_error"].as_str().unwrap_or_default();
    assert!(error.contains("counted in UTC") && error.contains(meant), "{zone}: {shown}");
    assert_eq!((&shown["today"], &shown["timezone"]), (&json!(date_in("UTC")), &json!(zone)));
    let listed: Value = service.get("/v1/facilities?q=odd").await.json().await.expect("it is JSON");
    let items = listed["items"].as_array().expect("a list");
    assert!(
        items
            .iter()
            .any(|item| item["facility_id"] == id.to_string() && item["timezone_error"] == error),
        "{listed}"
    );
    assert_eq!(service.get(&format!("/v1/facilities/{id}/summaries/today")).await.status(), 200);
}

/// Asserts that `/health/ready` counts the facilities in unknown zones.
async fn five_facilities_are_named(service: &Service) {
    let ready: Value = service.get("/health/ready").await.json().await.expect("it is JSON");
    assert_eq!(ready["status"], "degraded", "{ready}");
    let zones = ready["dependencies"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|d| d["name"] == "time_zones")
        .expect("it is named");
    let remedy = zones["remedy"].as_str().expect("a text");
    assert!(
        zones["state"] == "down"
            && remedy.starts_with("5 facilities")
            && remedy.contains("expected"),
        "{ready}"
    );
}

on_both_stores! {
    async fn an_unknown_zone_is_shown_wherever_its_facility_is_shown(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        let well = Site::register(&service, "Asia/Kolkata").await;
        for (zone, meant) in [
            ("IST", "Asia/Kolkata"),
            ("+05:30", "Asia/Kolkata"),
            ("Europe/Warsaw ", "Europe/Warsaw"),
            ("Mars/Olympus", "Europe/Warsaw"),
        ] {
            is_shown_everywhere(&service, &mut sql, zone, meant).await;
        }
        assert!(facility(&service, well.facility).await.get("timezone_error").is_none());
        assert_eq!(metric(&service, "facilities_in_unknown_zones").await, 4.0);
        // An unknown name is logged once, for any number of reads and of facilities with it.
        let again = Uuid::new_v4();
        sql.run(format!(
            "INSERT INTO facilities (id, name, timezone) VALUES ({}, 'Odd', 'IST')",
            sql.id(again)
        ))
        .await;
        wait_until("all five facilities are counted", async || {
            metric(&service, "facilities_in_unknown_zones").await == 5.0
        })
        .await;
        let told = service.logged("a time zone does not exist; days in it are counted in UTC");
        assert_eq!(told.iter().filter(|entry| entry["timezone"] == "IST").count(), 1, "{told:?}");
        let (_, launch) = service.terminate().await;
        let service = launch.start().await; // another process finds the same
        five_facilities_are_named(&service).await;
        sql.run("UPDATE facilities SET timezone = 'Asia/Kolkata'").await;
        wait_until("the service is ready", async || {
            let ready: Value = service.get("/health/ready").await.json().await.expect("it is JSON");
            ready["status"] == "ready"
        })
        .await;
    }

    async fn a_registration_in_an_unknown_zone_is_refused_with_the_nearest_name(service: Service) {
        let id = Uuid::new_v4();
        for (zone, meant) in [
            ("IST", "Asia/Kolkata"),
            ("+05:30", "Asia/Kolkata"),
            ("America/New York", "America/New_York"),
            ("Europe/Warszawa", "Europe/Warsaw"),
        ] {
            let answer = service
                .put(&format!("/v1/facilities/{id}"), &json!({"name": "Odd", "timezone": zone}))
                .await;
            let body = problem(answer, 422).await;
            assert!(
                body["errors"][0]["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.contains(&format!("perhaps \"{meant}\""))),
                "{zone}: {body}"
            );
            let launch = service.launch();
            std::fs::write(launch.folder().join("odd.csv"), format!("name,zone\nOdd,{zone}\n"))
                .expect("the folder can be written");
            let imported = launch
                .run(&["import", "facilities", "odd.csv", "--columns=name=name,timezone=zone"])
                .await;
            assert_eq!(imported.code, Some(1), "{}", imported.output);
            assert!(imported.output.contains(meant), "{}", imported.output);
        }
        assert_eq!(service.get(&format!("/v1/facilities/{id}")).await.status(), 404);
    }
}

on_both_stores! {
    async fn a_zone_or_a_name_that_is_too_long_costs_no_route_anything(service: Service) {
        let long = "x".repeat(100_000);
        let site = Site::register(&service, "UTC").await;
        for (name, timezone, pointer) in
            [("North", long.as_str(), "/timezone"), (long.as_str(), "UTC", "/name")]
        {
            let started = std::time::Instant::now();
            let body = json!({"name": name, "timezone": timezone});
            let refused = problem(
                service.put(&format!("/v1/facilities/{}", Uuid::new_v4()), &body).await,
                422,
            )
            .await;
            assert!(started.elapsed().as_millis() < 1_000, "{pointer}: {:?}", started.elapsed());
            let text = refused.to_string();
            assert!(text.contains(pointer) && text.len() < 2_000, "{text}");
            assert!(pointer != "/timezone" || text.contains("at most 64 bytes"), "{text}");
        }
        let mut sql = Outside::connect(service.database_url()).await;
        let odd = Uuid::new_v4();
        sql.run(format!(
            "INSERT INTO facilities (id, name, timezone) \
             VALUES ({}, '{long}{long}', '{long}')",
            sql.id(odd)
        ))
        .await;
        wait_until("the facility is known", async || {
            service.get(&format!("/v1/facilities/{odd}")).await.status() == 200
        })
        .await;
        let started = std::time::Instant::now();
        let own = format!("/v1/facilities/{odd}");
        let day = format!("/v1/facilities/{odd}/summaries/today");
        let never = format!("/v1/facilities/{odd}/summaries/2999-01-01");
        for path in [
            "/v1/facilities",
            "/health/ready",
            "/metrics",
            "/v1/summaries/today",
            &own,
            &day,
            &never,
        ] {
            let text = service.get(path).await.text().await.expect("it is text");
            assert!(!text.contains(&long[..10_000]), "{path} is {} bytes long", text.len());
        }
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
        assert!(
            facility(&service, odd).await["timezone_error"]
                .as_str()
                .is_some_and(|error| error.contains("at most 64 bytes"))
        );
        assert!(service.logs().iter().all(|line| line.len() < 10_000), "a log line is longer");
        acknowledged(&service, &site.stock(Uuid::new_v4(), 3)).await;
        site.shows(&service, (3, 0, 0)).await;
    }
}
