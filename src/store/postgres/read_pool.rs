//! The standbys that table reads may go to, in turn; each has a pool. A failing standby costs one
//! reader per second its time-out, at most. A standby's answer is as old as its replay; the answer
//! carries the standby's own watermark, and the caller judges it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::PgPool;
use tokio::time::timeout;

use super::{connect, epoch, home::Home};
use crate::{
    config::{DatabaseSettings, redacted},
    domain::summary::Key,
    store::{Connections, Result, StoreError, TableRead},
};

pub(super) struct ReadPool {
    standbys: Vec<Standby>,
    /// The index of the standby that is asked next.
    next: AtomicUsize,
}

impl ReadPool {
    /// Makes the pools. A standby is connected when it is first asked, so one that is down does not
    /// keep the service from starting. `Migration` when a URL cannot be read.
    pub fn new(settings: &DatabaseSettings, home: &Arc<Home>) -> Result<Self> {
        let replicas = settings
            .read_urls()
            .map(|url| Standby::new(settings, home, url))
            .collect::<Result<_>>()?;
        Ok(ReadPool { standbys: replicas, next: AtomicUsize::new(0) })
    }

    /// The answer of the next standby. `None` when no standby is configured, or it does not answer
    /// in time.
    pub async fn summaries(&self, keys: &[Key]) -> Option<TableRead> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..self.standbys.len())
            .map(|i| &self.standbys[first.wrapping_add(i) % self.standbys.len()]);
        in_turn.into_iter().find(|standby| standby.rest.is_over())?.summaries(keys).await
    }

    /// The connections of all these pools together; `None` when no standby is configured.
    pub fn connections(&self) -> Option<Connections> {
        let pools = self.standbys.iter().map(|standby| connect::connections(&standby.pool));
        pools.reduce(|a, b| Connections {
            in_use: a.in_use + b.in_use,
            idle: a.idle + b.idle,
            max: a.max + b.max,
        })
    }

    /// Closes the pools. Waits for each as long as one read may take.
    pub async fn close(&self) {
        for standby in &self.standbys {
            let _ = timeout(standby.timeout, standby.pool.close()).await;
        }
    }
}

struct Standby {
    /// The standby's URL, without the password.
    name: Arc<str>,
    pool: PgPool,
    timeout: Duration,
    rest: Rest,
}

impl Standby {
    fn new(settings: &DatabaseSettings, home: &Arc<Home>, url: &str) -> Result<Self> {
        let timeout = Duration::from_millis(settings.read_timeout_ms);
        Ok(Standby {
            name: redacted(url).into(),
            pool: connect::lazy(settings, home, url, timeout)?,
            timeout,
            rest: Rest::new(timeout),
        })
    }

    async fn summaries(&self, keys: &[Key]) -> Option<TableRead> {
        match self.read(keys).await {
            Ok(read) => {
                if self.rest.end() {
                    tracing::info!(standby = %self.name, "the standby answers again");
                }
                read
            }
            // The standby cancelled the statement because the replay conflicted with it. The
            // standby itself works.
            Err(StoreError::Conflict) => None,
            Err(error) => {
                if self.rest.begin() {
                    tracing::warn!(
                        standby = %self.name,
                        %error,
                        "the standby fails; reads go to the primary"
                    );
                }
                None
            }
        }
    }

    /// `None` when the standby has replayed no epoch yet.
    async fn read(&self, keys: &[Key]) -> Result<Option<TableRead>> {
        let started = Instant::now();
        let mut connection = self.pool.acquire().await?;
        let left = self.timeout.saturating_sub(started.elapsed());
        let Ok(read) = timeout(left, epoch::summaries(&mut *connection, keys)).await else {
            // Dropped, not given back: the pool would wait for its answer.
            drop(connection.detach());
            return Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut));
        };
        let (agreed, asked) = read?;
        Ok(agreed.anywhere().map(|there| asked.at(there, Some(self.name.clone()))))
    }
}

/// How long a standby that failed is not asked. After that, one reader tries it for all.
const REST: Duration = Duration::from_secs(1);

/// Whether a standby is not asked at the moment, because it failed.
struct Rest {
    since: Instant,
    /// How long a try may take.
    timeout: Duration,
    /// The end of the rest, in milliseconds after `since`; 0 while the standby works.
    until_ms: AtomicU64,
}

impl Rest {
    fn new(timeout: Duration) -> Self {
        Rest { since: Instant::now(), timeout, until_ms: AtomicU64::new(0) }
    }

    fn after(&self, pause: Duration) -> u64 {
        u64::try_from((self.since.elapsed() + pause).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the caller may ask the standby. After a rest this is true for one caller; the next
    /// may ask when the try of that one is over.
    fn is_over(&self) -> bool {
        let until_ms = self.until_ms.load(Ordering::Acquire);
        let next_try_ms = self.after(self.timeout + REST);
        until_ms == 0
            || (until_ms <= self.after(Duration::ZERO)
                && self
                    .until_ms
                    .compare_exchange(until_ms, next_try_ms, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok())
    }

    /// Begins a rest. True when the standby worked until now.
    fn begin(&self) -> bool {
        self.until_ms.swap(self.after(REST), Ordering::AcqRel) == 0
    }

    /// Ends the rest. True when there was one.
    fn end(&self) -> bool {
        self.until_ms.load(Ordering::Acquire) != 0 && self.until_ms.swap(0, Ordering::AcqRel) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_that_failed_is_left_alone_and_then_tried_by_one_for_all() {
        let timeout = Duration::from_millis(10);
        let rest = Rest { since: Instant::now() - Duration::from_secs(60), ..Rest::new(timeout) };
        let asked = || (0..10).filter(|_| rest.is_over()).count();
        assert_eq!(asked(), 10, "it is well");
        assert!(rest.begin());
        assert!(!rest.begin(), "that is known");
        assert_eq!(asked(), 0);
        rest.until_ms.store(rest.after(Duration::ZERO), Ordering::Release);
        assert_eq!(asked(), 1, "the rest is over");
        assert!(rest.end() && !rest.end());
        assert_eq!(asked(), 10);
    }
}
