//! Refreshes that readers wait for: one per key at a time, whose result all its readers share, and keys that wait together go together.
//! Replicas share a key's refresh through Redis: one of them takes it, the others wait for what it finds.
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

use super::{
    answer::AtLeast,
    refresh::{Refreshed, Refresher},
    shared::{Shared, Turn},
};
use crate::{
    cache::{memory::Key, redis::Lease},
    changes::StoredEntry,
    domain::summary::DayKey,
    metrics::Trigger,
    store::StoreError,
};

/// Refresh transactions in the air at once: enough to keep two connections busy, few enough to leave the pool to writers.
const IN_THE_AIR: usize = 2;

/// What a flight brought home: the row, none where the day has not begun or the facility is gone, or why it failed.
pub type Landing = Result<Option<Arc<Refreshed>>, Arc<StoreError>>;
type Seat = watch::Receiver<Option<Landing>>;

pub struct Flights {
    refresher: Arc<Refresher>,
    shared: Option<Arc<Shared>>,
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
    /// What another replica's refresh must bring to do for everybody on it. `None`: somebody takes none that began before it was asked for.
    asked: Option<AtLeast>,
    seats: watch::Sender<Option<Landing>>,
}

/// A flight that has boarded.
struct Passenger {
    day_key: DayKey,
    trigger: Trigger,
    asked: Option<AtLeast>,
    flying: Flying,
}

/// A key in the air. Where it is dropped without a landing, as by a panic, it lands as lost: otherwise its readers would wait for ever, and
/// the next flight of the key, too.
struct Flying {
    flights: Arc<Flights>,
    key: Key,
    has_landed: bool,
}

impl Flying {
    fn land(mut self, landing: Landing) {
        self.touch_down(landing);
    }

    fn land_elsewhere(self, entry: StoredEntry) {
        let found = Refreshed { row: entry.row, changed: false, written: false, elsewhere: true };
        self.land(Ok(Some(Arc::new(found))));
    }

    fn touch_down(&mut self, landing: Landing) {
        self.has_landed = true;
        if let Some(seats) = self.flights.board().flying.remove(&self.key) {
            seats.send_replace(Some(landing));
        }
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        if !self.has_landed {
            self.touch_down(lost());
            // Whoever would not join it has waited for its landing.
            self.flights.call();
        }
    }
}

impl Flights {
    /// `chunk` bounds the keys of one transaction. Flights run on the runtime that this is called in.
    pub fn new(refresher: Arc<Refresher>, shared: Option<Arc<Shared>>, chunk: usize) -> Arc<Self> {
        Arc::new(Flights {
            refresher,
            shared,
            board: Mutex::default(),
            runways: Arc::new(Semaphore::new(IN_THE_AIR)),
            chunk,
            runtime: Handle::current(),
        })
    }

    /// Books a seat. `asked`: a refresh that began before now will do, if it brings that; `None`: it will not. Answers the seat, and
    /// whether it is shared.
    pub fn book(self: &Arc<Self>, day_key: DayKey, asked: Option<AtLeast>, trigger: Trigger) -> (Seat, bool) {
        match self.book_unless(day_key, asked, trigger, || None::<Infallible>) {
            Ok(seat) => seat,
            Err(never) => match never {},
        }
    }

    /// The same, unless there is no flight to join and `landed` finds what the last one brought: a reader that looked just before it
    /// landed, and books just after, must not start another.
    pub fn book_unless<T>(
        self: &Arc<Self>,
        day_key: DayKey,
        asked: Option<AtLeast>,
        trigger: Trigger,
        landed: impl FnOnce() -> Option<T>,
    ) -> Result<(Seat, bool), T> {
        let key = day_key.id();
        let mut board = self.board();
        if asked.is_some()
            && let Some(flying) = board.flying.get(&key)
        {
            return Ok((flying.subscribe(), true));
        }
        if let Some(waiting) = board.waiting.get_mut(&key) {
            waiting.asked = waiting.asked.zip(asked).map(|(theirs, ours)| theirs.and(ours));
            return Ok((waiting.seats.subscribe(), true));
        }
        // Under the board's lock: a flight publishes what it brings before it leaves the board.
        if let Some(found) = landed() {
            return Err(found);
        }
        let (seats, seat) = watch::channel(None);
        board.waiting.insert(key, Flight { day_key, trigger, asked, seats });
        drop(board);
        self.call();
        Ok((seat, false))
    }

