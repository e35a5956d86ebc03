//! Starts of a first replica, on a new database and beside a Redis, by the thousand and under load:
//! each has to join the change stream. `make test-starts` runs it, with STARTS=n (1000); not part
//! of `make test`.
//!
//! Each start draws its own trouble from its seed: a Redis that hangs for a while, at once or in
//! the middle; a slow or a cut way to it; a narrow pool of places at Redis; a Postgres that hangs
//! for a moment; and beside it busy processes and other starts, so that everything comes late.
//! Whatever it was, it ends, and from then on the replica has the patience of `JOINS` to be whole.
//! One that is not is reported with its log, and the seed by which it is repeated (SEED=n
//! STARTS=1).

#[allow(dead_code)] // the same
#[path = "../fleet/proxy.rs"]
mod proxy;
#[allow(dead_code)] // shared with the tests of one replica, which use more of it
#[path = "../api/support/mod.rs"]
mod support;

use std::{
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use proxy::Proxy;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{Service, postgres::Postgres, redis::Redis};

/// Starts under way at the same time, each with a Redis and a Postgres of its own: one that hangs
/// must not cost the others theirs.
const SIDE_BY_SIDE: u64 = 4;
/// How long a replica may take to be whole, once nothing is in its way but a busy machine.
const JOINS: Duration = Duration::from_secs(20);
/// Processes that do nothing but keep the processors busy.
const BUSY: usize = 4;
/// Servers and proxies are used for that many starts; their databases would fill a disk otherwise.
const STARTS_A_PLACE: u64 = 25;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Keeps a processor busy until it is dropped.
struct Busy(Child);

impl Busy {
    fn start() -> Busy {
        let mut shell = Command::new("sh");
        shell.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).stdout(Stdio::null());
        Busy(shell.spawn().expect("a shell can be run"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a lane of starts uses again and again.
struct Place {
    postgres: Postgres,
    redis: Redis,
    proxy: Proxy,
}

impl Place {
    fn new() -> Place {
        let (postgres, redis) = (Postgres::start(&[]), Redis::start());
        let address = redis
            .url()
            .trim_start_matches("redis://")
            .parse()
            .expect("the script prints an address");
        Place { postgres, redis, proxy: Proxy::to(address) }
    }

    /// One trouble, which has ended when this returns.
    async fn trouble(&self, random: &mut StdRng) -> &'static str {
        let for_a_while = Duration::from_millis(random.random_range(1..1_500));
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        match random.random_range(0..7) {
            0 => "nothing",
            1 => {
                self.redis.freeze();
                tokio::time::sleep(for_a_while).await;
                self.redis.thaw();
                "Redis hangs"
            }
            2 => {
                self.proxy.delay(Duration::from_millis(random.random_range(10..200)));
                tokio::time::sleep(for_a_while).await;
                self.proxy.delay(Duration::ZERO);
                "the way to Redis is slow"
            }
            3 => {
                for _ in 0..random.random_range(1..20) {
                    self.proxy.cut();
                    tokio::time::sleep(for_a_while / 20).await;
                }
                "connections to Redis are cut"
            }
            4 => {
                self.proxy.refuse();
                tokio::time::sleep(for_a_while).await;
                self.proxy.mend();
                "Redis is refused"
            }
            5 => {
                // The reader's connection, and one for commands; this one makes three.
                let mut operator = self.redis.connect().await;
                let set = |places: u32| {
                    let mut set = deadpool_redis::redis::cmd("CONFIG");
                    set.arg("SET").arg("maxclients").arg(places);
                    set
                };
                let places = random.random_range(1..4);
                set(places).query_async::<()>(&mut operator).await.expect("it answers");
                tokio::time::sleep(for_a_while).await;
                set(1_000).query_async::<()>(&mut operator).await.expect("it answers");
                "Redis has few places"
            }
            _ => {
                self.postgres.freeze();
                tokio::time::sleep(for_a_while.min(Duration::from_millis(500))).await;
                self.postgres.thaw();
                "Postgres hangs"
            }
        }
    }
}

/// One start. Answers how long the replica took to be whole after its trouble had ended; its log
/// where it never was.
async fn start(place: &Place, seed: u64) -> Result<Duration, String> {
    let mut random = StdRng::seed_from_u64(seed);
    let database = place.postgres.fresh_database().await;
    let launch = Service::on(database)
        .env("REDIS_URL", format!("redis://{}", place.proxy.address))
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off");
    let (service, trouble) = tokio::join!(launch.start(), place.trouble(&mut random));
    let over = Instant::now();
    while over.elapsed() < JOINS {
        let ready: serde_json::Value =
            service.get("/health/ready").await.json().await.expect("it is JSON");
        if ready["status"] == "ready" {
            return Ok(over.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!(
        "seed {seed} ({trouble}): not attached {JOINS:?} after that had ended\n{}",
        service.logs().join("\n")
    ))
}

#[tokio::test]
async fn every_replica_that_starts_joins_once_nothing_keeps_it_from_that() {
    let (starts, first) = (number("STARTS").unwrap_or(1_000), number("SEED").unwrap_or(1));
    let _busy: Vec<Busy> = (0..BUSY).map(|_| Busy::start()).collect();
    let next = AtomicU64::new(0);
    let began = Instant::now();
    let lane = async || {
        let (mut place, mut used, mut slowest) = (Place::new(), 0, Duration::ZERO);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= starts {
                return slowest;
            }
            used += 1;
            if used % STARTS_A_PLACE == 0 {
                place = Place::new();
            }
            match start(&place, first + number).await {
                Ok(took) => slowest = slowest.max(took),
                Err(report) => panic!("{report}"),
            }
            if number % 50 == 49 {
                println!("{} starts in {:.0} s", number + 1, began.elapsed().as_secs_f64());
            }
        }
    };
    let slowest =
        futures_util::future::join_all((0..SIDE_BY_SIDE.min(starts)).map(|_| lane())).await;
    println!(
        "{starts} starts, each attached, the slowest {:?} after its trouble had ended",
        slowest.iter().max()
    );
}
