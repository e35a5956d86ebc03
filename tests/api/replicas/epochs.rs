//! A database that was put back begins another epoch. No tier may show data that only the lost
//! epoch had.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Fleet, authority, diary::Diary, holds, set_stock, today, wait_until_whole};
use crate::{
    steps::{Scrape, noon_zone, path, post, read},
    support::{
        Service, events::event, plain_sql, postgres::Postgres, redis::Redis, service::Launch,
        site::Site, wait_until,
    },
};

const KEPT: i64 = 5;
const LOST: i64 = 99;

/// A site that is in both epochs, and what only the lost epoch has: a figure of this site, and a
/// facility.
struct Epochs {
    site: Site,
    item: Uuid,
    lost: Uuid,
}

impl Epochs {
    async fn begin(fleet: &Fleet) -> Epochs {
        let site = Site::register(&fleet[0], &noon_zone()).await;
        let item = Uuid::new_v4();
        set_stock(&fleet[0], site, item, KEPT).await;
        for replica in &fleet.replicas {
            holds(replica, site, KEPT).await;
        }
        Epochs { site, item, lost: Uuid::new_v4() }
    }

    async fn go_on(&self, fleet: &Fleet) {
        post(
            &fleet[0],
            &[event(
                "facility.registered",
                json!({"facility_id": self.lost, "name": "Lost", "timezone": "UTC"}),
            )],
        )
        .await;
        for quantity in LOST - 3..=LOST {
            set_stock(&fleet[0], self.site, self.item, quantity).await;
        }
        for replica in &fleet.replicas {
            holds(replica, self.site, LOST).await;
            wait_until("the replica knows the facility", async || {
                replica.get(&path(self.lost, "today")).await.status() == 200
            })
            .await;
        }
    }

    /// Asserts that this replica shows nothing of what was lost, with any directive.
    async fn are_apart(&self, replica: &Service) {
        for directives in
            ["", "max-age=3600", "max-age=1", "max-age=3600, max-stale", "only-if-cached"]
        {
            let response = read(replica, &today(self.site), directives).await;
            if directives == "only-if-cached" && response.status() == 504 {
                continue;
            }
            let from = super::source(&response);
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["total_stock"], KEPT, "{directives} {from} {body}");
        }
        let unknown = replica.get(&path(self.lost, "today")).await.status();
        assert_eq!(unknown, 404);
    }

    /// Asserts the same for a while, and then that events of the new epoch reach every replica.
    async fn stay_apart(&self, fleet: &Fleet) {
        for _ in 0..20 {
            for replica in &fleet.replicas {
                self.are_apart(replica).await;
            }
        }
        for replica in &fleet.replicas {
            wait_until_whole(replica).await;
        }
        for quantity in [KEPT + 1, KEPT + 2] {
            set_stock(&fleet[0], self.site, self.item, quantity).await;
            for replica in &fleet.replicas {
                holds(replica, self.site, quantity).await;
            }
        }
        let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
        diary.keep(&fleet.replicas, Duration::from_secs(1)).await;
    }
}

async fn on(postgres: &Postgres, count: usize, settings: impl FnOnce(Launch) -> Launch) -> Fleet {
    Fleet::on(settings(Service::on(postgres.fresh_database().await)), count, Redis::start()).await
}

#[tokio::test]
async fn a_backup_restored_under_running_replicas_leaves_nothing_of_what_was_lost() {
    let postgres = Postgres::start(&[]);
    let fleet = on(&postgres, 3, |launch| launch).await;
    let epochs = Epochs::begin(&fleet).await;
    postgres.back_up();
    epochs.go_on(&fleet).await;
    proven_anew(&fleet).await;
    postgres.stop();
    postgres.restore();
    postgres.start_again();
    for replica in &fleet.replicas {
        wait_until("the replica has begun the new epoch", async || {
            Scrape::of(replica).await.sum("epochs_total", &[]) >= 1.0
        })
        .await;
        wait_until("the replica has dropped the facility", async || {
            replica.get(&path(epochs.lost, "today")).await.status() == 404
        })
        .await;
        epochs.are_apart(replica).await;
    }
    epochs.stay_apart(&fleet).await;
}

/// Waits until every replica has received a new watermark. A loss is found by a watermark that the
/// database lacks.
async fn proven_anew(fleet: &Fleet) {
    let stored = "SELECT floor(extract(epoch FROM watermark_at) * 1000)::bigint FROM fleet";
    let now_ms = plain_sql::number(
        fleet[0].database_url(),
        "SELECT floor(extract(epoch FROM now()) * 1000)::bigint",
    )
    .await;
    wait_until("a new watermark is stored", async || {
        plain_sql::number(fleet[0].database_url(), stored).await > now_ms + 1_000
    })
    .await;
}

