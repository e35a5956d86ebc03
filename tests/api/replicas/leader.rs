//! One replica, the leader, drains for all. When it is lost, another one takes over.

use std::time::Duration;

use super::{Fleet, diary::Diary, holds};
use crate::{
    steps::{Plain, Scrape, noon_zone},
    support::{Service, wait_until},
};

/// The first replica has started before the others, and leads.
const LEADER: usize = 0;

async fn watermark_age(replica: &Service) -> f64 {
    Scrape::of(replica).await.sum("summary_watermark_age_seconds", &[])
}

/// Waits until every replica shows another program's write and a recent watermark.
async fn all_is_drained(replicas: &[Service], diary: &Diary, plain: &mut Plain, quantity: i64) {
    plain.run(&format!("UPDATE blood_inventory SET quantity = {quantity}")).await;
    for replica in replicas {
        holds(replica, diary.site, quantity).await;
        wait_until("the watermark is recent", async || watermark_age(replica).await < 1.5).await;
    }
}

#[tokio::test]
async fn after_the_leader_is_killed_another_leads() {
    let mut fleet = Fleet::of(3).await;
    let mut plain = Plain::beside(&fleet[0]).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.write(&fleet[0]).await;
    all_is_drained(&fleet.replicas, &diary, &mut plain, 100).await;
    for quantity in [200, 300] {
        fleet.replicas.remove(LEADER).kill_9().await;
        all_is_drained(&fleet.replicas, &diary, &mut plain, quantity).await;
    }
    // A replica that comes back does not lead.
    fleet.join().await;
    all_is_drained(&fleet.replicas, &diary, &mut plain, 400).await;
    assert_eq!(fleet.sum("epochs_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_leader_that_hangs_is_replaced_and_gives_no_wrong_answer_when_it_goes_on() {
    let fleet = Fleet::of(3).await;
    let mut plain = Plain::beside(&fleet[1]).await;
    let mut diary = Diary::begin(&fleet[1], &noon_zone()).await;
    diary.write(&fleet[1]).await;
    all_is_drained(&fleet.replicas, &diary, &mut plain, 100).await;
    fleet[LEADER].signal(libc::SIGSTOP);
    all_is_drained(&fleet.replicas[1..], &diary, &mut plain, 50).await;
    diary.keep(&fleet.replicas[1..], Duration::from_secs(2)).await;
    fleet[LEADER].signal(libc::SIGCONT);
    diary.keep(&fleet.replicas, Duration::from_secs(2)).await;
    all_is_drained(&fleet.replicas, &diary, &mut plain, 500).await;
    assert_eq!(fleet.sum("epochs_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_replica_that_does_not_lead_shows_the_age_of_the_watermark() {
    let fleet =
        Fleet::with(2, |launch| launch.env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 1_500))
            .await;
    for replica in &fleet.replicas {
        wait_until("between two passes it grows", async || watermark_age(replica).await > 1.0)
            .await;
        wait_until("a pass makes it young", async || watermark_age(replica).await < 0.8).await;
    }
}
