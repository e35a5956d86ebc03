//! How fast passwords can be tried. Nobody is locked out: what somebody does at one address slows
//! down that address, and for all others an account that is being guessed at answers a second
//! later, and no more than that. All of this is in the memory of one server, and bounded.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::{policy::EvictionPolicy, sync::Cache};

use super::network::Network;

/// Failures that are free, and the time after which one more is.
#[derive(Clone, Copy)]
struct Pace {
    free: u32,
    then_each: Duration,
}

/// Of an address, whatever the account: a hospital may have one address for all its people.
const ADDRESS: Pace = Pace { free: 20, then_each: Duration::from_secs(3) };
/// Of an account at an address.
const PAIR: Pace = Pace { free: 5, then_each: Duration::from_secs(12) };
/// Of an account at all addresses; beyond it each attempt waits for [`WAIT`].
const ACCOUNT: Pace = Pace { free: 20, then_each: Duration::from_secs(30) };
/// How much later attempts on an account are answered that is being guessed at.
pub const WAIT: Duration = Duration::from_secs(1);
/// The most addresses, accounts and pairs that are kept, each; those of longest ago are forgotten.
const KEPT: u64 = 10_000;

/// Failures of late.
pub struct SlowDown {
    addresses: Cache<Network, Counter>,
    pairs: Cache<(String, Network), Counter>,
    accounts: Cache<String, Counter>,
}

/// How many failures are left, and as of when.
type Counter = Arc<Mutex<(f64, Instant)>>;

/// An attempt that may be made. It counts as a failure until it is [`Attempt::succeeded`].
pub struct Attempt {
    address: Counter,
    pair: Counter,
    account: Counter,
    /// Whether it is to be answered later.
    pub waits: bool,
}

impl Default for SlowDown {
    fn default() -> Self {
        fn kept<K: std::hash::Hash + Eq + Send + Sync + 'static>(pace: Pace) -> Cache<K, Counter> {
            Cache::builder()
                .max_capacity(KEPT)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(pace.then_each * (pace.free + 1))
                .build()
        }
        SlowDown { addresses: kept(ADDRESS), pairs: kept(PAIR), accounts: kept(ACCOUNT) }
    }
}

impl SlowDown {
    /// Counts an attempt on an account, before anything of it is verified.
    ///
    /// # Errors
    /// There were too many failures; after these seconds there may be another attempt.
    pub fn attempt(&self, account: &str, address: IpAddr) -> Result<Attempt, u32> {
        let (now, address) = (Instant::now(), Network::of(address));
        let pair = self.pairs.get_with((account.to_owned(), address), || new(PAIR, now));
        take(&pair, PAIR, now)?;
        // What is refused already takes nothing from the others at the address.
        let of_address = self.addresses.get_with(address, || new(ADDRESS, now));
        take(&of_address, ADDRESS, now).inspect_err(|_| give(&pair, PAIR, 1.0))?;
        let of_account = self.accounts.get_with(account.to_owned(), || new(ACCOUNT, now));
        let waits = take(&of_account, ACCOUNT, now).is_err();
        Ok(Attempt { address: of_address, pair, account: of_account, waits })
    }
}

impl Attempt {
    /// The password was right.
    pub fn succeeded(self) {
        give(&self.address, ADDRESS, 1.0);
        give(&self.pair, PAIR, f64::from(PAIR.free));
        give(&self.account, ACCOUNT, 1.0);
    }
}

fn new(pace: Pace, now: Instant) -> Counter {
    Arc::new(Mutex::new((f64::from(pace.free), now)))
}

fn take(counter: &Counter, pace: Pace, now: Instant) -> Result<(), u32> {
    let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
    let (left, since) = *counter;
    let more = now.saturating_duration_since(since).as_secs_f64() / pace.then_each.as_secs_f64();
    let left = (left + more).min(f64::from(pace.free));
    let now = now.max(since);
    if left >= 1.0 {
        *counter = (left - 1.0, now);
        return Ok(());
    }
    *counter = (left, now);
    Err(((1.0 - left) * pace.then_each.as_secs_f64()).ceil() as u32)
}

fn give(counter: &Counter, pace: Pace, more: f64) {
    let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
    counter.0 = (counter.0 + more).min(f64::from(pace.free));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn failures_at_one_address_slow_it_down_and_no_other() {
        let slow = SlowDown::default();
        for _ in 0..PAIR.free {
            assert!(slow.attempt("anna", ip("192.0.2.1")).is_ok());
        }
        let seconds = slow.attempt("anna", ip("192.0.2.1")).err().unwrap();
        assert!((1..=12).contains(&seconds), "{seconds}");
        assert!(slow.attempt("ben", ip("192.0.2.1")).is_ok(), "another account");
        assert!(slow.attempt("anna", ip("192.0.2.2")).is_ok(), "another address");
    }

    #[test]
    fn what_is_refused_takes_nothing_from_others_at_the_address() {
        let slow = SlowDown::default();
        let refused = (0..100).filter(|_| slow.attempt("anna", ip("192.0.2.1")).is_err());
        assert_eq!(refused.count(), 100 - PAIR.free as usize);
        let others = (0..100).filter(|n| slow.attempt(&n.to_string(), ip("192.0.2.1")).is_ok());
        assert_eq!(others.count(), (ADDRESS.free - PAIR.free) as usize);
    }

    #[test]
    fn an_address_that_tries_many_accounts_is_slowed_down() {
        let slow = SlowDown::default();
        let tried = (0..100).filter(|n| slow.attempt(&n.to_string(), ip("192.0.2.1")).is_ok());
        assert_eq!(tried.count(), ADDRESS.free as usize);
    }

    #[test]
    fn an_account_that_is_guessed_at_from_many_addresses_answers_later_and_refuses_nobody() {
        let slow = SlowDown::default();
        for n in 0..200u8 {
            let attempt = slow.attempt("anna", IpAddr::from([192, 0, 2, n])).ok().unwrap();
            assert_eq!(attempt.waits, u32::from(n) >= ACCOUNT.free, "{n}");
        }
    }

    #[test]
    fn right_passwords_do_not_use_it_up() {
        let slow = SlowDown::default();
        for _ in 0..100 {
            let attempt = slow.attempt("anna", ip("192.0.2.1")).ok().unwrap();
            assert!(!attempt.waits);
            attempt.succeeded();
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let slow = SlowDown::default();
        for n in 0..KEPT as u32 + 5_000 {
            let _ = slow.attempt(&n.to_string(), IpAddr::from(n.to_be_bytes()));
        }
        slow.addresses.run_pending_tasks();
        slow.pairs.run_pending_tasks();
        slow.accounts.run_pending_tasks();
        assert!(slow.addresses.entry_count() <= KEPT && slow.pairs.entry_count() <= KEPT);
        assert!(slow.accounts.entry_count() <= KEPT);
    }
}
