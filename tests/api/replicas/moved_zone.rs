//! Facilities that move to another zone. Their rows then count for the days of the new zone, also
//! rows that are written during the move.

use std::time::Duration;

use futures_util::future::join;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::json;
use uuid::Uuid;

use super::{Fleet, claims::claimed};
use crate::{
    steps::{HOUR_MS, Plain, date_in, get, instant, now_ms, path, post, request},
    support::{Service, events::event, site::Site, wait_until},
};

/// Two zones that are a day apart, at any time of the day.
const EAST: &str = "Pacific/Kiritimati";
const WEST: &str = "Etc/GMT+12";

async fn no_mark_is_left(plain: &mut Plain) {
    wait_until("all marks are processed", async || {
        plain.number("SELECT count(*) FROM summary_marks").await == 0
    })
    .await;
}

async fn is_in(replica: &Service, facility: Uuid, zone: &str) {
    wait_until("the replica knows the zone", async || {
        get(replica, &format!("/v1/facilities/{facility}")).await["timezone"] == zone
    })
    .await;
}

/// The leader is stopped while the facility moves. When it goes on, there is a request of the new
/// zone.
#[tokio::test]
async fn a_leader_that_was_stopped_during_a_change_of_zone_refreshes_the_new_zones_days() {
    let fleet = Fleet::of(3).await;
    let site = Site::register(&fleet[0], WEST).await;
    let mut plain = Plain::beside(&fleet[0]).await;
    let facility = plain.id(site.facility);
    let mut requests = 0;
    for zone in [EAST, WEST, EAST, WEST] {
        fleet[0].signal(libc::SIGSTOP);
        plain
            .run(&format!("UPDATE facilities SET timezone = '{zone}' WHERE id = {facility}"))
            .await;
        for replica in &fleet.replicas[1..] {
            is_in(replica, site.facility, zone).await;
        }
        no_mark_is_left(&mut plain).await;
        requests += 1;
        plain
            .run(&format!(
                "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), \
                 {facility})"
            ))
            .await;
        let written_ms = now_ms();
        fleet[0].signal(libc::SIGCONT);
        for replica in &fleet.replicas {
            let claim = claimed(replica, &path(site.facility, "today"), "", written_ms).await;
            assert_eq!(
                (&claim.body["date"], &claim.body["total_requests"]),
                (&json!(date_in(zone, 0)), &json!(requests)),
                "{}",
                claim.told
            );
        }
    }
}

/// A request, and after it a move, wait for the same lock. When the move reads the days that it
/// touches, the request is not committed, so its day is not among them.
#[tokio::test]
async fn a_request_acknowledged_beside_a_change_of_zone_counts_for_the_day_of_the_new_one() {
    let fleet = Fleet::patient(2, |launch| launch).await;
    let plain = Plain::beside(&fleet[0]).await;
    for days in 2..6 {
        let site = Site::register(&fleet[0], WEST).await;
        let facility = plain.id(site.facility);
        let then_ms = now_ms() - days * 24 * HOUR_MS;
        let date = Timestamp::from_millisecond(then_ms).unwrap().in_tz(EAST).unwrap().date();
        let moved = event(
            "facility.registered",
            json!({"facility_id": site.facility, "name": "Nomad", "timezone": EAST}),
        );
        let mut holder = Plain::beside(&fleet[0]).await;
        holder
            .run(&format!(
                "BEGIN; SELECT FROM facility_state WHERE facility_id = {facility} FOR UPDATE"
            ))
            .await;
        let requested =
            async { post(&fleet[1], &[request(Uuid::new_v4(), site.facility, then_ms)]).await };
        let moving_then = async {
            holder.until_waiting(1).await;
            let letting_go = async {
                holder.until_waiting(2).await;
                holder.run("ROLLBACK").await;
            };
            join(post(&fleet[0], &[moved]), letting_go).await
        };
        join(requested, moving_then).await;
        let written_ms = now_ms();
        for replica in &fleet.replicas {
            let claim = claimed(replica, &path(site.facility, date), "", written_ms).await;
            assert_eq!(claim.body["total_requests"], 1, "{}", claim.told);
        }
    }
}

/// The name of a zone so many hours ahead of UTC.
fn zone_ahead(hours: i64) -> String {
    match hours {
        0 => "Etc/UTC".to_owned(),
        1.. => format!("Etc/GMT-{hours}"),
        _ => format!("Etc/GMT+{}", -hours),
    }
}

/// The facility moves away and back while another session holds its lock. The date is the same in
/// both zones, the day is not.
#[tokio::test]
async fn a_row_of_the_previous_zone_is_not_used_for_the_same_date_of_the_new_zone() {
    let fleet = Fleet::of(2).await;
    // When it is between eight and eleven in the first zone, it is six hours later in the second,
    // on the same date. The request is three hours before midnight in the first zone, and three
    // hours after midnight in the second.
    let hour_in_utc = i64::from(Timestamp::now().to_zoned(TimeZone::UTC).hour());
    let hour = 8.max(hour_in_utc - 12);
    let (here, there) = (zone_ahead(hour - hour_in_utc), zone_ahead(hour + 6 - hour_in_utc));
    let site = Site::register(&fleet[0], &here).await;
    let today: Date = date_in(&here, 0);
    assert_eq!(today, date_in(&there, 0));
    let mut plain = Plain::beside(&fleet[0]).await;
    let facility = plain.id(site.facility);
    post(&fleet[0], &[request(Uuid::new_v4(), site.facility, now_ms() - (hour + 3) * HOUR_MS)])
        .await;
    let shows = async |requests: i64, written_ms: i64, when: &str| {
        for replica in &fleet.replicas {
            let claim = claimed(replica, &path(site.facility, today), "", written_ms).await;
            assert_eq!(
                claim.body["total_requests"],
                requests,
                "{when}, as of {}: {}",
                instant(written_ms),
                claim.told
            );
        }
    };
    shows(0, now_ms(), "at home").await;
    for _ in 0..3 {
        plain
            .run(&format!("UPDATE facilities SET timezone = '{there}' WHERE id = {facility}"))
            .await;
        shows(1, now_ms(), "away").await;
        let mut holder = Plain::beside(&fleet[0]).await;
        holder
            .run(&format!(
                "BEGIN; SELECT FROM facility_state WHERE facility_id = {facility} FOR UPDATE"
            ))
            .await;
        plain
            .run(&format!("UPDATE facilities SET timezone = '{here}' WHERE id = {facility}"))
            .await;
        let written_ms = now_ms();
        let reading = shows(0, written_ms, "back home");
        let letting_go = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            holder.run("ROLLBACK").await;
        };
        join(reading, letting_go).await;
    }
}
