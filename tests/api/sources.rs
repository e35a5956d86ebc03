//! The service beside an operational database: figures from the owner's tables by `[sources]`.

mod changes;
mod check;
mod facilities;
mod figures;
mod fractions;
mod locks;
mod odd;
mod odd_figures;
mod own_types;
mod owners_check;
mod refusals;
mod rights;
mod rolling;
mod rolling_lists;
mod standby;
mod times;
mod triggers;

use serde_json::Value;

use crate::{
    steps::{get, read},
    support::{
        Service,
        outside::Outside,
        service::{Exited, Launch},
    },
};

/// A hospital's own schema: integer keys, one bag a row, groups in two columns, dates of expiry, a
/// soft delete, naive local times, and deliveries and requests in one table with a type.
const HOSPITAL: &str = include_str!("sources/hospital.sql");
pub const MAPPING: &str = include_str!("sources/hospital.toml");

/// A database with the hospital's schema, the launch of a service with this mapping of it, and a
/// connection of its owner.
pub async fn mapped(mapping: &str) -> (Launch, Outside) {
    let launch = Service::on_postgres().await;
    let mut sql = Outside::connect(launch.database_url()).await;
    sql.run(HOSPITAL).await;
    let file = sources_of(&launch);
    std::fs::write(&file, mapping).expect("the folder can be written");
    let launch = launch.argument("--sources").argument(&file);
    (launch, sql)
}

/// The file with the mapping.
fn sources_of(launch: &Launch) -> String {
    launch.folder().join("sources.toml").to_str().expect("a path").to_owned()
}

/// Runs a command with the mapping.
async fn run(launch: &Launch, arguments: &[&str]) -> Exited {
    let file = sources_of(launch);
    launch.run(&[arguments, &["--sources", &file]].concat()).await
}

/// The facility with this key of the owner's.
async fn with_key(service: &Service, key: &str) -> Option<Value> {
    let list = get(service, &format!("/v1/facilities?key={key}")).await;
    list["items"].as_array().expect("a list").first().cloned()
}

/// The path of today's summary of the facility with this key.
async fn today_of(service: &Service, key: &str) -> String {
    let facility = with_key(service, key).await.expect("it is mapped");
    let id = facility["facility_id"].as_str().expect("an id").to_owned();
    format!("/v1/facilities/{id}/summaries/today")
}

/// Today's figures from the source.
async fn now(service: &Service, key: &str) -> Value {
    let path = today_of(service, key).await;
    let answer = read(service, &path, "no-cache").await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.expect("JSON")
}

fn totals(summary: &Value) -> [&Value; 3] {
    ["total_stock", "total_transferred", "total_requests"].map(|name| &summary[name])
}
