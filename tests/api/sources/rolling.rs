//! Replicas are replaced one by one by ones with another mapping.

use serde_json::{Value, json};

use super::{MAPPING, mapped, now, sources_of, today_of};
use crate::{
    steps::{Scrape, get, read},
    support::{Service, service::Launch, wait_until},
};

/// What `/health/ready` says of the mapped tables.
async fn sources(service: &Service) -> Value {
    let ready = get(service, "/health/ready").await;
    let dependencies = ready["dependencies"].as_array().expect("a list");
    dependencies.iter().find(|one| one["name"] == "sources").expect("it is listed").clone()
}

pub async fn is_superseded(service: &Service) {
    wait_until("it says that another mapping counts", async || {
        let sources = sources(service).await;
        let remedy = sources["remedy"].as_str().unwrap_or_default();
        sources["last_error"] == "broken" && remedy.contains("started later with another [sources]")
    })
    .await;
    assert_eq!(get(service, "/health/ready").await["status"], "degraded");
}

/// The launch with another mapping in a file of its own.
pub fn with_mapping(launch: &Launch, name: &str, mapping: &str) -> Launch {
    let file = sources_of(launch).replace("sources.toml", name);
    std::fs::write(&file, mapping).expect("the folder can be written");
    Service::on(launch.database_url()).argument("--sources").argument(&file)
}

/// The stored stock of today, by the key.
fn stored(key: u32) -> String {
    format!(
        "SELECT total_stock FROM facility_summary.dashboard_daily_summary s JOIN \
         facility_summary.facility_key k ON k.facility_id = s.facility_id WHERE k.key = {key}"
    )
}

#[tokio::test]
async fn of_replicas_with_two_mappings_the_one_that_was_started_later_counts() {
    let (launch, mut sql) = mapped(MAPPING).await;
    let quiet = |launch: Launch| {
        launch
            .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
            .env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", 0)
    };
    // The second counts reserved bags no more: 2 in place of 3.
    let narrow = MAPPING.replace("IN ('available', 'reserved')", "= 'available'");
    assert_ne!(narrow, MAPPING);
    let earlier = quiet(with_mapping(&launch, "earlier.toml", MAPPING));
    let later = quiet(with_mapping(&launch, "later.toml", &narrow));
    let before = earlier.clone().start().await;
    let path = today_of(&before, "1").await;
    assert_eq!(now(&before, "1").await["total_stock"], 3);
    let after = later.start().await;
    assert_eq!(now(&after, "1").await["total_stock"], 2);
    is_superseded(&before).await;

    // The earlier one serves what the later one has written, and writes nothing itself.
    for _ in 0..10 {
        for directives in ["max-age=3600", "no-cache", ""] {
            let answer = read(&before, &path, directives).await;
            let status = answer.status().as_u16();
            let answer: Value = answer.json().await.expect("JSON");
            match status {
                200 => assert_eq!(answer["total_stock"], 2, "{directives}: {answer}"),
                status => assert_eq!(status, 503, "{directives}: {answer}"),
            }
        }
        assert_eq!(sql.number(stored(1)).await, 2);
    }
    let answer = read(&before, &path, "max-age=3600").await;
    assert_eq!(answer.status(), 200, "what is stored is served");
    let facility = path.split('/').nth(3).expect("an id");
    let touched = before.post(&format!("/v1/facilities/{facility}/refreshes"), &json!({})).await;
    assert_ne!(touched.status(), 200, "nothing is derived by the earlier mapping");
    assert_eq!(sql.number(stored(1)).await, 2);
    // The later one leads, although the earlier one had done so, and what is written shows there.
    wait_until("the later one leads", async || {
        Scrape::of(&after).await.sum("job_runs_total", &[("job", "drain"), ("outcome", "done")])
            > 0.0
            && get(&after, "/health/ready").await["status"] == "ready"
    })
    .await;
    sql.run("UPDATE public.bag SET state = 'issued'").await;
    assert_eq!(now(&after, "1").await["total_stock"], 0);

    // Back to the earlier mapping: a start says so, and both are of one mind again.
    drop(after);
    let again = earlier.start().await;
    sql.run("UPDATE public.bag SET state = 'reserved'").await;
    wait_until("the first counts again", async || sources(&before).await["state"] == "up").await;
    for service in [&before, &again] {
        let summary = now(service, "1").await;
        assert_eq!(summary["total_stock"], 4, "{summary}");
    }
    assert_eq!(before.logged("the mapping of this server counts again").len(), 1);
}
