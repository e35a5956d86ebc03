//! A thousand starts of a replica, on a new database, with Redis, and under load: each replica must
//! become attached to the change stream. `make test-starts` runs it; STARTS=n sets the number of
//! starts (1000). It is not part of `make test`.
//!
//! The seed of each start decides a fault: Redis hangs for a while, at once or during the start;
//! the connection to it is slow or is cut; Redis accepts few connections; Postgres hangs for a
//! moment. Busy processes and other starts run at the same time, so that everything is late. Each
//! fault ends. From then on the replica has the time `JOINS` to become ready. When it does not, the
//! test prints its log and the seed that repeats it (SEED=n STARTS=1).

#[allow(dead_code)] // as for `support`
#[path = "../fleet/proxy.rs"]
mod proxy;
#[allow(dead_code)] // the tests of one replica use more of it
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

/// How many starts run at the same time. Each has a Redis and a Postgres of its own, so that one
/// that hangs does not delay the others.
const SIDE_BY_SIDE: u64 = 4;
/// How long a replica may take to become ready after its fault has ended, on a busy machine.
const JOINS: Duration = Duration::from_secs(20);
/// How many processes only keep the processors busy.
const BUSY: usize = 4;
/// How many starts use the same servers and proxy. More would fill the disk with databases.
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

/// The servers that several starts use, one after the other.
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

    /// Causes one fault, which has ended when this returns. Returns its name.
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
                // Three connections: the reader's, one for commands, and this one.
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

/// One start. Returns how long the replica took to become ready after its fault had ended; the
/// error has its log.
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
        "seed {seed} ({trouble}): not attached {JOINS:?} after the fault had ended\n{}",
        service.logs().join("\n")
    ))
}

#[tokio::test]
async fn every_replica_attaches_once_its_fault_has_ended() {
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
        "{starts} starts, each attached, the slowest {:?} after its fault had ended",
        slowest.iter().max()
    );
}
