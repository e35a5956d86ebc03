//! The parts of a fleet: replicas of the real binary, each with proxies of its own to the database
//! and to Redis.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    proxy::Proxy,
    support::{
        PATIENCE, Service,
        postgres::Postgres,
        redis::Redis,
        service::Launch,
        site::{Site, a_zone_at_noon},
        wait_until, wait_until_within,
    },
};

/// How many facilities are under load.
pub const FACILITIES: usize = 4;
/// This facility is written to in bursts only. So no later write soon corrects a change that a
/// replica has missed.
pub const QUIET_FACILITY: usize = 3;
/// This replica has no memory. Its answers come from Redis, from the standby or from the source.
pub const FORGETFUL: usize = 2;

/// How soon a fleet should be back to normal after its dependency is back.
const BACK: Duration = Duration::from_secs(2);
/// The limit on any machine, also a busy one: 6.3 s were measured on two cores with four other busy
/// processes. The time is printed, to be compared with [`BACK`].
const BACK_AT_LAST: Duration = PATIENCE;

/// One scenario at a time, since a fleet keeps the whole machine busy.
static TURN: Mutex<()> = Mutex::const_new(());

/// Replicas on one database, and facilities to write about.
pub struct Fleet {
    pub replicas: Vec<Replica>,
    pub places: Arc<Places>,
    /// The facility of the probes that check the fleet. The load does not write about it.
    probed: Site,
    /// The proxy of plain SQL to the database.
    outside: Proxy,
    pub redis: Redis,
    standby: Option<Standby>,
    _turn: MutexGuard<'static, ()>,
}

/// The standby that all replicas may read from, and the proxy to it.
struct Standby {
    server: Postgres,
    network: Proxy,
}

/// A replica, and its own proxies to what it depends on.
pub struct Replica {
    /// `None` while it is down.
    service: Option<Service>,
    launch: Launch,
    /// Whether it has a memory.
    pub remembers: bool,
    pub database: Proxy,
    pub redis: Proxy,
}

/// The current addresses, for the load.
pub struct Places {
    /// By replica; `None` while it is down.
    addresses: Vec<RwLock<Option<SocketAddr>>>,
    /// For plain SQL: the proxy to the current primary.
    pub primary: String,
    pub sites: Vec<Site>,
}

