//! The server's rules of a time zone, which may be older or newer than this release's.

use facility_summary::domain::zones;
use jiff::Timestamp;

use super::beside;
use crate::{sources::today_of, steps::get, support::wait_until};

/// A zone whose rules have changed lately (1 November 2026).
const ZONE: &str = "America/Vancouver";

/// A row with a local time counts on the day that its time names, and its mark is of that day.
/// Where rules differ this is said.
#[tokio::test]
async fn a_local_time_near_midnight_is_of_its_own_day_by_whichever_rules() {
    let mapping = format!(
        "[sources.facilities]\nfrom = \"z.hospital h\"\nkey = \"h.id\"\nname = \"h.title\"\n\
         timezone = \"'{ZONE}'\"\n[[sources.deliveries]]\nfrom = \"z.delivery d\"\nfacility = \
         \"d.hid\"\nquantity = \"d.units\"\nat = \"d.at\"\nat_as = \"local\"\n"
    );
    let (service, mut sql, _) = beside(
        &mapping,
        "CREATE SCHEMA z; CREATE TABLE z.hospital (id integer PRIMARY KEY, title text); CREATE \
         TABLE z.delivery (hid integer, units integer, at timestamp); INSERT INTO z.hospital \
         VALUES (1, 'One')",
    )
    .await;
    let path = today_of(&service, "1").await;
    let today = get(&service, &path).await["date"].clone();
    let today = today.as_str().expect("a date");
    let path = path.replace("/today", &format!("/{today}"));
    let times = ["00:00", "00:30", "12:00", "23:30", "23:59:59.999"];
    for (units, time) in (1..).zip(times) {
        sql.run(format!("INSERT INTO z.delivery VALUES (1, 1, '{today} {time}')")).await;
        wait_until(time, async || get(&service, &path).await["total_transferred"] == units).await;
    }
    let mut differ = false;
    for days in [-30, -1, 0, 30, 90] {
        let offset = sql
            .number(format!(
                "SELECT extract(epoch FROM (at AT TIME ZONE '{ZONE}') - (at AT TIME ZONE \
                 'UTC'))::bigint FROM (SELECT now() + {days} * interval '1 day') AS n (at)"
            ))
            .await;
        let at = Timestamp::now() + jiff::SignedDuration::from_hours(days * 24);
        let ours = zones::find(ZONE).expect("a zone").to_offset(at).seconds();
        differ |= i64::from(ours) != offset;
    }
    let ready = get(&service, "/health/ready").await.to_string();
    let words = format!("rules of time zones differ from those of this release: {ZONE}");
    assert_eq!(ready.contains(&words), differ, "{ready}");
}
