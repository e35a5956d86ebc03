//! Triggers on the owner's tables: whatever writes there shows at once, and is compared with the
//! owner's own query. No rebuild and no reader's bound can refresh these services, so only marks
//! do.

mod collations;
mod elsewhere;
mod enabled_all;
mod failing;
mod install;
mod keys;
mod managed;
mod moved;
mod outer;
mod owners;
mod partitions;
mod parts;
mod passed_by;
mod removal;
mod snapshot;
mod texts;
mod times;
mod trouble;
mod ways;
mod writers;
mod zones;

use serde_json::Value;

use super::{mapped, run, today_of};
use crate::{
    steps::{Scrape, get, read},
    support::{Service, outside::Outside, service::Launch, wait_until},
};

/// The settings with which nothing but marks refreshes a figure.
const ONLY_MARKS: [(&str, &str); 3] = [
    ("FACILITY_SUMMARY__REBUILD__CRON", "off"),
    ("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", "0"),
    ("FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS", "86400"),
];

/// The number of marks, and of what is yet to become one.
const MARKS: &str = "SELECT (SELECT count(*) FROM facility_summary.summary_marks) + (SELECT \
                     count(*) FROM facility_summary.noticed_rows)";

fn only_marks(launch: Launch) -> Launch {
    ONLY_MARKS.iter().fold(launch, |launch, (name, value)| launch.env(name, *value))
}

/// Runs `adopt` with the mapping, which succeeds.
async fn adopt(launch: &Launch, action: &[&str]) -> String {
    let exited = run(launch, &[&["adopt"], action].concat()).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    exited.output
}

/// The hospital's database with triggers, the service beside it, and a connection of the owner.
async fn watched(mapping: &str) -> (Service, Outside) {
    watched_after(mapping, "").await
}

/// The same, where the owner has run these statements first.
async fn watched_after(mapping: &str, statements: &str) -> (Service, Outside) {
    let (launch, mut sql) = mapped(mapping).await;
    sql.run(statements).await;
    adopt(&launch, &["install"]).await;
    let service = only_marks(launch).start().await;
    is_noticed(&service).await;
    (service, sql)
}

/// Another owner's database with triggers, the service beside it, a connection of the owner, and
/// what `adopt install` has said.
async fn beside(mapping: &str, statements: &str) -> (Service, Outside, String) {
    let (launch, mut sql) = mapped(mapping).await;
    sql.run(statements).await;
    let said = adopt(&launch, &["install"]).await;
    let service = only_marks(launch).start().await;
    is_noticed(&service).await;
    (service, sql, said)
}

/// Waits until writes are noticed, and everything is proven.
async fn is_noticed(service: &Service) {
    wait_until("writes are noticed, and the table is proven", async || {
        let noticed = Scrape::of(service).await.sum("source_writes_noticed", &[]);
        let ready = get(service, "/health/ready").await;
        noticed == 1.0 && ready["status"] == "ready" && !ready["watermark_age_seconds"].is_null()
    })
    .await;
}

/// The owner's own query: what stock, deliveries and requests of a hospital are today.
fn own(key: u32) -> [String; 3] {
    let movement = |what: &str, kind: &str| {
        format!(
            "SELECT coalesce({what}, 0)::bigint FROM public.movement WHERE hospital_id = {key} AND \
             kind = '{kind}' AND \"At\"::date = (now() AT TIME ZONE 'Africa/Accra')::date"
        )
    };
    [
        format!(
            "SELECT count(*) FROM public.bag b JOIN public.store s ON s.id = b.store_id WHERE \
             s.hospital_id = {key} AND b.state IN ('available', 'reserved') AND b.deleted_at IS \
             NULL AND (b.expiry IS NULL OR b.expiry >= (now() AT TIME ZONE 'Africa/Accra')::date)"
        ),
        movement("sum(units)", "delivery"),
        movement("count(*)", "request"),
    ]
}

/// Waits until the answers are what the owner's own query says, for readers who take old figures.
async fn agrees(service: &Service, sql: &mut Outside, what: &str) {
    for key in [1, 2] {
        let mut figures = Vec::new();
        for query in own(key) {
            figures.push(sql.number(query).await);
        }
        shows(service, &key.to_string(), &figures, what).await;
    }
    let drift = Scrape::of(service).await.sum("summary_drift_rows_total", &[]);
    assert_eq!(drift, 0.0, "{what}");
}

/// Waits until the figures of the facility with this key are these.
async fn shows(service: &Service, key: &str, figures: &[i64], what: &str) {
    let path = today_of(service, key).await;
    wait_until(&format!("hospital {key} shows {figures:?} after {what}"), async || {
        let answer: Value = read(service, &path, "").await.json().await.expect("JSON");
        ["total_stock", "total_transferred", "total_requests"]
            .iter()
            .zip(figures)
            .all(|(name, figure)| answer[name] == *figure)
    })
    .await;
}

/// What `/health/ready` says of the triggers.
async fn triggers(service: &Service) -> Value {
    let ready = get(service, "/health/ready").await;
    let all = ready["dependencies"].as_array().expect("a list");
    all.iter().find(|one| one["name"] == "triggers").expect("it is listed").clone()
}
