//! Faults, one after another, which the seed of a round decides.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::world::World;
use crate::{parts::Fleet, support::postgres::Postgres};

/// No fault is made around the round's midnight, since the stock with which a day closes is judged.
const BEFORE_MIDNIGHT_MS: i64 = 9_000;
const AFTER_MIDNIGHT_MS: i64 = 2_000;

/// A fault with its parameters, for the output of a round.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A replica is stopped for a time, perhaps the leader.
    Hang(usize),
    /// A replica is killed, and started again.
    Die(usize),
    RedisIsEmptied,
    RedisStops {
        with_nothing: bool,
    },
    RedisHangs,
    PostgresStops {
        crashes: bool,
    },
    /// Another session holds the locks of some facilities.
    Locks {
        share: usize,
    },
    CutFromDatabase(usize),
    CutFromRedis(usize),
    SlowRedis(usize),
}

fn any(rng: &mut StdRng, replicas: usize) -> Fault {
    let replica = rng.random_range(0..replicas);
    match rng.random_range(0..20) {
        0..5 => Fault::Hang(replica),
        5..7 => Fault::Die(replica),
        7 => Fault::RedisIsEmptied,
        8 => Fault::RedisStops { with_nothing: rng.random_bool(0.5) },
        9 => Fault::RedisHangs,
        10 => Fault::PostgresStops { crashes: rng.random_bool(0.5) },
        11..16 => Fault::Locks { share: rng.random_range(1..6) },
        16 => Fault::CutFromDatabase(replica),
        17 => Fault::CutFromRedis(replica),
        _ => Fault::SlowRedis(replica),
    }
}

/// Makes one fault after another until the round is over; returns how many.
pub async fn break_things(
    world: &World,
    fleet: &mut Fleet,
    postgres: &Postgres,
    midnight_ms: i64,
    end_ms: i64,
) -> usize {
    let (mut rng, mut count) = (world.plan.rng(2), 0);
    while world.now_ms() < end_ms {
        let pause = Duration::from_millis(rng.random_range(500..4_000));
        let fault = any(&mut rng, fleet.replicas.len());
        let lasts = Duration::from_millis(rng.random_range(500..5_000));
        tokio::time::sleep(pause).await;
        let near = midnight_ms - BEFORE_MIDNIGHT_MS..midnight_ms + AFTER_MIDNIGHT_MS;
        if !world.plan.faults || near.contains(&world.now_ms()) {
            continue;
        }
        eprintln!("  {fault:?} for {} ms", lasts.as_millis());
        world.fault_begins();
        apply(world, fleet, postgres, fault, lasts).await;
        world.fault_is_over();
        count += 1;
    }
    count
}

async fn apply(
    world: &World,
    fleet: &mut Fleet,
    postgres: &Postgres,
    fault: Fault,
    lasts: Duration,
) {
    match fault {
        Fault::Hang(replica) => {
            fleet.replicas[replica].service().signal(libc::SIGSTOP);
            tokio::time::sleep(lasts).await;
            fleet.replicas[replica].service().signal(libc::SIGCONT);
        }
        Fault::Die(replica) => {
            fleet.kill_9(replica).await;
            tokio::time::sleep(lasts / 2).await;
            fleet.start_again(replica).await;
        }
        Fault::RedisIsEmptied => fleet.redis.tell("FLUSHALL").await,
        Fault::RedisStops { with_nothing } => {
            fleet.redis.save();
            fleet.redis.stop();
            tokio::time::sleep(lasts).await;
            if with_nothing { fleet.redis.start_empty() } else { fleet.redis.start_again() }
        }
        Fault::RedisHangs => {
            fleet.redis.freeze();
            tokio::time::sleep(lasts).await;
            fleet.redis.thaw();
        }
        Fault::PostgresStops { crashes } => {
            if crashes {
                postgres.crash()
            } else {
                postgres.stop()
            }
            tokio::time::sleep(lasts / 2).await;
            postgres.start_again();
        }
        Fault::Locks { share } => {
            // The connection fails while the database is stopped. Then no lock is taken.
            let _ = hold_locks(&world.places.primary, share, lasts).await;
        }
        Fault::CutFromDatabase(replica) => {
            fleet.replicas[replica].database.refuse();
            tokio::time::sleep(lasts).await;
            fleet.replicas[replica].database.mend();
        }
        Fault::CutFromRedis(replica) => {
            fleet.replicas[replica].redis.refuse();
            tokio::time::sleep(lasts).await;
            fleet.replicas[replica].redis.mend();
        }
        Fault::SlowRedis(replica) => {
            fleet.replicas[replica].redis.delay(Duration::from_millis(30));
            tokio::time::sleep(lasts).await;
            fleet.replicas[replica].redis.delay(Duration::ZERO);
        }
    }
}

/// Holds the locks of one facility in every `share`.
async fn hold_locks(url: &str, share: usize, lasts: Duration) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let lock = format!(
        "SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '2s'; BEGIN;
         SELECT FROM facility_state WHERE hashtext(facility_id::text) % {share} = 0 ORDER BY \
         facility_id FOR UPDATE"
    );
    connection.execute(AssertSqlSafe(lock)).await?;
    tokio::time::sleep(lasts).await;
    connection.execute("ROLLBACK").await?;
    Ok(())
}
