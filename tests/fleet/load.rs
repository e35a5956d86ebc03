//! The load on a fleet, and its record: writers that keep to their lanes, and readers with all
//! kinds of requests.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    history::{Answer, History, Write},
    parts::{FACILITIES, Fleet, Places},
    readers,
    support::{PATIENCE, wait_until, wait_until_within},
    writers,
};

/// Pairs of blood types of a facility. Plain SQL writes the last pair, events write the others.
pub const LANES: [[&str; 2]; 4] = [["O+", "O-"], ["A+", "A-"], ["B+", "B-"], ["AB+", "AB-"]];
/// Readers of each kind.
const READERS: usize = 3;
/// Longer than any time-out of the service. A request that waits this long was forgotten.
const HUNG: Duration = Duration::from_secs(20);

/// The database's time, which is this machine's, in milliseconds.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A steady load that runs.
pub struct Load {
    pub shared: Arc<Shared>,
    tasks: JoinSet<Record>,
}

/// What writers and readers share.
pub struct Shared {
    pub places: Arc<Places>,
    stop: AtomicBool,
    /// Rises when the database lost commits: then the versions that a reader knows do not count any
    /// more.
    epochs: AtomicUsize,
    /// The number of writes and answers so far.
    progress: AtomicUsize,
    /// Requests that could not connect, or were answered 503.
    turned_away: AtomicUsize,
}

/// The record of one writer or reader.
#[derive(Default)]
pub struct Record {
    /// The lane and its writes.
    pub writes: Option<(usize, Vec<Write>)>,
    pub answers: Vec<Answer>,
}

impl Shared {
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }

    pub fn epochs(&self) -> usize {
        self.epochs.load(Ordering::Acquire)
    }

    pub fn progressed(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub fn is_turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }
}

/// A unit of a lane, one for each of its types.
pub fn unit(lane: usize, which: usize) -> Uuid {
    Uuid::from_u128(1 << 100 | (lane as u128) << 8 | which as u128)
}

/// The id of the request that a write of a lane makes.
pub fn request(lane: usize, number: i64) -> Uuid {
    Uuid::from_u128(2 << 100 | (lane as u128) << 64 | number as u128)
}

/// The facility of a lane.
pub fn facility_of(lane: usize) -> usize {
    lane / LANES.len()
}

/// The types of a lane.
pub fn types_of(lane: usize) -> [&'static str; 2] {
    LANES[lane % LANES.len()]
}

impl Load {
    /// Starts writers and readers.
    pub fn start(fleet: &Fleet) -> Load {
        let shared = Arc::new(Shared {
            places: fleet.places.clone(),
            stop: AtomicBool::default(),
            epochs: AtomicUsize::default(),
            progress: AtomicUsize::default(),
            turned_away: AtomicUsize::default(),
        });
        let mut tasks = JoinSet::new();
        for lane in 0..FACILITIES * LANES.len() {
            if lane % LANES.len() == LANES.len() - 1 {
                tasks.spawn(writers::with_sql(shared.clone(), lane));
            } else {
                tasks.spawn(writers::with_events(shared.clone(), lane));
            }
        }
        for reader in 0..READERS {
            tasks.spawn(readers::who_goes_on(shared.clone(), reader));
            tasks.spawn(readers::of_any_kind(shared.clone(), reader));
        }
        Load { shared, tasks }
    }

    /// Waits until there were so many more writes and answers.
    #[track_caller]
    pub fn flows(&self, more: usize) -> impl Future<Output = ()> {
        let until = self.shared.progress.load(Ordering::Relaxed) + more;
        wait_until("the load flows", async move || {
            self.shared.progress.load(Ordering::Relaxed) >= until
        })
    }

    /// Lets the load run for this time.
    #[track_caller]
    pub fn flows_for(&self, time: Duration) -> impl Future<Output = ()> {
        let started = Instant::now();
        wait_until_within(time + PATIENCE, "time has passed", async move || {
            started.elapsed() >= time
        })
    }

    /// From now on the versions that readers knew before do not count.
    pub fn begins_a_new_epoch(&self) {
        self.shared.epochs.fetch_add(1, Ordering::AcqRel);
    }

    /// How many requests could not connect, or were answered 503, so far.
    pub fn turned_away(&self) -> usize {
        self.shared.turned_away.load(Ordering::Relaxed)
    }

    /// Ends the load, and returns what was written and read.
    pub async fn end(mut self) -> History {
        self.shared.stop.store(true, Ordering::Release);
        let lanes = FACILITIES * LANES.len();
        let mut history = History {
            writes: vec![vec![]; lanes],
            stored: vec![BTreeSet::new(); lanes],
            ..History::default()
        };
        while let Some(record) = self.tasks.join_next().await {
            let record = record.expect("a writer or reader that fails has said why");
            history.answers.extend(record.answers);
            if let Some((lane, writes)) = record.writes {
                history.writes[lane] = writes;
            }
        }
        history.ended_ms = now_ms();
        history
    }
}

/// The HTTP client of one writer or reader.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(HUNG)
        .build()
        .expect("an HTTP client needs nothing")
}

/// Asserts that a failed request did not hang.
pub fn never_hangs(error: &reqwest::Error) {
    assert!(!error.is_timeout(), "a request was not answered within {HUNG:?}: {error:?}");
}