/// While no replica runs, the database's files are put back to an earlier state on the same
/// timeline. Only Redis still has what was lost.
async fn put_back(postgres: &Postgres, fleet: &mut Fleet) -> Epochs {
    let epochs = Epochs::begin(fleet).await;
    let count = fleet.len();
    stop(fleet).await;
    postgres.stop();
    postgres.copy();
    postgres.start_again();
    for _ in 0..count {
        fleet.join().await;
    }
    epochs.go_on(fleet).await;
    proven_anew(fleet).await;
    stop(fleet).await;
    postgres.stop();
    postgres.restore();
    postgres.start_again();
    epochs
}

/// Starts replicas without the wait of `join`: their answers before they are ready count, too.
async fn start_again(fleet: &mut Fleet, count: usize, epochs: &Epochs) {
    for _ in 0..count {
        fleet.replicas.push(fleet.launch.clone().start().await);
        epochs.are_apart(&fleet[fleet.len() - 1]).await;
    }
}

async fn only_redis_remembers(settings: impl FnOnce(Launch) -> Launch) {
    let postgres = Postgres::start(&[]);
    let mut fleet = on(&postgres, 2, settings).await;
    let epochs = put_back(&postgres, &mut fleet).await;
    start_again(&mut fleet, 2, &epochs).await;
    assert!(fleet.sum("epochs_total", &[]).await >= 1.0);
    epochs.stay_apart(&fleet).await;
}

async fn stop(fleet: &mut Fleet) {
    for replica in fleet.replicas.drain(..) {
        replica.terminate().await;
    }
}

#[tokio::test]
async fn a_database_put_back_while_no_replica_ran_is_not_mixed_with_redis() {
    only_redis_remembers(|launch| launch).await;
}

#[tokio::test]
async fn a_database_put_back_is_not_mixed_with_redis_where_little_of_the_stream_is_read() {
    only_redis_remembers(|launch| launch.env("FACILITY_SUMMARY__REDIS__REPLAY", 1)).await;
}

#[tokio::test]
async fn changes_that_a_standby_never_received_are_not_shown_after_its_promotion() {
    let primary = Postgres::start(&[]);
    let standby = primary.standby(&[]);
    let url = primary.fresh_database().await;
    let there = url.replace(authority(&primary), authority(&standby));
    let mut fleet = Fleet::on(Service::on(url), 2, Redis::start()).await;
    let epochs = Epochs::begin(&fleet).await;
    let kept = format!("SELECT count(*) FROM blood_inventory WHERE quantity = {KEPT}");
    wait_until("the standby has the change", async || {
        let exists = "SELECT count(*) FROM pg_database WHERE datname = 'test_0'";
        plain_sql::number(standby.url(), exists).await == 1
            && plain_sql::number(&there, &kept).await == 1
    })
    .await;
    standby.stop();
    epochs.go_on(&fleet).await;
    primary.crash();
    standby.start_again();
    standby.promote();
    fleet.replicas.clear();
    // The standby has another address, as after a change of configuration. Redis still has what
    // the former primary published.
    fleet.launch = Service::on(there).env("REDIS_URL", fleet.redis.url());
    start_again(&mut fleet, 2, &epochs).await;
    epochs.stay_apart(&fleet).await;
}

#[tokio::test]
async fn a_database_put_back_is_not_mixed_with_redis_where_redis_hung_at_the_start() {
    let postgres = Postgres::start(&[]);
    let mut fleet = on(&postgres, 2, |launch| launch).await;
    let epochs = put_back(&postgres, &mut fleet).await;
    fleet.redis.freeze();
    start_again(&mut fleet, 2, &epochs).await;
    proven_anew(&fleet).await;
    fleet.redis.thaw();
    for replica in &fleet.replicas {
        wait_until_whole(replica).await;
    }
    epochs.stay_apart(&fleet).await;
}

/// This replica has not led before, and cannot ask Redis now. But it has followed the stream, so it
/// would notice if the database had lost something.
#[tokio::test]
async fn a_replica_that_leads_first_after_postgres_hung_continues_the_epoch() {
    let postgres = Postgres::start(&[]);
    let mut fleet = on(&postgres, 2, |launch| launch).await;
    proven_anew(&fleet).await;
    fleet.redis.freeze();
    postgres.freeze();
    fleet.replicas.remove(0).kill_9().await;
    let proven_ago = async || Scrape::of(&fleet[0]).await.sum("summary_watermark_age_seconds", &[]);
    wait_until("nothing was proven for some seconds", async || proven_ago().await > 4.0).await;
    postgres.thaw();
    proven_anew(&fleet).await;
    assert_eq!(Scrape::of(&fleet[0]).await.sum("epochs_total", &[]), 0.0);
}
