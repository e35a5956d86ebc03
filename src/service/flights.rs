//! Refreshes that readers wait for: one per key at a time, whose result all its readers share, and keys that wait together go together.
//!
//! A reader joins the flight that waits; one that takes an answer of any age above zero may also join the one in the air. The work runs
//! in tasks of its own, so that a reader that goes away takes nothing from the others.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, StreamExt};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};

use super::refresh::{Refreshed, Refresher};
use crate::{cache::memory::Key, domain::summary::DayKey, metrics::Trigger, store::StoreError};

/// Refresh transactions in the air at once: enough to keep two connections busy, few enough to leave the pool to writers.
const IN_THE_AIR: usize = 2;

/// What a flight brought home: the row, none where the day has not begun or the facility is gone, or why it failed.
pub type Landing = Result<Option<Arc<Refreshed>>, Arc<StoreError>>;
type Seat = watch::Receiver<Option<Landing>>;

pub struct Flights {
    refresher: Arc<Refresher>,
    board: Mutex<Board>,
    runways: Arc<Semaphore>,
    chunk: usize,
    /// Where flights run: not on an HTTP worker, whose connections would end with it.
    runtime: Handle,
}

#[derive(Default)]
struct Board {
    waiting: HashMap<Key, Flight>,
    flying: HashMap<Key, watch::Sender<Option<Landing>>>,
}

struct Flight {
    day_key: DayKey,
    trigger: Trigger,
    seats: watch::Sender<Option<Landing>>,
}

impl Flights {
    /// `chunk` bounds the keys of one transaction. Flights run on the runtime that this is called in.
    pub fn new(refresher: Arc<Refresher>, chunk: usize) -> Arc<Self> {
        Arc::new(Flights {
            refresher,
            board: Mutex::default(),
            runways: Arc::new(Semaphore::new(IN_THE_AIR)),
            chunk,
            runtime: Handle::current(),
        })
    }

    /// Books a seat. `may_join_running`: a refresh that began before now will do. Answers the seat, and whether it is shared.
    pub fn book(self: &Arc<Self>, day_key: DayKey, may_join_running: bool, trigger: Trigger) -> (Seat, bool) {
        match self.book_unless(day_key, may_join_running, trigger, || None::<Infallible>) {
            Ok(seat) => seat,
            Err(never) => match never {},
        }
    }

    /// The same, unless there is no flight to join and `landed` finds what the last one brought: a reader that looked just before it
    /// landed, and books just after, must not start another.
    pub fn book_unless<T>(
        self: &Arc<Self>,
        day_key: DayKey,
        may_join_running: bool,
        trigger: Trigger,
        landed: impl FnOnce() -> Option<T>,
    ) -> Result<(Seat, bool), T> {
        let key = day_key.id();
        let mut board = self.board();
        if may_join_running && let Some(flying) = board.flying.get(&key) {
            return Ok((flying.subscribe(), true));
        }
        if let Some(waiting) = board.waiting.get(&key) {
            return Ok((waiting.seats.subscribe(), true));
        }
        // Under the board's lock: a flight publishes what it brings before it leaves the board.
        if let Some(found) = landed() {
            return Err(found);
        }
        let (seats, seat) = watch::channel(None);
        board.waiting.insert(key, Flight { day_key, trigger, seats });
        drop(board);
        self.runtime.spawn(self.clone().take_off());
        Ok((seat, false))
    }

    /// Waits for a booked seat's landing.
    pub async fn land(mut seat: Seat) -> Landing {
        match seat.wait_for(Option::is_some).await {
            Ok(landing) => landing.clone().unwrap_or_else(lost),
            Err(_) => lost(),
        }
    }

    /// Takes what waits and flies it, until nothing waits.
    async fn take_off(self: Arc<Self>) {
        let Ok(_runway) = self.runways.clone().acquire_owned().await else { return };
        loop {
            let passengers = self.board_passengers();
            let Some(trigger) = passengers.first().map(|(_, trigger)| *trigger) else { return };
            let day_keys: Vec<DayKey> = passengers.into_iter().map(|(day_key, _)| day_key).collect();
            let landings = self.fly(&day_keys, trigger).await;
            let mut board = self.board();
            for (day_key, landing) in day_keys.iter().zip(landings) {
                if let Some(seats) = board.flying.remove(&day_key.id()) {
                    seats.send_replace(Some(landing));
                }
            }
        }
    }

    /// Moves waiting flights of one trigger, whose key is not in the air, into the air.
    fn board_passengers(&self) -> Vec<(DayKey, Trigger)> {
        let mut board = self.board();
        let board = &mut *board;
        let ready: Vec<Key> = board.waiting.keys().filter(|key| !board.flying.contains_key(key)).copied().collect();
        let mut taken: Vec<(DayKey, Trigger)> = Vec::new();
        for key in ready {
            if taken.len() == self.chunk {
                break;
            }
            if taken.first().is_some_and(|(_, trigger)| board.waiting.get(&key).is_none_or(|f| f.trigger != *trigger)) {
                continue;
            }
            if let Some(flight) = board.waiting.remove(&key) {
                board.flying.insert(key, flight.seats);
                taken.push((flight.day_key, flight.trigger));
            }
        }
        taken
    }

    async fn fly(&self, day_keys: &[DayKey], trigger: Trigger) -> Vec<Landing> {
        match self.refresh(day_keys.to_vec(), trigger).await {
            Ok(rows) => {
                let mut rows: HashMap<Key, Arc<Refreshed>> =
                    rows.into_iter().map(|r| ((r.row.summary.facility_id, r.row.summary.date), Arc::new(r))).collect();
                day_keys.iter().map(|k| Ok(rows.remove(&k.id()))).collect()
            }
            // One key whose lock somebody holds must not cost its neighbours theirs.
            Err(error) if day_keys.len() > 1 && matches!(*error, StoreError::Locked(_) | StoreError::Conflict) => {
                let alone = day_keys
                    .iter()
                    .cloned()
                    .map(|key| async move { self.refresh(vec![key], trigger).await.map(|rows| rows.into_iter().next().map(Arc::new)) });
                futures_util::stream::iter(alone).buffered(IN_THE_AIR).collect().await
            }
            Err(error) => day_keys.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn refresh(&self, keys: Vec<DayKey>, trigger: Trigger) -> Result<Vec<Refreshed>, Arc<StoreError>> {
        match std::panic::AssertUnwindSafe(self.refresher.refresh(keys, trigger)).catch_unwind().await {
            Ok(result) => result.map_err(Arc::new),
            Err(_) => {
                self.refresher.metrics.panics.inc();
                lost().map(|_| Vec::new())
            }
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost() -> Landing {
    Err(Arc::new(StoreError::Failed(sqlx::Error::WorkerCrashed)))
}