    /// Has what waits fly, as soon as there is a runway.
    fn call(self: &Arc<Self>) {
        self.runtime.spawn(self.clone().take_off());
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
            let Some(trigger) = passengers.first().map(|passenger| passenger.trigger) else { return };
            let (passengers, leases) = self.take_turns(passengers).await;
            if !passengers.is_empty() {
                self.fly_and_land(passengers, leases, trigger).await;
            }
        }
    }

    /// The keys that are this replica's to refresh; another's are waited for beside the runway.
    async fn take_turns(self: &Arc<Self>, passengers: Vec<Passenger>) -> (Vec<Passenger>, Vec<Lease>) {
        let (mut ours, mut leases) = (Vec::with_capacity(passengers.len()), Vec::new());
        let turns = passengers.iter().map(|passenger| async {
            match self.shared.as_ref().zip(passenger.asked) {
                Some((shared, asked)) => shared.turn(&passenger.day_key, asked).await,
                None => Turn::Ours(None),
            }
        });
        let turns = futures_util::future::join_all(turns).await;
        for (passenger, turn) in passengers.into_iter().zip(turns) {
            match (turn, self.shared.as_ref().zip(passenger.asked)) {
                (Turn::Another, Some((shared, asked))) => {
                    drop(self.runtime.spawn(self.clone().wait_for_another(shared.clone(), passenger, asked)));
                }
                (Turn::Done(entry), _) => passenger.flying.land_elsewhere(entry),
                (Turn::Ours(lease), _) => {
                    leases.extend(lease);
                    ours.push(passenger);
                }
                (Turn::Another, None) => ours.push(passenger),
            }
        }
        (ours, leases)
    }

    async fn wait_for_another(self: Arc<Self>, shared: Arc<Shared>, passenger: Passenger, asked: AtLeast) {
        match shared.wait(&passenger.day_key, asked).await {
            Ok(entry) => passenger.flying.land_elsewhere(entry),
            Err(lease) => {
                // Many may have waited for a replica that died: they must not take the whole pool at once.
                let _runway = self.runways.acquire().await;
                let trigger = passenger.trigger;
                self.fly_and_land(vec![passenger], lease.into_iter().collect(), trigger).await;
            }
        }
        // Whoever would not join it has waited for its landing, and nobody else looks for them.
        self.call();
    }

    async fn fly_and_land(&self, passengers: Vec<Passenger>, leases: Vec<Lease>, trigger: Trigger) {
        let vantage = self.refresher.changes.vantage();
        let (day_keys, flying): (Vec<DayKey>, Vec<Flying>) = passengers.into_iter().map(|p| (p.day_key, p.flying)).unzip();
        let landings = self.fly(&day_keys, trigger).await;
        let found: Vec<StoredEntry> = match leases.is_empty() {
            true => Vec::new(),
            false => landings.iter().flatten().flatten().map(|r| StoredEntry { row: r.row.clone(), since: vantage.position }).collect(),
        };
        flying.into_iter().zip(landings).for_each(|(flying, landing)| flying.land(landing));
        if let Some(shared) = self.shared.as_ref().filter(|_| !leases.is_empty()) {
            shared.done(vantage, found, leases).await;
        }
    }

    /// Moves waiting flights of one trigger, whose key is not in the air, into the air.
    fn board_passengers(self: &Arc<Self>) -> Vec<Passenger> {
        let mut board = self.board();
        let board = &mut *board;
        let ready: Vec<Key> = board.waiting.keys().filter(|key| !board.flying.contains_key(key)).copied().collect();
        let mut taken: Vec<Passenger> = Vec::new();
        for key in ready {
            if taken.len() == self.chunk {
                break;
            }
            if taken.first().is_some_and(|first| board.waiting.get(&key).is_none_or(|f| f.trigger != first.trigger)) {
                continue;
            }
            if let Some(flight) = board.waiting.remove(&key) {
                board.flying.insert(key, flight.seats);
                let flying = Flying { flights: self.clone(), key, has_landed: false };
                taken.push(Passenger { day_key: flight.day_key, trigger: flight.trigger, asked: flight.asked, flying });
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

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use uuid::Uuid;

    use super::*;
    use crate::{
        config::Settings,
        domain::{
            day::Day,
            facility::{Facility, Zone},
        },
        startup::Core,
    };

    #[tokio::test]
    async fn a_key_whose_flight_panics_lands_as_lost_and_flies_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.database.url = format!("sqlite://{}", folder.path().join("a.db").display());
        let core = Core::open(settings).await.unwrap();
        let flights = Flights::new(core.refresher.clone(), None, 8);
        let zone = Arc::new(Zone::named("UTC").unwrap());
        let day = Day::named(&zone.tz, date(2026, 10, 24)).unwrap();
        let day_key = DayKey { facility: Arc::new(Facility { id: Uuid::from_u128(1), name: String::new(), zone }), day };

        let (seats, seat) = watch::channel(None);
        let flight = Flight { day_key: day_key.clone(), trigger: Trigger::Request, asked: None, seats };
        flights.board().waiting.insert(day_key.id(), flight);
        let passengers = flights.board_passengers();
        let flight = async move {
            let _on_board = passengers;
            panic!("as a part that it needs might");
        };
        assert!(tokio::spawn(flight).await.is_err());
        assert!(Flights::land(seat).await.is_err(), "its reader is told");

        let (seat, _) = flights.book(day_key, None, Trigger::Request);
        assert!(matches!(Flights::land(seat).await, Ok(None)), "the key is free for the next");
    }
}
