//! The hub: gets what memory takes in, and hands it to the shards, one for each HTTP worker.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dashmap::{DashMap, Entry as Count};
use uuid::Uuid;

use super::{
    inbox::{Got, Inbox},
    pushed::Pushed,
    replay::{Replay, Since},
    server::Server,
};
use crate::{
    access::{Guard, network::Network},
    cache::{
        memory::Memory,
        watcher::{Taken, Watcher},
    },
    config::LiveSettings,
    directory::Directory,
    metrics::Metrics,
    protocol::Position,
};

/// What the hub needs.
pub struct HubParts {
    /// The memory tier, which tells what it takes in.
    pub memory: Arc<Memory>,
    /// The facilities, and the epoch that is served.
    pub directory: Arc<Directory>,
    /// Reads, the time, and what is lost.
    pub server: Arc<dyn Server>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Verifies credentials; `None` where there is no sign-in.
    pub guard: Option<Arc<Guard>>,
    /// The settings.
    pub settings: LiveSettings,
    /// The stream of changes is within this process.
    pub is_alone: bool,
}

/// Knows all clients of this process.
pub struct Hub {
    /// What it uses.
    pub parts: HubParts,
    inboxes: RwLock<Vec<Arc<Inbox>>>,
    replay: Mutex<Replay>,
    pub(super) clients: AtomicUsize,
    of: DashMap<Payer, usize>,
    /// When another client may connect.
    next: Mutex<Option<Instant>>,
    is_draining: AtomicBool,
    /// It was said that there are few places left.
    has_warned: AtomicBool,
    taken: AtomicU64,
}

/// For whom a client counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Payer {
    /// Somebody who is signed in, by the principal's id.
    Principal(String),
    /// An address, as the limits count it.
    Address(Network),
}

/// Why a client is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The server stops.
    Draining,
    /// There are as many as there may be.
    Clients,
    /// The principal or the address has as many as it may have.
    OfOne,
    /// Too many come at once.
    Rate,
}

impl Full {
    /// The word for it: the value of the metric label `outcome`, and the code in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Full::Draining => "draining",
            Full::Clients => "full",
            Full::OfOne => "too_many_of_one",
            Full::Rate => "busy",
        }
    }
}

/// The place of a client, until it is dropped.
pub struct Seat {
    hub: Arc<Hub>,
    is_counted: bool,
    payers: Vec<Payer>,
}

/// An age of the watermark from which on nothing counts as proven, in milliseconds.
const UNPROVEN_MS: i64 = 10_000;
/// How many connects may come at once before their rate is bounded.
const BURST: u32 = 200;

impl Hub {
    /// Without clients yet.
    pub fn new(parts: HubParts) -> Arc<Self> {
        let hub = Arc::new(Hub {
            parts,
            inboxes: RwLock::default(),
            replay: Mutex::default(),
            clients: AtomicUsize::new(0),
            of: DashMap::new(),
            next: Mutex::default(),
            is_draining: AtomicBool::new(false),
            has_warned: AtomicBool::new(false),
            taken: AtomicU64::new(0),
        });
        hub.replay().begin(hub.parts.memory.fill_token().position);
        hub.parts.memory.watch_by(hub.clone());
        hub
    }