impl Places {
    pub fn address(&self, replica: usize) -> Option<SocketAddr> {
        *self.addresses[replica].read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn replicas(&self) -> usize {
        self.addresses.len()
    }

    fn move_replica(&self, replica: usize, to: Option<SocketAddr>) {
        *self.addresses[replica].write().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

impl Fleet {
    /// Starts so many replicas with a Redis on a new database of this server. `adjust` may change
    /// how each is launched. If the server has a standby, they may read from it.
    pub async fn start(
        count: usize,
        postgres: &Postgres,
        standby: Option<Postgres>,
        adjust: impl Fn(usize, Launch) -> Launch,
    ) -> Fleet {
        let turn = TURN.lock().await;
        let primary = postgres.fresh_database().await;
        let outside = Proxy::to(socket(&primary));
        let standby =
            standby.map(|server| Standby { network: Proxy::to(socket(server.url())), server });
        let read_url = standby
            .as_ref()
            .map_or("off".to_owned(), |standby| through(&primary, &standby.network));
        let redis = Redis::start();
        let mut replicas = Vec::new();
        for at in 0..count {
            let ways = (Proxy::to(socket(&primary)), Proxy::to(socket(redis.url())));
            let mut launch = Service::on(through(&primary, &ways.0))
                .env("REDIS_URL", through(redis.url(), &ways.1));
            // Often enough that some come during each fault.
            launch = launch
                .env("FACILITY_SUMMARY__REBUILD__CRON", "*/5 * * * * *")
                .env("DATABASE_READ_URL", &read_url);
            if at == FORGETFUL {
                launch = launch.env("FACILITY_SUMMARY__CACHE__MEMORY_BYTES", 0);
            }
            let launch = adjust(at, launch);
            let service = Some(launch.clone().start().await);
            replicas.push(Replica {
                remembers: at != FORGETFUL,
                service,
                launch,
                database: ways.0,
                redis: ways.1,
            });
        }
        let mut sites = Vec::new();
        for _ in 0..=FACILITIES {
            sites.push(Site::register(replicas[0].service(), &a_zone_at_noon().0).await);
        }
        for replica in &replicas {
            wait_until("each replica knows all facilities", async || {
                let answer =
                    replica.service().get("/v1/facilities").await.text().await.expect("it is text");
                sites.iter().all(|site| answer.contains(&site.facility.to_string()))
            })
            .await;
        }
        let probed = sites.pop().expect("one more was made");
        let addresses =
            replicas.iter().map(|replica| RwLock::new(Some(replica.service().address))).collect();
        let places = Arc::new(Places { addresses, primary: through(&primary, &outside), sites });
        Fleet { replicas, places, probed, outside, redis, standby, _turn: turn }
    }

    /// Kills a replica; nothing is finished.
    pub async fn kill_9(&mut self, replica: usize) {
        let service = self.replicas[replica].service.take().expect("it runs");
        service.kill_9().await;
        self.places.move_replica(replica, None);
    }

    /// Asks a replica to stop, and waits until it has ended.
    pub async fn terminate(&mut self, replica: usize) {
        let (exited, _) = self.replicas[replica].service.take().expect("it runs").terminate().await;
        self.places.move_replica(replica, None);
        assert_eq!(exited.code, Some(0), "{}", exited.output);
    }

    /// Starts a replica that is down.
    pub async fn start_again(&mut self, replica: usize) {
        let service = self.replicas[replica].launch.clone().start().await;
        self.places.move_replica(replica, Some(service.address));
        self.replicas[replica].service = Some(service);
    }

    /// No replica reaches the database, until [`Fleet::follows`].
    pub fn loses_its_database(&self) {
        self.ways().for_each(Proxy::refuse);
    }

    /// The database vanishes: connections of the replicas stay open, and no byte ever comes back
    /// over them.
    pub fn loses_its_database_in_silence(&self) {
        self.outside.refuse();
        self.replicas.iter().for_each(|replica| replica.database.swallow());
    }

    /// New connections of all proxies lead to this server, which is the primary from now on. Open
    /// ones stay.
    pub fn finds(&self, primary: &Postgres) {
        self.outside.turn_to(socket(primary.url()));
        self.replicas.iter().for_each(|replica| replica.database.lead_to(socket(primary.url())));
    }

    /// All proxies lead to this server, which is the primary from now on. Open connections end.
    pub fn follows(&self, primary: &Postgres) {
        self.ways().for_each(|way| way.turn_to(socket(primary.url())));
    }

    /// The standby that the replicas may read from.
    pub fn standby(&self) -> &Postgres {
        &self.standby.as_ref().expect("the fleet was started with a standby").server
    }

    fn ways(&self) -> impl Iterator<Item = &Proxy> {
        self.replicas.iter().map(|replica| &replica.database).chain([&self.outside])
    }

    /// The URL of the fleet's database on this server, without a proxy.
    pub fn database_on(&self, server: &Postgres) -> String {
        let (_, database) = self.places.primary.rsplit_once('/').expect("a URL has a path");
        let (cluster, _) = server.url().rsplit_once('/').expect("a URL has a path");
        format!("{cluster}/{database}")
    }

    /// Waits until the whole fleet is back to normal: each replica is ready, takes writes, and
    /// answers with figures at most two seconds old, from memory if it has one. Prints how long
    /// this took since the dependency was back, and fails if it takes longer than [`BACK_AT_LAST`].
    #[track_caller]
    pub fn is_back(&self, what: &str, since: Instant) -> impl Future<Output = Duration> {
        let left = BACK_AT_LAST.saturating_sub(since.elapsed());
        let waiting = wait_until_within(left, "each replica is back to normal", async || {
            for replica in &self.replicas {
                if !replica.is_well(&self.probed).await {
                    return false;
                }
            }
            true
        });
        async move {
            waiting.await;
            let took = since.elapsed();
            eprintln!(
                "{what}: back to normal after {} ms; {} are meant",
                took.as_millis(),
                BACK.as_millis()
            );
            took
        }
    }
}

impl Replica {
    pub fn service(&self) -> &Service {
        self.service.as_ref().expect("it runs")
    }

    pub fn is_up(&self) -> bool {
        self.service.is_some()
    }

    /// The status in `/health/ready`, which answers 200: `ready` or `degraded`, and the
    /// dependencies that are down.
    pub async fn readiness(&self) -> (String, Vec<String>) {
        let answer = self.service().get("/health/ready").await;
        assert_eq!(answer.status(), 200, "a replica that serves is not ready");
        let body: Value = answer.json().await.expect("it is JSON");
        let down = body["dependencies"]
            .as_array()
            .expect("it names them")
            .iter()
            .filter(|dependency| dependency["state"] == "down");
        let name = |value: &Value| value.as_str().expect("it has a name").to_owned();
        (name(&body["status"]), down.map(|dependency| name(&dependency["name"])).collect())
    }

    /// The sum of a counter over its labels.
    pub async fn counted(&self, counter: &str) -> f64 {
        let metrics = self.service().get("/metrics").await.text().await.expect("it is text");
        let of_it = |line: &&str| {
            line.strip_prefix(counter).is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let value =
            |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        metrics
            .lines()
            .filter(of_it)
            .map(|line| value(line).unwrap_or_else(|| panic!("this line is not a sample: {line}")))
            .sum()
    }

    async fn is_well(&self, site: &Site) -> bool {
        let service = self.service();
        if self.readiness().await.0 != "ready" {
            return false;
        }
        let request = site.request(uuid::Uuid::new_v4(), jiff::Timestamp::now());
        let posted = service
            .request(reqwest::Method::POST, "/v1/events")
            .json(&request)
            .timeout(Duration::from_secs(5))
            .send()
            .await;
        if !posted.is_ok_and(|answer| answer.status() == 200) {
            return false;
        }
        let path = format!("/v1/facilities/{}/summaries/today", site.facility);
        let read = || {
            service.request(reqwest::Method::GET, &path).header("cache-control", "max-age=2").send()
        };
        // If the change reached memory by itself, the first read finds it there.
        for _ in 0..2 {
            let Ok(answer) = read().await else { return false };
            let from = answer
                .headers()
                .get("cache-status")
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            if answer.status() == 200
                && (from == "facility-summary; hit; detail=memory" || !self.remembers)
            {
                return true;
            }
        }
        false
    }
}

/// The address in a URL such as `postgres://user:password@127.0.0.1:5432/name`.
pub fn socket(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").expect("it is a URL");
    let host = rest.split('/').next().and_then(|authority| authority.rsplit('@').next());
    host.and_then(|host| host.parse().ok())
        .unwrap_or_else(|| panic!("{url} names no address and port"))
}

/// The same URL with the address of a proxy.
pub fn through(url: &str, proxy: &Proxy) -> String {
    url.replacen(&socket(url).to_string(), &proxy.address.to_string(), 1)
}
