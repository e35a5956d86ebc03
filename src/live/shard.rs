//! A shard: the clients of one HTTP worker. Everything of it happens on that worker's thread.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use prometheus::{Histogram, IntCounter, IntGauge};
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    cell::FacilityCell,
    connection::Connection,
    feed::Feed,
    hub::Hub,
    inbox::Inbox,
    pushed::Pushed,
    slots::{Slot, State},
    wire::{self, Transport},
};
use crate::{
    domain::totals::Uncounted,
    protocol::{Epoch, Position},
};

/// The time between two ticks.
pub const TICK: Duration = Duration::from_millis(50);

/// The ticks of so many seconds.
pub const fn ticks(seconds: u64) -> u64 {
    seconds * 20
}

/// The metric cells of a transport.
pub struct MetricCells {
    pub(super) clients: IntGauge,
    pub(super) messages: IntCounter,
    pub(super) bytes: IntCounter,
    pub(super) delay: Histogram,
}

/// The clients of one worker.
pub struct Shard {
    /// The hub.
    pub hub: Arc<Hub>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) cells: RefCell<HashMap<Uuid, Rc<FacilityCell>>>,
    pub(super) connections: RefCell<Vec<Option<Rc<Connection>>>>,
    free: RefCell<Vec<usize>>,
    pub(super) feed: RefCell<Feed>,
    pub(super) follow_all: Cell<usize>,
    /// Counts the ticks.
    pub(super) tick: Cell<u64>,
    /// The epoch that clients were told, and how memory counted then.
    pub(super) epoch: RefCell<Option<Arc<Epoch>>>,
    pub(super) count: Cell<u32>,
    /// Since this tick it is not known which epoch it is.
    pub(super) unsettled: Cell<Option<u64>>,
    /// Everything up to this position was handed out.
    pub(super) position: Cell<Position>,
    /// Everything that was handed out is exact as of this, in milliseconds.
    pub(super) proven_ms: Cell<Option<i64>>,
    /// What clients were told of a loss: as of when they have everything, and what is lost.
    pub(super) lost: Cell<Option<(Option<i64>, &'static str)>>,
    /// Since this tick something is lost, which clients were not told yet.
    pub(super) lost_since: Cell<Option<u64>>,
    pub(super) totals_of: Cell<u64>,
    /// Somebody has no totals yet of the facilities that it may see.
    pub(super) wants_totals: Cell<bool>,
    /// Tells those that wait for something that a turn may bring.
    pub(super) turned: Notify,
    metrics: [MetricCells; 2],
}

thread_local! {
    static SHARD: RefCell<Option<Rc<Shard>>> = const { RefCell::new(None) };
}

impl Shard {
    /// The shard of this thread. The first call starts it.
    pub fn of_this_thread(hub: &Arc<Hub>) -> Rc<Shard> {
        SHARD.with(|shard| {
            shard
                .borrow_mut()
                .get_or_insert_with(|| {
                    let shard = Rc::new(Shard::new(hub.clone()));
                    tokio::task::spawn_local(shard.clone().run());
                    shard
                })
                .clone()
        })
    }

    /// A shard that does nothing until it is run, or somebody calls `turn` and `tick` for it.
    pub fn new(hub: Arc<Hub>) -> Self {
        let metrics = &hub.parts.metrics;
        let metrics = [Transport::Websocket, Transport::Sse].map(|transport| {
            let of = &[transport.name()];
            MetricCells {
                clients: metrics.live_clients.with_label_values(of),
                messages: metrics.live_messages.with_label_values(of),
                bytes: metrics.live_bytes.with_label_values(of),
                delay: metrics.live_push_delay.with_label_values(of),
            }
        });
        Shard {
            inbox: hub.join(),
            cells: RefCell::default(),
            connections: RefCell::default(),
            free: RefCell::default(),
            feed: RefCell::default(),
            follow_all: Cell::new(0),
            tick: Cell::new(0),
            epoch: RefCell::new(hub.parts.directory.served().load_full()),
            count: Cell::new(hub.parts.memory.epoch_count()),
            unsettled: Cell::new(None),
            position: Cell::new(hub.parts.memory.fill_token().position),
            proven_ms: Cell::new(hub.proven_ms()),
            lost: Cell::new(None),
            lost_since: Cell::new(None),
            totals_of: Cell::new(0),
            wants_totals: Cell::new(false),
            turned: Notify::new(),
            metrics,
            hub,
        }
    }

