//! Ranges: several days of one facility in one answer, under the same rules as one summary: memory,
//! then Redis, then the summary table, then a refresh. A range is as old as the oldest of its days.
//! What memory lacks is read in one statement for all days, and held.

mod lower_rungs;
mod table;
mod turns;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use jiff::civil::Date;
use moka::sync::Cache;
use tokio::sync::Mutex;
use uuid::Uuid;

use turns::LastTurn;

use crate::{
    cache::page::{Page, PageExactness, Pages, Span},
    directory::Located,
    service::{
        freshness_request::FreshnessRequest,
        lists::shared_proof::SharedProof,
        reads::{
            Reads,
            answer::{Forward, Tier},
        },
    },
};

/// Reads ranges.
pub struct Ranges {
    /// The reads of single days, with memory, store and directory.
    reads: Arc<Reads>,
    /// Proves the table up to now.
    proof: Arc<SharedProof>,
    pages: Pages,
    /// Held while the lower rungs are asked for a facility: readers of one facility read what is
    /// missing once.
    filling: Cache<Uuid, Arc<Mutex<LastTurn>>>,
}

/// The most facilities whose ranges are read at the same time once each. Beyond that, two readers
/// of one facility may both read it.
const FILLING: u64 = 10_000;

/// A range, and what is known of it.
#[derive(Debug)]
pub struct RangeAnswer {
    /// The rendered days.
    pub page: Arc<Page>,
    /// Milliseconds since the oldest of them was last known to be exact.
    pub age_ms: i64,
    /// The lowest rung that was asked.
    pub tier: Tier,
    /// Why memory did not answer; `None` where it did.
    pub forward: Option<Forward>,
    /// Another reader of the same facility brought it.
    pub collapsed: bool,
    /// The database could not be reached; these are the last figures.
    pub source_unavailable: bool,
}

/// Why there is no range.
#[derive(Debug)]
pub enum RangeError<E> {
    /// The days could not be selected; the error of `select`.
    Selection(E),
    /// The reader sent `only-if-cached`, and memory and Redis have nothing fresh enough.
    NotCached,
    /// Nothing fresh enough can be had now.
    Unavailable,
    /// The version `min_version` was not reached in time.
    VersionNotReached,
}

/// Which days a range has: called again where the directory has changed.
pub type Select<E> = Arc<dyn Fn() -> Result<(Located, Span), E> + Send + Sync>;

/// What a reader asked for, and how far its read has come.
struct Read {
    requested: FreshnessRequest,
    /// When the request arrived; the database's clock showed no later time than `arrived_ms`.
    arrived: Instant,
    arrived_ms: i64,
    /// The lowest rung that it asked itself.
    tier: Tier,
    /// The lowest rung that another reader of the facility asked while this one waited.
    awaited: Tier,
    forward: Option<Forward>,
    /// It waited for another reader, or shared what that one had begun.
    waited: bool,
    asked_redis: bool,
    /// The days that memory did not have when Redis was asked.
    from_redis: HashSet<Date>,
}

impl Read {
    /// Whether figures that are exact as of `exact_ms` are fresh enough at `now_ms`. For `no-cache`
    /// they must have been proven after the request arrived.
    fn is_fresh(&self, exact_ms: i64, now_ms: i64) -> bool {
        exact_ms != i64::MIN
            && if self.requested.max_age_ms == 0 {
                exact_ms > self.arrived_ms
            } else {
                now_ms.saturating_sub(exact_ms) <= self.requested.max_age_ms
            }
    }

    /// Whether the reader takes them at once, though they are not fresh: `max-stale`.
    fn tolerates(&self, exact_ms: i64, now_ms: i64) -> bool {
        exact_ms != i64::MIN
            && self.requested.max_stale_ms.is_some_and(|most_ms| {
                now_ms.saturating_sub(exact_ms) <= self.requested.max_age_ms.saturating_add(most_ms)
            })
    }

    /// The lowest rung that was asked for it.
    fn lowest(&self) -> Tier {
        self.tier.max(self.awaited)
    }

    fn answer(&self, page: Arc<Page>, age_ms: i64) -> RangeAnswer {
        RangeAnswer {
            page,
            age_ms: age_ms.max(0),
            tier: self.lowest(),
            forward: self.forward,
            collapsed: self.waited && self.forward.is_some(),
            source_unavailable: false,
        }
    }
}

impl Ranges {
    /// Reads through `reads`; holds at most `max_bytes` of rendered pages.
    pub fn new(reads: Arc<Reads>, proof: Arc<SharedProof>, max_bytes: u64) -> Self {
        let filling =
            Cache::builder().max_capacity(FILLING).time_to_idle(Duration::from_secs(60)).build();
        let pages = Pages::new(max_bytes);
        Ranges { reads, proof, pages, filling }
    }

