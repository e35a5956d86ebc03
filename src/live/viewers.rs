//! How many clients follow each facility, on all servers together. About: each server tells the
//! others by Redis every few seconds, and only what has changed.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use deadpool_redis::redis::{Script, cmd};
use futures_util::future::try_join_all;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::hub::Hub;
use crate::{
    protocol::Epoch,
    redis::{CommandError, Link},
};

const PUT: &str = include_str!("viewers.lua");
static PUT_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(PUT));
const NAME: &str = include_str!("viewing_servers.lua");
static NAME_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(NAME));

/// Under this name commands are counted.
const COUNTED: &str = "viewers";
/// The time between two looks at what has changed.
const EACH: Duration = Duration::from_secs(5);
/// What has not changed is renewed after this time.
const RENEW: Duration = Duration::from_secs(10);
/// A server that has died counts for so many seconds more, at most.
const KEEP_SECONDS: i64 = 30;
/// The most facilities of one write.
const CHUNK: usize = 1_000;

/// The viewers of each facility.
pub struct Viewers {
    hub: Arc<Hub>,
    /// `None` without Redis: then those of this server are all.
    shared: Option<Shared>,
}

/// What the servers tell each other.
struct Shared {
    link: Arc<Link>,
    /// The name of this server. Another one after each start.
    server: String,
    told: Mutex<Told>,
}

/// What the others know of this server.
#[derive(Default)]
struct Told {
    epoch: Option<Arc<Epoch>>,
    counts: HashMap<Uuid, usize>,
    /// The number of the last write; 0: what is in Redis is not known, and is written anew.
    write: u64,
    at: Option<Instant>,
    /// This server stops, and says nothing more.
    is_over: bool,
}

impl Viewers {
    /// Those of the clients of a hub, and of the other servers by Redis, until `stop`.
    pub fn start(hub: &Arc<Hub>, link: Option<Arc<Link>>, stop: &CancellationToken) -> Arc<Self> {
        let server = Uuid::new_v4().simple().to_string();
        let shared = link.map(|link| Shared { link, server, told: Mutex::default() });
        let viewers = Arc::new(Viewers { hub: hub.clone(), shared });
        if viewers.shared.is_some() {
            tokio::spawn(viewers.clone().tell_others(stop.clone()));
        }
        viewers
    }

    /// How many clients follow a facility by its id; `None` while Redis does not answer.
    pub async fn of(&self, facility: Uuid) -> Option<usize> {
        let here = self.hub.viewers_of(facility);
        let Some(shared) = &self.shared else { return Some(here) };
        let epoch = self.hub.parts.directory.served().load_full()?;
        let now_ms = self.hub.parts.server.now_ms();
        Some(here + shared.elsewhere(&epoch, facility, now_ms).await.ok()?)
    }

    /// Tells the other servers how many there are here, until `stop`.
    async fn tell_others(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = tokio::time::interval(EACH);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            // The link logs and counts a Redis that does not answer.
            if let Err(error) = self.tell().await {
                tracing::debug!(%error, "other servers were not told of the viewers here");
            }
        }
    }

    async fn tell(&self) -> Result<(), CommandError> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let Some(epoch) = self.hub.parts.directory.served().load_full() else { return Ok(()) };
        let mut told = shared.told.lock().await;
        if told.is_over {
            return Ok(());
        }
        if told.epoch.as_ref() != Some(&epoch) {
            *told = Told { epoch: Some(epoch.clone()), ..Told::default() };
        }
        let counts = self.hub.viewers();
        if counts.is_empty() && told.counts.is_empty() {
            return Ok(()); // what is there of this server runs out
        }
        let changed = changed(&told.counts, &counts);
        let is_recent = told.at.is_some_and(|at| at.elapsed() < RENEW);
        if told.write > 0 && changed.is_empty() && is_recent {
            return Ok(());
        }
        let all: Vec<_> = counts.iter().map(|(id, count)| (*id, *count)).collect();
        told.counts = counts;
        // Until the writes have succeeded, nobody knows what is there.
        let last = std::mem::take(&mut told.write);
        let mut write = None;
        if last > 0 {
            write = shared.put(&epoch, last, &changed).await?;
        }
        if write.is_none() {
            write = shared.put(&epoch, 0, &all).await?;
        }
        shared.name_this(&epoch, self.hub.parts.server.now_ms()).await?;
        (told.write, told.at) = (write.unwrap_or(0), Some(Instant::now()));
        Ok(())
    }

    /// This server stops: its clients go on at others, and are not to count twice.
    pub async fn leave(&self) {
        let Some(shared) = &self.shared else { return };
        let mut told = shared.told.lock().await;
        told.is_over = true;
        let Some(epoch) = told.epoch.take().filter(|_| told.at.is_some()) else { return };
        let (mut name, mut counts) = (cmd("ZREM"), cmd("DEL"));
        name.arg(list_name(&epoch)).arg(&shared.server);
        counts.arg(hash_name(&epoch, &shared.server));
        for command in [name, counts] {
            if let Err(error) = shared.link.query::<i64>(COUNTED, &command).await {
                tracing::debug!(%error, "the viewers of this server count until they run out");
            }
        }
    }
}

