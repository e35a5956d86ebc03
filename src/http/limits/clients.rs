//! The clients that were seen lately, each with its budgets. They are bounded: where there are too
//! many, those that are new share one.

use std::{
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use governor::{
    Quota, RateLimiter,
    clock::MonotonicClock,
    middleware::{StateInformationMiddleware, StateSnapshot},
    state::{InMemoryState, NotKeyed},
};

use crate::config::LimitSettings;

/// The most clients of a kind that have budgets of their own.
const MOST: usize = 50_000;
/// After this time without a request all budgets of a client are whole again, so that it need not
/// be kept.
const UNTIL_WHOLE: Duration = Duration::from_secs(60);

type Budget = RateLimiter<NotKeyed, InMemoryState, MonotonicClock, StateInformationMiddleware>;

/// What is left of a client's budgets.
pub struct Client {
    requests: Option<Budget>,
    event_bytes: Option<Budget>,
    most_under_way: u32,
    under_way: AtomicU32,
    /// In which sweep it was last seen.
    seen: AtomicU32,
}

impl Client {
    fn new(settings: &LimitSettings) -> Self {
        let budget = |quota: u32| {
            let quota = Quota::per_minute(NonZeroU32::new(quota)?);
            let clock = MonotonicClock;
            Some(RateLimiter::direct_with_clock(quota, clock).with_middleware())
        };
        Client {
            requests: budget(settings.requests_per_minute),
            event_bytes: budget(settings.event_bytes_per_minute),
            most_under_way: settings.concurrent_requests,
            under_way: AtomicU32::default(),
            seen: AtomicU32::default(),
        }
    }

    /// Takes a request from the budget. `Ok` has how many are left, where there is a budget; `Err`
    /// the time until there is one again.
    pub fn take_request(&self) -> Result<Option<u32>, Duration> {
        match self.requests.as_ref().map(Budget::check) {
            None => Ok(None),
            Some(Ok(left)) => Ok(Some(StateSnapshot::remaining_burst_capacity(&left))),
            Some(Err(none)) => Err(none.wait_time_from(now())),
        }
    }

    /// Takes bytes of events. `Err` has the time until there are as many; so many that there never
    /// will be are let through, as `server.max_body` bounds them.
    pub fn take_event_bytes(&self, bytes: u64) -> Result<(), Duration> {
        let bytes = NonZeroU32::new(u32::try_from(bytes).unwrap_or(u32::MAX));
        let (Some(budget), Some(bytes)) = (&self.event_bytes, bytes) else { return Ok(()) };
        match budget.check_n(bytes) {
            Ok(Err(none)) => Err(none.wait_time_from(now())),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    /// Takes a place among the requests under way; `None` where all are taken. The place is free
    /// again when the result is dropped.
    pub fn begin(self: Arc<Self>) -> Option<UnderWay> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let is_free = self.most_under_way == 0 || before < self.most_under_way;
        let place = UnderWay(self);
        is_free.then_some(place)
    }
}

fn now() -> Instant {
    Instant::now()
}

/// A request of a client that is under way.
pub struct UnderWay(Arc<Client>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The clients of one kind.
pub struct Clients<K> {
    settings: LimitSettings,
    most: usize,
    known: DashMap<K, Arc<Client>>,
    count: AtomicUsize,
    /// The number of sweeps so far.
    sweeps: AtomicU32,
    last_sweep: Mutex<Instant>,
    /// What those share who are beyond the bound.
    shared: Arc<Client>,
}

impl<K: Hash + Eq> Clients<K> {
    /// Clients with these budgets.
    pub fn new(settings: &LimitSettings) -> Self {
        Self::with_most(settings, MOST)
    }

    fn with_most(settings: &LimitSettings, most: usize) -> Self {
        Clients {
            settings: settings.clone(),
            most,
            known: DashMap::new(),
            count: AtomicUsize::default(),
            sweeps: AtomicU32::default(),
            last_sweep: Mutex::new(Instant::now()),
            shared: Arc::new(Client::new(settings)),
        }
    }

    /// The client of this key.
    pub fn of(&self, key: K) -> Arc<Client> {
        let sweep = self.sweeps.load(Ordering::Relaxed);
        if let Some(known) = self.known.get(&key) {
            if known.seen.load(Ordering::Relaxed) != sweep {
                known.seen.store(sweep, Ordering::Relaxed);
            }
            return known.clone();
        }
        self.sweep(UNTIL_WHOLE);
        if self.count.load(Ordering::Relaxed) >= self.most {
            return self.shared.clone();
        }
        let client = self.known.entry(key).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            Arc::new(Client::new(&self.settings))
        });
        client.seen.store(self.sweeps.load(Ordering::Relaxed), Ordering::Relaxed);
        client.clone()
    }

    /// How many clients are known.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Forgets the clients that were not seen between two sweeps, where the last one was at least
    /// that long ago. Their budgets are whole again.
    fn sweep(&self, interval: Duration) {
        let Ok(mut last) = self.last_sweep.try_lock() else { return };
        if last.elapsed() < interval {
            return;
        }
        *last = Instant::now();
        let sweep = self.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        self.known.retain(|_, client| {
            let seen = client.seen.load(Ordering::Relaxed);
            let is_kept =
                sweep.wrapping_sub(seen) < 2 || client.under_way.load(Ordering::Relaxed) > 0;
            if !is_kept {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            is_kept
        });
        self.known.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(requests: u32, concurrent: u32, bytes: u32) -> LimitSettings {
        LimitSettings {
            requests_per_minute: requests,
            concurrent_requests: concurrent,
            event_bytes_per_minute: bytes,
        }
    }

    #[test]
    fn each_client_has_budgets_of_its_own() {
        let clients = Clients::new(&settings(2, 1, 10));
        let one = clients.of(1);
        assert_eq!((one.take_request(), one.take_request()), (Ok(Some(1)), Ok(Some(0))));
        let wait = one.take_request().unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(30), "{wait:?}");
        assert!(clients.of(1).take_request().is_err(), "the same client");
        assert_eq!(clients.of(2).take_request(), Ok(Some(1)));
        assert_eq!((one.take_event_bytes(10), one.take_event_bytes(0)), (Ok(()), Ok(())));
        assert!(one.take_event_bytes(1).unwrap_err() <= Duration::from_secs(6));
        let place = one.clone().begin().unwrap();
        assert!(one.clone().begin().is_none());
        drop(place);
        assert!(one.begin().is_some(), "a refused request takes no place");
    }

    #[test]
    fn nothing_is_counted_where_there_are_no_limits() {
        let free = Clients::new(&settings(0, 0, 0)).of(1);
        let places: Vec<_> = (0..1_000).map(|_| free.clone().begin().unwrap()).collect();
        assert_eq!((free.take_request(), free.take_event_bytes(u64::MAX)), (Ok(None), Ok(())));
        assert_eq!(places.len(), 1_000);
    }

    #[test]
    fn clients_are_bounded_and_the_idle_ones_are_forgotten() {
        let clients = Clients::with_most(&settings(10, 5, 0), 3);
        for key in 0..3 {
            clients.of(key).take_request().unwrap();
        }
        let working = clients.of(0).begin().unwrap();
        // A fourth and a fifth share what is left for those beyond the bound.
        assert_eq!(clients.of(4).take_request(), Ok(Some(9)));
        assert_eq!(clients.of(5).take_request(), Ok(Some(8)));
        assert_eq!(clients.of(1).take_request(), Ok(Some(8)), "one that is known keeps its own");
        assert_eq!(clients.count(), 3);
        clients.sweep(Duration::ZERO);
        assert_eq!(clients.count(), 3, "it was seen just before");
        clients.of(1);
        clients.sweep(Duration::ZERO);
        assert_eq!(clients.count(), 2, "one has a request under way, one was seen meanwhile");
        assert_eq!(clients.of(6).take_request(), Ok(Some(9)), "there is a place again");
        drop(working);
    }
}