    /// The first rung: the range from memory, if all of it is held and fresh enough. Never waits.
    pub fn read_memory(
        &self,
        located: &Located,
        span: &Span,
        requested: &FreshnessRequest,
        now_ms: i64,
    ) -> Option<RangeAnswer> {
        let page = self.pages.held(&self.reads.memory, &located.facility, span)?;
        let exactness = self.reads.memory.page_exactness(&page, located.as_of_ms);
        let age_ms = now_ms.saturating_sub(exactness.as_of_ms).max(0);
        (requested.accepts(age_ms)
            && self.counts_as_fresh(&exactness, requested, now_ms)
            && reaches(&page, exactness.as_of_ms, requested))
        .then_some(RangeAnswer {
            page,
            age_ms,
            tier: Tier::Memory,
            forward: None,
            collapsed: false,
            source_unavailable: false,
        })
    }

    /// Whether the lower rungs can have nothing newer of any of the days: see
    /// `Reads::counts_as_fresh`.
    fn counts_as_fresh(
        &self,
        exactness: &PageExactness,
        requested: &FreshnessRequest,
        now_ms: i64,
    ) -> bool {
        let unproven_ms = self.reads.unproven_ms(self.reads.unproven.memory, true, requested);
        let is_attached = self.reads.changes.is_attached();
        let oldest_ms = if is_attached { exactness.detached_ms } else { exactness.as_of_ms };
        now_ms.saturating_sub(oldest_ms) <= unproven_ms || self.reads.outage.is_on()
    }

    /// The lower rungs. The future must run to its end.
    pub async fn read<E: Send + 'static>(
        self: &Arc<Self>,
        requested: FreshnessRequest,
        select: Select<E>,
    ) -> Result<RangeAnswer, RangeError<E>> {
        let started = Instant::now();
        let mut read = Read {
            requested,
            arrived: started,
            arrived_ms: self.reads.clock.latest_ms(),
            tier: Tier::Memory,
            awaited: Tier::Memory,
            forward: None,
            waited: false,
            asked_redis: false,
            from_redis: HashSet::new(),
        };
        let reach = self.reach(&mut read, &select);
        let reached = tokio::select! {
            biased; // an answer that is there counts
            reached = tokio::time::timeout(self.reads.freshness.refresh_timeout(), reach) => {
                reached.ok()
            }
            () = self.reads.outage.stops_answering() => None,
        };
        let result = match reached {
            Some(Err(RangeError::Unavailable)) => self.last_figures(&read, &select),
            Some(result) => result,
            None => {
                self.reads.outage.got_no_answer(started);
                match requested.min_version {
                    0 => self.last_figures(&read, &select),
                    _ => Err(RangeError::VersionNotReached),
                }
            }
        };
        tracing::info!(
            tier = read.lowest().as_str(),
            age_seconds = result.as_ref().map_or(0, |answer| answer.age_ms / 1000),
            duration_ms = started.elapsed().as_secs_f64() * 1000.0,
            answered = result.is_ok(),
            "range read"
        );
        result
    }

    /// The last figures in memory, where the database cannot be asked, with their true age, unless
    /// the reader's own bound forbids it.
    fn last_figures<E>(
        &self,
        read: &Read,
        select: &Select<E>,
    ) -> Result<RangeAnswer, RangeError<E>> {
        let (located, span) = select().map_err(RangeError::Selection)?;
        let page = self
            .pages
            .held(&self.reads.memory, &located.facility, &span)
            .ok_or(RangeError::Unavailable)?;
        let exact_ms = self.reads.memory.page_exactness(&page, located.as_of_ms).as_of_ms;
        let age_ms = self.reads.clock.now_ms().saturating_sub(exact_ms);
        let most_ms = if read.requested.explicit {
            read.requested.max_age_ms
        } else {
            1000 * i64::try_from(self.reads.freshness.stale_if_error_seconds)
                .unwrap_or(i64::MAX / 1000)
        };
        if age_ms > most_ms || !reaches(&page, exact_ms, &read.requested) {
            return Err(RangeError::Unavailable);
        }
        let answer = read.answer(page, age_ms);
        Ok(RangeAnswer { forward: Some(Forward::Stale), source_unavailable: true, ..answer })
    }

    /// Reads a range again in the background, for later readers, as this one took older figures;
    /// not where another reader of the facility is about it.
    fn read_behind<E: Send + 'static>(
        self: &Arc<Self>,
        facility: Uuid,
        read: &Read,
        select: &Select<E>,
    ) {
        if self.turn(facility).try_lock().is_err() {
            return;
        }
        let requested = FreshnessRequest { max_stale_ms: None, min_version: 0, ..read.requested };
        let (ranges, select) = (self.clone(), select.clone());
        // Boxed, as a read may begin another one.
        let reading: BoxFuture<'static, ()> =
            Box::pin(async move { drop(ranges.read(requested, select).await) });
        tokio::spawn(reading);
    }
}

/// Whether the page has everything of its facility up to `min_version`. Versions rise with the
/// commits of a facility: a day that has a version or a later one was derived after everything
/// before that version was committed. So the other days have it, too, where they are exact as of
/// the same instant.
fn reaches(page: &Page, exact_ms: i64, requested: &FreshnessRequest) -> bool {
    requested.min_version == 0
        || page.reached_ms(requested.min_version).is_some_and(|as_of_ms| exact_ms >= as_of_ms)
}
