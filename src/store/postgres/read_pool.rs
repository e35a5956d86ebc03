//! The standbys that table reads may go to, in turn; each has a pool. A failing standby costs one
//! reader per second its time-out, at most. A standby's answer is as old as its replay; the answer
//! carries the standby's own watermark, and the caller judges it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::PgPool;
use tokio::time::timeout;

use super::{connect, epoch, home::Home};
use crate::{
    back_off::BackOff,
    config::{DatabaseSettings, redacted},
    domain::summary::Key,
    store::{Cause, Connections, Result, StoreError, TableRead},
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
        in_turn.into_iter().find(|standby| standby.back_off.may_try())?.summaries(keys).await
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
    back_off: BackOff,
}

impl Standby {
    fn new(settings: &DatabaseSettings, home: &Arc<Home>, url: &str) -> Result<Self> {
        let timeout = Duration::from_millis(settings.read_timeout_ms);
        Ok(Standby {
            name: redacted(url).into(),
            pool: connect::lazy(settings, home, url, timeout)?,
            timeout,
            back_off: BackOff::new(timeout),
        })
    }

    async fn summaries(&self, keys: &[Key]) -> Option<TableRead> {
        match self.read(keys).await {
            Ok(read) => {
                if self.back_off.end() {
                    tracing::info!(standby = %self.name, "the standby answers again");
                }
                read
            }
            // The standby cancelled the statement because the replay conflicted with it. The
            // standby itself works.
            Err(StoreError::Conflict) => None,
            Err(error) => {
                if self.back_off.begin() {
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
            return Err(StoreError::Unavailable(Cause::NoAnswer));
        };
        let (agreed, asked) = read?;
        Ok(agreed.anywhere().map(|there| asked.at(there, Some(self.name.clone()))))
    }
}
