//! Lists and ranges follow the same directives as a single summary.

use std::time::Duration;

use futures_util::future::join;

use super::{Fleet, source};
use crate::{
    steps::{Plain, age, get, noon_zone, read},
    support::{site::Site, wait_until},
};

/// A list is recent enough, and then waits for a lock of another session. At the end of the wait it
/// may be older than the request accepts.
#[tokio::test]
async fn a_list_that_waited_for_a_lock_is_not_older_than_was_asked_for() {
    let fleet =
        Fleet::with(2, |launch| launch.env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 4_500))
            .await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    let mut plain = Plain::beside(&fleet[0]).await;
    let facility = plain.id(site.facility);
    for path in
        ["/v1/summaries/today".to_owned(), format!("/v1/facilities/{}/summaries", site.facility)]
    {
        for _ in 0..3 {
            // The day has to be opened again, for which the lock is needed.
            let mut holder = Plain::beside(&fleet[0]).await;
            holder
                .run(&format!(
                    "BEGIN; SELECT FROM facility_state WHERE facility_id = {facility} FOR UPDATE"
                ))
                .await;
            plain
                .run(&format!("DELETE FROM dashboard_daily_summary WHERE facility_id = {facility}"))
                .await;
            let letting_go = async {
                tokio::time::sleep(Duration::from_millis(3_500)).await;
                holder.run("ROLLBACK").await;
            };
            let (response, ()) = join(read(&fleet[1], &path, "max-age=1"), letting_go).await;
            assert!(
                response.status() == 503 || age(&response) <= 1,
                "{path} with max-age=1: Age {}",
                age(&response)
            );
        }
    }
}

#[tokio::test]
async fn an_only_if_cached_list_does_not_read_the_table() {
    let fleet = Fleet::of(2).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    let facility = format!("/v1/facilities/{}", site.facility);
    wait_until("the other replica knows the facility", async || {
        read(&fleet[1], &facility, "max-age=120").await.status() == 200
    })
    .await;
    for path in
        ["/v1/summaries/today".to_owned(), format!("/v1/facilities/{}/summaries", site.facility)]
    {
        // A request without a bound gets the list from the table, as soon as the table is verified.
        get(&fleet[1], &path).await;
        let response = read(&fleet[1], &path, "only-if-cached").await;
        let (status, source) = (response.status(), source(&response));
        let is_held = source.contains("detail=memory") || source.contains("detail=redis");
        assert!(status == 504 || (status == 200 && is_held), "{path}: {status} from {source}");
    }
}