impl Shared {
    /// Those of the other servers.
    async fn elsewhere(
        &self,
        epoch: &Epoch,
        facility: Uuid,
        now_ms: i64,
    ) -> Result<usize, CommandError> {
        let mut servers = cmd("ZRANGEBYSCORE");
        servers.arg(list_name(epoch)).arg(now_ms).arg("+inf");
        let servers: Vec<String> = self.link.query(COUNTED, &servers).await?;
        let others = servers.iter().filter(|server| **server != self.server);
        let counts = others.map(|server| async move {
            let mut count = cmd("HGET");
            count.arg(hash_name(epoch, server)).arg(facility.to_string());
            self.link.query::<Option<usize>>(COUNTED, &count).await
        });
        Ok(try_join_all(counts).await?.into_iter().flatten().sum())
    }

    /// Writes what has changed behind the write `last` (0: all of it), and returns the number of
    /// the last write; `None` where Redis has lost what was there.
    async fn put(
        &self,
        epoch: &Epoch,
        last: u64,
        changed: &[(Uuid, usize)],
    ) -> Result<Option<u64>, CommandError> {
        let key = hash_name(epoch, &self.server);
        let mut write = last;
        // A write without facilities renews what is there.
        let nothing: &[(Uuid, usize)] = &[];
        let chunks = changed.chunks(CHUNK).chain(changed.is_empty().then_some(nothing));
        for some in chunks {
            let head = [KEEP_SECONDS.to_string(), write.to_string(), (write + 1).to_string()];
            let pairs = some.iter().flat_map(|(id, count)| [id.to_string(), count.to_string()]);
            let arguments: Vec<String> = head.into_iter().chain(pairs).collect();
            let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
            let is_put: bool = self.link.eval(COUNTED, &PUT_SCRIPT, PUT, &key, &arguments).await?;
            if !is_put {
                return Ok(None);
            }
            write += 1;
        }
        Ok(Some(write))
    }

    /// Has the others look for what this server has.
    async fn name_this(&self, epoch: &Epoch, now_ms: i64) -> Result<(), CommandError> {
        let until_ms = now_ms + KEEP_SECONDS * 1_000;
        let (until, now) = (until_ms.to_string(), now_ms.to_string());
        let keep = (2 * KEEP_SECONDS).to_string();
        let arguments = [self.server.as_bytes(), until.as_bytes(), now.as_bytes(), keep.as_bytes()];
        let key = list_name(epoch);
        self.link.eval::<i64>(COUNTED, &NAME_SCRIPT, NAME, &key, &arguments).await.map(drop)
    }
}

/// The facilities whose viewers are others now; 0 for those that have none any more.
fn changed(before: &HashMap<Uuid, usize>, now: &HashMap<Uuid, usize>) -> Vec<(Uuid, usize)> {
    let gone = before.keys().filter(|id| !now.contains_key(*id)).map(|id| (*id, 0));
    let others = now.iter().filter(|(id, count)| before.get(*id) != Some(*count));
    gone.chain(others.map(|(id, count)| (*id, *count))).collect()
}

fn list_name(epoch: &Epoch) -> String {
    format!("facility-summary:{epoch}:viewers")
}

fn hash_name(epoch: &Epoch, server: &str) -> String {
    format!("facility-summary:{epoch}:viewers:{server}")
}
