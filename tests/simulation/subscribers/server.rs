//! What a hub asks of its server, as the schedule answers it: the time, whether the stream is
//! attached, and reads, which take steps like all others.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use facility_summary::{
    access::Visible,
    cache::memory::Memory,
    changes::Attachment,
    directory::{Directory, Located},
    domain::{day::Day, summary::Key},
    live::server::{Found, FoundTotals, Least, NotFound, Server},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    directory, fills,
    mutants::Mutant,
    places::{facility_of, index},
    refresh::{Work, refresh},
    views,
    world::Sim,
};

/// The greatest age of what is shown first, in milliseconds, and of what no watermark counts for.
const MAX_AGE_MS: i64 = 10_000;
const UNPROVEN_MS: i64 = 1_000;
/// Totals may be so old, in milliseconds, as in the setting `lists.render_interval_ms`.
const RENDER_INTERVAL_MS: i64 = 300;
const ATTEMPTS: usize = 3;

/// What a hub has asked for.
pub enum Asked {
    Today { facility: Uuid, least: Least, told: oneshot::Sender<Result<Found, NotFound>> },
    Facility { facility: Uuid, told: oneshot::Sender<Result<(), NotFound>> },
    Totals { visible: Visible, told: oneshot::Sender<Option<FoundTotals>> },
}

impl Asked {
    /// An order that does not depend on that of a hash map.
    fn rank(&self) -> (usize, Uuid, String) {
        match self {
            Asked::Today { facility, .. } => (0, *facility, String::new()),
            Asked::Facility { facility, .. } => (1, *facility, String::new()),
            Asked::Totals { visible, .. } => (2, Uuid::nil(), format!("{visible:?}")),
        }
    }
}

/// The server of a hub.
pub struct SimServer {
    memory: Arc<Memory>,
    directory: Arc<Directory>,
    /// `None`: the server is alone.
    attachment: Option<Arc<Attachment>>,
    mutant: Option<Mutant>,
    now_ms: AtomicI64,
    asked: Mutex<Vec<Asked>>,
    /// The totals that were put together last: when, for whom, as of when.
    totals: Mutex<Option<(i64, String, Value, i64)>>,
}

impl SimServer {
    /// A server with these tiers.
    pub fn new(
        memory: Arc<Memory>,
        directory: Arc<Directory>,
        attachment: Option<Arc<Attachment>>,
        mutant: Option<Mutant>,
        now_ms: i64,
    ) -> Self {
        SimServer {
            memory,
            directory,
            attachment,
            mutant,
            now_ms: AtomicI64::new(now_ms),
            asked: Mutex::default(),
            totals: Mutex::default(),
        }
    }

    /// The time as this server knows it.
    pub fn now(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// The time goes on.
    pub fn set_now(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether the stream is within this process.
    pub fn is_alone(&self) -> bool {
        self.attachment.is_none()
    }

    /// Whether changes of other servers really arrive.
    pub fn receives_changes(&self) -> bool {
        self.attachment.as_ref().is_none_or(|attachment| attachment.is_attached())
    }

    /// What was asked for since the last call, in an order of its own.
    pub fn take_asked(&self) -> Vec<Asked> {
        let mut asked =
            std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        asked.sort_by_key(Asked::rank);
        asked
    }

    fn ask(&self, asked: Asked) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }

    /// What memory has of this day, whatever its age.
    fn held(&self, located: &Located, day: Day, least: i64) -> Option<Found> {
        let key = Key { facility_id: located.facility.id, date: day.date };
        let entry = self.memory.get(&key).filter(|entry| entry.is_of(&day))?;
        if entry.version < least {
            return None;
        }
        let as_of_ms = match self.mutant {
            Some(Mutant::ShowsReadsAsYoung) => self.now(),
            _ => self.memory.exact_as_of_ms_within(&entry, located.as_of_ms).min(self.now()),
        };
        Some(Found { day, entry, as_of_ms })
    }
}

#[async_trait]
impl Server for SimServer {
    fn now_ms(&self) -> i64 {
        self.now()
    }

    fn latest_ms(&self) -> i64 {
        self.now()
    }

    fn is_in_outage(&self) -> bool {
        false
    }

    fn is_attached(&self) -> bool {
        self.receives_changes() || self.mutant == Some(Mutant::HidesLosses)
    }

    fn read_memory(&self, facility: Uuid, min_version: i64) -> Option<Found> {
        let located = self.directory.locate(facility)?;
        let day = located.facility.zone.today(self.now());
        let found = self.held(&located, day, min_version)?;
        let age_ms = self.now() - found.as_of_ms;
        let is_proven = self.memory.is_attached(&found.entry) && self.receives_changes();
        (age_ms <= MAX_AGE_MS && (is_proven || age_ms <= UNPROVEN_MS)).then_some(found)
    }

    async fn read(self: Arc<Self>, facility: Uuid, least: Least) -> Result<Found, NotFound> {
        let (told, hears) = oneshot::channel();
        self.ask(Asked::Today { facility, least, told });
        hears.await.unwrap_or(Err(NotFound::Unavailable))
    }