    /// Works for as long as the worker does.
    pub async fn run(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_tick = tokio::select! {
                biased; // many changes must not hold up heartbeats
                _ = ticks.tick() => true,
                () = self.inbox.arrived() => false,
            };
            let work = || {
                self.turn();
                if is_tick {
                    self.tick();
                }
            };
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                self.hub.parts.metrics.panics.inc();
                tracing::error!("live clients: a turn panicked; the next one goes on");
            }
        }
    }

    pub(super) fn cells_of(&self, transport: Transport) -> &MetricCells {
        &self.metrics[transport as usize]
    }

    /// Takes a client in, and greets it.
    pub fn add(&self, connection: &Rc<Connection>) {
        let mut connections = self.connections.borrow_mut();
        let number = self.free.borrow_mut().pop().unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        connection.number.set(number);
        connections[number] = Some(connection.clone());
        drop(connections);
        self.cells_of(connection.transport).clients.inc();
        let tick = self.tick.get();
        let max_age = self.hub.parts.settings.max_age_seconds;
        let spread = rand::random_range(0.9..1.1);
        let mut state = connection.state();
        (state.heard_at, state.budget) = (tick, (super::access::MESSAGES, tick));
        if max_age > 0 {
            state.ends_at = tick + (ticks(max_age) as f64 * spread) as u64;
        }
        drop(state);
        connection.control("hello", self.hello());
        if let Some(lost) = self.lost.get() {
            connection.control("stalled", stalled(lost));
        }
    }

    fn hello(&self) -> serde_json::Value {
        let settings = &self.hub.parts.settings;
        json!({
            "epoch": self.epoch_name(),
            "heartbeat_ms": settings.heartbeat_seconds * 1_000,
            "exact_as_of": wire::instant(self.proven_ms.get()),
            "now": self.now(),
        })
    }

    /// The latest instant that the database's clock can show, as messages show it.
    pub fn now(&self) -> serde_json::Value {
        wire::instant(Some(self.hub.parts.server.latest_ms()))
    }

    pub(super) fn epoch_name(&self) -> serde_json::Value {
        self.epoch.borrow().as_ref().map_or(serde_json::Value::Null, |epoch| epoch.name().into())
    }

    /// A client has gone.
    pub fn remove(&self, connection: &Rc<Connection>) {
        let number = connection.number.get();
        let Some(at) = self.connections.borrow_mut().get_mut(number).and_then(Option::take) else {
            return;
        };
        if !Rc::ptr_eq(&at, connection) {
            self.connections.borrow_mut()[number] = Some(at);
            return;
        }
        self.leave_everything(connection);
        connection.number.set(usize::MAX);
        self.free.borrow_mut().push(number);
        self.cells_of(connection.transport).clients.dec();
    }

    pub(super) fn connection(&self, number: usize) -> Option<Rc<Connection>> {
        self.connections.borrow().get(number)?.clone()
    }

    /// All clients, as they are now.
    pub(super) fn everybody(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().iter().flatten().cloned().collect()
    }

    pub(super) fn newest(&self, facility: Uuid) -> Option<Arc<Pushed>> {
        self.cells.borrow().get(&facility)?.newest()
    }

    /// A heartbeat: as of when the client has everything that can be counted.
    pub(super) fn heartbeat(&self, transport: Transport, state: &State) -> Bytes {
        let (exact_ms, uncounted) = self.exact_ms(state);
        let mut exact = json!({
            "type": "heartbeat", "exact_as_of": wire::instant(exact_ms), "now": self.now(),
        });
        if let Some(uncounted) = Uncounted::of(uncounted) {
            exact["cannot_be_counted"] = json!(uncounted);
        }
        match transport {
            Transport::Websocket => transport.message("heartbeat", exact.to_string().as_bytes()),
            Transport::Sse => {
                self.with_id(wire::event("heartbeat", exact.to_string().as_bytes()), state)
            }
        }
    }

    /// The instant as of which what the client follows is exact, in milliseconds, as far as that
    /// can be counted; and the number of facilities that cannot.
    fn exact_ms(&self, state: &State) -> (Option<i64>, usize) {
        if state.held > 0 || state.slots.iter().any(Slot::is_ahead) {
            return (None, 0);
        }
        let cells = self.cells.borrow();
        let (exact_ms, uncounted) = match state.all {
            None => self.exact_ms_of(state.slots.iter().filter_map(|slot| slot.cell.as_ref())),
            Some(_) => self.exact_ms_of(cells.values().filter(|cell| state.visible.has(cell.id))),
        };
        match &state.totals {
            None => (exact_ms, uncounted),
            // `None`, where nothing is proven of one, is less than any instant.
            Some(totals) => (exact_ms.min(totals.as_of_ms), uncounted),
        }
    }

    fn exact_ms_of<'a>(
        &self,
        cells: impl Iterator<Item = &'a Rc<FacilityCell>>,
    ) -> (Option<i64>, usize) {
        let memory = &self.hub.parts.memory;
        let proven_ms = self.proven_ms.get();
        let (mut exact_ms, mut uncounted) = (proven_ms, 0);
        for cell in cells {
            let cell = cell.state.borrow();
            if cell.is_gone {
                continue;
            }
            if cell.is_still() {
                uncounted += 1;
                continue;
            }
            let of_cell = proven_ms.and_then(|proven_ms| cell.exact_ms(memory, proven_ms));
            exact_ms = exact_ms.min(of_cell);
        }
        (exact_ms, uncounted)
    }

    /// An event with its end. Its id says that the client has everything up to there, of the
    /// facilities that it follows, and of no others.
    pub(super) fn with_id(&self, event: Bytes, state: &State) -> Bytes {
        let mut whole = BytesMut::from(&event[..]);
        let has_everything = state.nothing_waits(self.last_of_all()) && state.has_newest();
        if has_everything && let Some(epoch) = &*self.epoch.borrow() {
            let Position { generation, number } = self.position.get();
            let (epoch, followed) = (epoch.name(), state.followed());
            let id = format!("id: {epoch}.{generation}.{number}.{followed:016x}\n");
            whole.extend_from_slice(id.as_bytes());
        }
        whole.extend_from_slice(b"\n");
        whole.freeze()
    }
}

/// What a client is told of a loss.
pub(super) fn stalled((since_ms, reason): (Option<i64>, &'static str)) -> serde_json::Value {
    json!({ "since": wire::instant(since_ms), "reason": reason })
}
