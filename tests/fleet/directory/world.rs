//! What writers and readers of a round share.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use reqwest::Client;
use uuid::Uuid;

use super::settings::Plan;
use crate::parts::Places;

/// Longer than any time-out of the service. A request that waits this long was forgotten.
const HUNG: Duration = Duration::from_secs(20);
/// How long after a fault the fleet does not count as quiet yet, in milliseconds.
const CALM_MS: i64 = 5_000;

pub struct World {
    pub plan: Plan,
    pub places: Arc<Places>,
    /// How far the database's clock is ahead of this machine's.
    pub ahead_ms: i64,
    /// All facilities, also those that were removed.
    facilities: Mutex<Vec<Uuid>>,
    stop: AtomicBool,
    /// When the last fault ended; far in the future during a fault.
    fault_ms: AtomicI64,
    pub acknowledged: AtomicUsize,
    pub sql: AtomicUsize,
}

impl World {
    pub fn new(plan: Plan, places: Arc<Places>, ahead_ms: i64) -> World {
        World {
            plan,
            places,
            ahead_ms,
            facilities: Mutex::default(),
            stop: AtomicBool::default(),
            fault_ms: AtomicI64::new(i64::MIN),
            acknowledged: AtomicUsize::default(),
            sql: AtomicUsize::default(),
        }
    }

    /// The database's time, in milliseconds.
    pub fn now_ms(&self) -> i64 {
        Timestamp::now().as_millisecond() + self.ahead_ms
    }

    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    pub fn fault_begins(&self) {
        self.fault_ms.store(i64::MAX, Ordering::Release);
    }

    pub fn fault_is_over(&self) {
        self.fault_ms.store(self.now_ms(), Ordering::Release);
    }

    pub fn is_quiet(&self) -> bool {
        self.fault_ms.load(Ordering::Acquire).saturating_add(CALM_MS) < self.now_ms()
    }

    pub fn knows(&self, facility: Uuid) {
        self.facilities.lock().unwrap_or_else(PoisonError::into_inner).push(facility);
    }

    pub fn facilities(&self) -> Vec<Uuid> {
        self.facilities.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn count_acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

pub fn client() -> Client {
    Client::builder().no_proxy().timeout(HUNG).build().expect("an HTTP client needs nothing")
}

/// An instant as an event carries it.
pub fn instant(at_ms: i64) -> String {
    format!("{:.3}", Timestamp::from_millisecond(at_ms).expect("it is within the calendar"))
}