    async fn find(self: Arc<Self>, facility: Uuid) -> Result<(), NotFound> {
        let (told, hears) = oneshot::channel();
        self.ask(Asked::Facility { facility, told });
        hears.await.unwrap_or(Err(NotFound::Unavailable))
    }

    async fn read_totals(self: Arc<Self>, visible: Visible) -> Option<FoundTotals> {
        let (told, hears) = oneshot::channel();
        self.ask(Asked::Totals { visible, told });
        hears.await.ok().flatten()
    }
}

/// Answers a hub, in steps.
pub async fn answer(sim: Sim, r: usize, asked: Asked) {
    sim.step().await;
    match asked {
        Asked::Today { facility, least, told } => {
            let Some(live) = sim.live(r) else { return };
            live.tap.reads(facility, false);
            let found = read_today(&sim, r, facility, least).await;
            sim.step().await; // the shard hears of it later
            live.tap.reads(facility, true);
            let _ = told.send(found);
        }
        Asked::Facility { facility, told } => {
            let _ = told.send(find(&sim, r, facility).await.map(drop));
        }
        Asked::Totals { visible, told } => {
            let _ = told.send(read_totals(&sim, r, &visible).await);
        }
    }
}

async fn find(sim: &Sim, r: usize, facility: Uuid) -> Result<Located, NotFound> {
    if directory::reload(sim, r, &[facility]).await.is_err() {
        return Err(NotFound::Unavailable);
    }
    sim.directory(r).locate(facility).ok_or(NotFound::Gone)
}

/// As the tiers of the service do: memory, a tier below it, a refresh.
async fn read_today(sim: &Sim, r: usize, facility: Uuid, least: Least) -> Result<Found, NotFound> {
    if facility.is_nil() {
        return Err(NotFound::Gone); // units of a bank that is in no facility
    }
    let Some(live) = sim.live(r) else { return Err(NotFound::Unavailable) };
    let server = live.server.clone();
    let (mut least, not_before) = match least {
        Least::Version(version) => (version, i64::MIN),
        Least::Now => (0, sim.world().clock(r)),
    };
    for attempt in 0..ATTEMPTS {
        if attempt + 1 == ATTEMPTS {
            least = 0; // the version is of another history
        }
        let located = match sim.directory(r).locate(facility) {
            Some(located) => located,
            None => find(sim, r, facility).await?,
        };
        let is_young = |found: &Found| {
            server.now() - found.as_of_ms <= MAX_AGE_MS && found.as_of_ms >= not_before
        };
        if let Some(found) = server.read_memory(facility, least).filter(is_young) {
            return Ok(found);
        }
        let day = located.facility.zone.today(sim.world().clock(r));
        let k = index(&Key { facility_id: facility, date: day.date });
        let from = {
            let world = &mut *sim.world();
            let sources = world.pace.sources;
            if sources == [0; 3] { 0 } else { world.one_of(&sources) }
        };
        match from {
            1 => fills::from_standby(sim.clone(), r, k).await,
            2 if !sim.is_alone() => fills::from_redis(sim.clone(), r, k).await,
            _ => fills::from_primary(sim.clone(), r, k).await,
        }
        if let Some(found) = server.held(&located, day, least).filter(is_young) {
            return Ok(found);
        }
        if sim.directory(r).get(facility).is_some() {
            let _ = refresh(sim, r, Work::Day(k)).await;
        }
        if let Some(found) = server.held(&located, day, least).filter(is_young) {
            return Ok(found);
        }
    }
    match sim.directory(r).get(facility) {
        Some(_) => Err(NotFound::Unavailable),
        None => Err(NotFound::Gone),
    }
}

/// The figures of each facility in the place of their sums, so that the judge sees what is in them.
async fn read_totals(sim: &Sim, r: usize, visible: &Visible) -> Option<FoundTotals> {
    let server = sim.live(r)?.server.clone();
    // A view, with its pages, is of one epoch.
    let name = format!("{visible:?} in {}", sim.memory(r).epoch_count());
    let rendered = server.totals.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((at_ms, of, totals, as_of_ms)) = rendered
        && of == name
        && (0..RENDER_INTERVAL_MS).contains(&(server.now() - at_ms))
    {
        return Some(FoundTotals { totals, as_of_ms, may_lag: true });
    }
    let (answers, as_of_ms) = views::of_today(sim, r).await?;
    if server.now() - as_of_ms > MAX_AGE_MS {
        return None;
    }
    let totals: Value = answers
        .iter()
        .filter(|(key, _)| visible.has(key.facility.id))
        .map(|(key, summary)| {
            json!({
                "facility": facility_of(&key.facility.id),
                "key": index(&key.id()),
                "activity": summary.total_transferred,
                "stock": summary.total_stock,
            })
        })
        .collect();
    let rendered = (server.now(), name, totals.clone(), as_of_ms);
    *server.totals.lock().unwrap_or_else(PoisonError::into_inner) = Some(rendered);
    Some(FoundTotals { totals, as_of_ms, may_lag: false })
}