    fn replay(&self) -> std::sync::MutexGuard<'_, Replay> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each_inbox(&self, f: impl FnMut(&Arc<Inbox>)) {
        self.inboxes.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(f);
    }

    /// A new shard's inbox.
    pub fn join(&self) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::default());
        self.inboxes.write().unwrap_or_else(PoisonError::into_inner).push(inbox.clone());
        inbox
    }

    /// How many clients of this server follow a facility by its id.
    pub fn viewers_of(&self, facility: Uuid) -> usize {
        let mut count = 0;
        self.each_inbox(|inbox| count += inbox.viewers_of(facility));
        count
    }

    /// The same of each facility that has any.
    pub fn viewers(&self) -> HashMap<Uuid, usize> {
        let mut counts = HashMap::new();
        self.each_inbox(|inbox| inbox.add_viewers(&mut counts));
        counts
    }

    /// The instant as of which everything that was handed to the shards is exact, in milliseconds;
    /// `None`: nothing is proven.
    pub fn proven_ms(&self) -> Option<i64> {
        let proven_ms = self.parts.memory.proven_ms();
        let at_ms = proven_ms.min(self.parts.directory.exact_as_of_ms());
        (at_ms != i64::MIN).then_some(at_ms)
    }

    /// Why nothing can be proven now, in a word; `None` where it can.
    pub fn lost(&self) -> Option<&'static str> {
        if self.parts.server.is_in_outage() {
            return Some("source");
        }
        if !self.parts.server.is_attached() {
            return Some("stream");
        }
        let age_ms = |at_ms: i64| self.parts.server.now_ms().saturating_sub(at_ms);
        match self.proven_ms() {
            Some(at_ms) if age_ms(at_ms) <= UNPROVEN_MS => None,
            _ => Some("unproven"),
        }
    }

    /// What has changed since a position of the epoch that is served; `None` where that is not
    /// known.
    pub fn since(&self, at: Position) -> Option<Since> {
        let here = self.parts.memory.fill_token().position;
        let is_reached = here.generation == at.generation && here.number >= at.number;
        self.replay().since(at).filter(|_| is_reached)
    }

    /// Notes that a facility has changed, for clients that come back. Where the stream is within
    /// this process, so are all positions, and what is ahead of it comes next.
    fn note(&self, facility: Uuid, at: Position, is_ahead: bool) {
        let server = &self.parts.server;
        match is_ahead && !self.parts.is_alone {
            true => self.replay().note_read(facility, server.latest_ms()),
            false => self.replay().note(at, server.now_ms(), Some(facility)),
        }
    }

    /// Takes a client, or says why not.
    ///
    /// # Errors
    /// There are too many, or the server stops.
    pub fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Seat, Full> {
        if self.is_draining.load(Ordering::Acquire) {
            return Err(Full::Draining);
        }
        let settings = &self.parts.settings;
        let is_free = |count: usize| (count < settings.max_clients).then_some(count + 1);
        if self.clients.fetch_update(Ordering::AcqRel, Ordering::Acquire, is_free).is_err() {
            return Err(Full::Clients);
        }
        let mut seat = Seat { hub: self.clone(), is_counted: true, payers: Vec::new() };
        self.warn_of_few_places();
        if let Some(address) = address {
            let payer = Payer::Address(Network::of(address));
            seat.count_for(payer, settings.clients_per_address)?;
        }
        self.take_turn()?;
        Ok(seat)
    }

    /// Says once that nine tenths of the places are taken, and again only after a fifth was free.
    fn warn_of_few_places(&self) {
        let (clients, most) = (self.clients(), self.parts.settings.max_clients);
        if clients * 10 >= most * 9 {
            if !self.has_warned.swap(true, Ordering::AcqRel) {
                tracing::warn!(
                    clients,
                    most,
                    "nine tenths of the places of live clients are taken (setting live.max_clients)"
                );
            }
        } else if clients * 5 < most * 4 {
            self.has_warned.store(false, Ordering::Release);
        }
    }

    /// Bounds the rate of connects, so that those that are there are served while others come back.
    fn take_turn(&self) -> Result<(), Full> {
        let per_second = self.parts.settings.connects_per_second;
        if per_second == 0 {
            return Ok(());
        }
        let each = Duration::from_secs(1) / per_second;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = next.map_or(now, |next| next.max(now));
        if due.duration_since(now) > each * BURST.max(per_second) {
            return Err(Full::Rate);
        }
        *next = Some(due + each);
        Ok(())
    }

    /// How many states memory has taken in.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Whether the server stops.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Takes no more clients.
    pub fn refuse(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// Tells all clients to come back later, and waits until they have been told.
    pub async fn drain(&self) {
        self.refuse();
        self.each_inbox(|inbox| inbox.tell(|got| got.drains = true));
        let told = async {
            while self.clients() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(5), told).await.is_err() {
            tracing::warn!(clients = self.clients(), "live clients did not take their farewell");
        }
    }
}

impl Seat {
    /// That of a client that is told to go.
    pub fn none(hub: &Arc<Hub>) -> Self {
        Seat { hub: hub.clone(), is_counted: false, payers: Vec::new() }
    }

    /// Counts the client for one more.
    ///
    /// # Errors
    /// That one has as many as it may have.
    pub fn count_for(&mut self, payer: Payer, most: usize) -> Result<(), Full> {
        if most == 0 || self.payers.contains(&payer) {
            return Ok(());
        }
        let mut count = self.hub.of.entry(payer.clone()).or_insert(0);
        if *count >= most {
            return Err(Full::OfOne);
        }
        *count += 1;
        drop(count);
        self.payers.push(payer);
        Ok(())
    }

    /// Counts it for whom it signed in as.
    ///
    /// # Errors
    /// The principal has as many as it may have.
    pub fn count_for_principal(&mut self, id: &str) -> Result<(), Full> {
        let most = self.hub.parts.settings.clients_per_principal;
        self.count_for(Payer::Principal(id.to_owned()), most)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.is_counted {
            self.hub.clients.fetch_sub(1, Ordering::AcqRel);
        }
        for payer in self.payers.drain(..) {
            if let Count::Occupied(mut count) = self.hub.of.entry(payer) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

impl Watcher for Hub {
    fn took(&self, taken: &Taken<'_>) {
        let Taken { key, entry, is_change, at, is_ahead, epoch } = *taken;
        if is_change {
            self.note(key.facility_id, at, is_ahead);
            self.taken.fetch_add(1, Ordering::AcqRel);
        }
        let mut pushed = None;
        self.each_inbox(|inbox| {
            let pushed = pushed.get_or_insert_with(|| {
                Pushed::new(key.facility_id, key.date, entry.clone(), entry.as_of_ms, epoch)
            });
            if inbox.push(&key, pushed) {
                self.parts.metrics.live_dropped.inc();
            }
        });
    }

    fn named_facilities(&self, ids: &[Uuid]) {
        self.each_inbox(|inbox| inbox.tell(|got: &mut Got| got.facilities.extend(ids)));
    }

    fn changed_facilities(&self, ids: &[Uuid], at: Position) {
        ids.iter().for_each(|id| self.note(*id, at, true));
        self.each_inbox(|inbox| inbox.tell(|got: &mut Got| got.facilities.extend(ids)));
    }

    fn proved(&self, at_ms: i64, at: Position) {
        self.replay().prove(at, self.parts.server.now_ms(), at_ms);
    }

    fn broke(&self, at: Position) {
        self.replay().begin(at);
        self.each_inbox(|inbox| inbox.tell(|got| got.broke = true));
    }
}
