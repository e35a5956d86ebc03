//! Triggers that are off, with several replicas. Each replica reports it. Once the triggers are on,
//! the missed changes reach the memory of each replica.

use super::*;
use crate::support::outside::Outside;

#[tokio::test]
async fn facilities_that_came_and_moved_while_triggers_were_off_are_known_to_every_replica() {
    let fleet = Fleet::of(2).await;
    let site = Site::register(&fleet[0], "Pacific/Kiritimati").await;
    let came = Uuid::new_v4();
    for replica in &fleet.replicas {
        site.shows(replica, (0, 0, 0)).await;
    }
    let mut sql = Outside::connect(fleet.launch.database_url()).await;
    sql.run(
        "ALTER TABLE facilities DISABLE TRIGGER USER; ALTER TABLE blood_requests DISABLE TRIGGER \
         USER",
    )
    .await;
    for replica in &fleet.replicas {
        wait_until("readiness says that triggers are off", async || {
            state(replica, "triggers").await == ("degraded".into(), "down".into())
        })
        .await;
    }
    // This zone is 25 hours behind: it is on another date at any time of the day.
    sql.run(format!(
        "UPDATE facilities SET timezone = 'Pacific/Niue' WHERE id = '{}'",
        site.facility
    ))
    .await;
    sql.run(format!("INSERT INTO facilities (id, name) VALUES ('{came}', 'South')")).await;
    sql.run(format!(
        "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), '{}')",
        site.facility
    ))
    .await;
    sql.run("SELECT watch_sources()").await;
    let date = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::get("Pacific/Niue").expect("it exists"))
        .date();
    for replica in &fleet.replicas {
        wait_until_whole(replica).await;
        wait_until("the facility is known", async || {
            replica.get(&format!("/v1/facilities/{came}")).await.status() == 200
        })
        .await;
        wait_until("today is the new zone's", async || {
            site.summary(replica, "today").await["date"] == date.to_string()
        })
        .await;
        site.shows(replica, (0, 0, 1)).await;
    }
}
