//! The day of all facilities. Its figures come from a view in memory, which the table fills. Which
//! facilities and days there are comes from the directory. A page is exact as of the earlier of
//! both instants.

pub mod day_of_all;
mod list_request;
pub mod shared_proof;
pub mod view_fill;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use crate::{service::reads::Reads, store, store::StoreError};
use list_request::ListRequest;
use shared_proof::SharedProof;

/// Reads lists.
pub struct Lists {
    /// The reads of single days, with memory, store and directory.
    pub reads: Arc<Reads>,
    /// Proves the table up to now.
    pub proof: Arc<SharedProof>,
    /// How long a page of a view will do after it was rendered, although the view has changed, in
    /// milliseconds; 0: not at all.
    pub render_interval_ms: i64,
    /// Whether other programs write the sources without marks. Then nothing is proven of the table
    /// as a whole. A day counts as of its own refresh, and is refreshed for a reader who takes no
    /// older figures.
    pub are_unwatched: Arc<AtomicBool>,
    /// Whether the owner has changed mapped tables so that their figures cannot be read. What is
    /// marked then stays marked, so nothing is proven of the table as a whole, and a day counts as
    /// of its own refresh.
    pub are_broken: Arc<AtomicBool>,
}

/// Refreshes what other programs changed, and so proves the table. The drain implements it.
#[async_trait]
pub trait Prover: Send + Sync {
    /// Refreshes everything that is marked or due now, and announces the watermark. False where
    /// more is left.
    async fn prove(&self) -> store::Result<bool>;
}

/// Where a list comes from: of several, the last one here counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Memory,
    Table,
    /// The table; some of its days had to be refreshed.
    Refreshed,
    /// Memory, as the database is out of reach. These are the last figures.
    Unavailable,
}

/// Why there is no list.
#[derive(Debug)]
pub enum ListError<E> {
    /// The days could not be selected; the error of `select`.
    Selection(E),
    /// The reader sent `only-if-cached`, and memory has nothing fresh enough.
    NotCached,
    /// Nothing fresh enough can be had now.
    Unavailable,
    /// Another transaction holds a lock that a refresh, or the proof, needs.
    Locked,
}

/// Pause between two tries while nothing can be proven, for example while another transaction holds
/// a lock that the proof needs.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// How long the directory may take to receive the watermark that was proven of the table. After
/// that it is read anew.
const WATERMARK_WAIT: Duration = Duration::from_millis(100);
const WATERMARK_POLL: Duration = Duration::from_millis(2);
/// The greatest age of the directory at the arrival of a request, while changes of other servers do
/// not arrive. The age is not judged when the answer leaves: where a read of the directory takes
/// longer than this, there would never be an answer.
const DETACHED_MS: i64 = 1_000;
/// Keys that one statement reads from the table.
const READ_CHUNK: usize = 1_000;

impl Lists {
    /// Proves the table in the background for later readers; this reader took older figures.
    fn prove_behind(&self) {
        if !self.proof.is_idle() {
            return; // it is being proven
        }
        let proof = self.proof.clone();
        tokio::spawn(async move {
            if let Err(error) = proof.prove(|_| false).await {
                tracing::debug!(%error, "nothing could be proven behind a list");
            }
        });
    }

    fn failed<E>(&self, error: &StoreError) -> ListError<E> {
        self.reads.outage.failed(error);
        match error {
            StoreError::Locked(_) | StoreError::Conflict => ListError::Locked,
            _ => ListError::Unavailable,
        }
    }

    /// Whether a day counts as of its own refresh: other programs write the sources without marks,
    /// or these cannot be read, or this server has an earlier mapping than another one, and only
    /// reads what is stored.
    fn are_unwatched(&self) -> bool {
        self.are_unwatched.load(Ordering::Relaxed) || self.serves_the_last()
    }

    /// Whether nothing newer than what is stored can be had.
    fn serves_the_last(&self) -> bool {
        self.are_broken.load(Ordering::Relaxed) || self.reads.store.is_superseded()
    }

    /// Has the table, and then the directory, proven as fresh as the reader asked, if that is
    /// possible now.
    async fn prove(&self, asked: &ListRequest) -> store::Result<()> {
        let (memory, directory, clock) =
            (&self.reads.memory, &self.reads.directory, &self.reads.clock);
        let table_ms = memory.table_ms();
        let is_superseded = self.reads.store.is_superseded();
        if !self.reads.changes.is_attached() {
            // Changes of other servers do not arrive, so the directory itself is read.
            let will_do = |as_of_ms: i64| {
                (is_superseded || asked.arrived_ms.saturating_sub(as_of_ms) <= DETACHED_MS)
                    && asked.takes(as_of_ms, clock.now_ms())
            };
            directory.catch_up(&*self.reads.store, will_do).await?;
        }
        if !self.are_unwatched() && !asked.takes(table_ms, clock.now_ms()) {
            return self.proof.prove(|table_ms| asked.takes(table_ms, clock.now_ms())).await;
        }
        let received = async {
            while !asked.takes(directory.exact_as_of_ms(), clock.now_ms()) {
                tokio::time::sleep(WATERMARK_POLL).await;
            }
        };
        match tokio::time::timeout(WATERMARK_WAIT, received).await {
            Ok(()) => Ok(()),
            Err(_) => {
                directory
                    .catch_up(&*self.reads.store, |as_of_ms| asked.takes(as_of_ms, clock.now_ms()))
                    .await
            }
        }
    }

    /// The greatest age of the last figures while the database cannot be asked, in milliseconds.
    fn most_stale_ms(&self, asked: &ListRequest) -> i64 {
        if asked.requested.explicit {
            let beyond_ms = asked.requested.max_stale_ms.unwrap_or_default();
            asked.requested.max_age_ms.saturating_add(beyond_ms)
        } else {
            1000 * i64::try_from(self.reads.freshness.stale_if_error_seconds)
                .unwrap_or(i64::MAX / 1000)
        }
    }
}
