//! Reads for live clients go by the way of all reads, on the runtime of all work other than HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::{runtime::Handle, sync::Semaphore};
use uuid::Uuid;

use super::{
    server::{Found, FoundTotals, Least, NotFound, Server},
    totals,
};
use crate::{
    access::Visible,
    cache::{
        memory::Memory,
        views::{DayQuery, Form, Sort},
    },
    changes::Changes,
    clock::Clock,
    directory::{Directory, Located},
    domain::day::Day,
    service::{
        freshness_request::FreshnessRequest,
        lists::{Lists, day_of_all::DayRequest},
        outage::Outage,
        reads::{
            Reads,
            answer::{Answer, ReadError},
            redis_rung::FromRedis,
        },
    },
};

/// The most facilities that are read at once, for each process.
pub const AT_ONCE: usize = 64;

/// The tiers of this server.
pub struct Tiers {
    /// The memory tier.
    pub memory: Arc<Memory>,
    /// The facilities.
    pub directory: Arc<Directory>,
    /// Reads of one day.
    pub reads: Arc<Reads>,
    /// Reads of the day of all facilities.
    pub lists: Arc<Lists>,
    /// Whether changes of other servers arrive here.
    pub changes: Arc<Changes>,
    /// Whether the database is out of reach.
    pub outage: Arc<Outage>,
    /// The database's clock.
    pub clock: Arc<Clock>,
    /// The runtime of all work other than HTTP itself.
    pub runtime: Handle,
    /// The places of reads.
    pub places: Semaphore,
}

#[async_trait]
impl Server for Tiers {
    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn latest_ms(&self) -> i64 {
        self.clock.latest_ms()
    }

    fn is_in_outage(&self) -> bool {
        self.outage.is_on()
    }

    fn is_attached(&self) -> bool {
        self.changes.is_attached()
    }

    fn read_memory(&self, facility: Uuid, min_version: i64) -> Option<Found> {
        let located = self.directory.locate(facility)?;
        let now_ms = self.clock.now_ms();
        let day = located.facility.zone.today(now_ms);
        let requested = self.requested(Least::Version(min_version));
        let answer = self.reads.read_memory(&located, &day, &requested, now_ms)?;
        Some(found(day, answer, now_ms))
    }

    async fn read(self: Arc<Self>, facility: Uuid, least: Least) -> Result<Found, NotFound> {
        let tiers = self.clone();
        let reading = self.runtime.spawn(async move {
            let _place = tiers.places.acquire().await;
            let (day, answer) = tiers.read_day(facility, least).await?;
            Ok(found(day, answer, tiers.clock.now_ms()))
        });
        reading.await.unwrap_or(Err(NotFound::Unavailable))
    }

    async fn find(self: Arc<Self>, facility: Uuid) -> Result<(), NotFound> {
        // In a task of its own: others may wait for its query.
        let tiers = self.clone();
        let found = self.runtime.spawn(async move { tiers.locate(facility).await.map(drop) });
        found.await.unwrap_or(Err(NotFound::Unavailable))
    }

    async fn read_totals(self: Arc<Self>, visible: Visible) -> Option<FoundTotals> {
        let tiers = self.clone();
        self.runtime.spawn(async move { tiers.totals(visible).await }).await.ok().flatten()
    }
}

fn found(day: Day, answer: Answer, now_ms: i64) -> Found {
    Found { day, as_of_ms: now_ms.saturating_sub(answer.age_ms), entry: answer.entry }
}

impl Tiers {
    fn requested(&self, least: Least) -> FreshnessRequest {
        let max_age = self.reads.freshness.max_age();
        let (max_age_ms, min_version) = match least {
            // With `no-cache` each client would cost a refresh.
            Least::Version(version) => {
                (i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX).max(1_000), version)
            }
            Least::Now => (0, 0),
        };
        FreshnessRequest {
            max_age_ms,
            explicit: least == Least::Now,
            max_stale_ms: None,
            only_if_cached: false,
            min_version,
        }
    }

    async fn read_day(&self, facility: Uuid, least: Least) -> Result<(Day, Answer), NotFound> {
        let mut least = least;
        // More than once where the facility moves, or the version is of another history.
        for _ in 0..3 {
            let located = match self.directory.locate(facility) {
                Some(located) => located,
                None => self.locate(facility).await?,
            };
            let day = located.facility.zone.today(self.clock.now_ms());
            let requested = self.requested(least);
            let found = match self.reads.read_redis(&located, &day, &requested).await {
                FromRedis::Answer(answer) => return Ok((day, answer)),
                found => found.too_old(),
            };
            match self.reads.read(&located, day, &requested, found).await.0 {
                Ok(answer) => return Ok((day, answer)),
                Err(ReadError::Moved | ReadError::NotFound) => {}
                Err(ReadError::VersionNotReached) => least = Least::Version(0),
                Err(_) => return Err(NotFound::Unavailable),
            }
        }
        match self.directory.get(facility) {
            Some(_) => Err(NotFound::Unavailable),
            None => Err(NotFound::Gone),
        }
    }

    async fn locate(&self, facility: Uuid) -> Result<Located, NotFound> {
        match self.directory.find(&*self.reads.store, facility).await {
            Ok(Some(located)) => Ok(located),
            Ok(None) => Err(NotFound::Gone),
            Err(_) => Err(NotFound::Unavailable),
        }
    }

    async fn totals(&self, visible: Visible) -> Option<FoundTotals> {
        let facilities = visible.ids().cloned();
        let query = DayQuery {
            limit: 1,
            cursor: None,
            sort: Sort::default(),
            name: None,
            has_own_version: facilities.is_some(),
            facilities,
            blood_type: None,
            below: None,
            above: None,
            without_types: true,
        };
        let text = format!("{} totals of live clients", totals::name_of(&visible));
        let sees_all = matches!(visible, Visible::All);
        let day = DayRequest { date: None, text, query, form: Form::Plain, sees_all };
        let (asked_ms, interval_ms) = (self.clock.now_ms(), self.lists.render_interval_ms);
        let begins = |_: &Directory, _: i64| Ok::<(), ()>(());
        let answer = self
            .lists
            .day_of_all(&day, self.requested(Least::Version(0)), begins, || ())
            .await
            .ok()?;
        let as_of_ms = self.clock.now_ms().saturating_sub(answer.age_ms);
        let mut page: serde_json::Value = serde_json::from_slice(&answer.page.body).ok()?;
        let totals = page.get_mut("totals")?.take();
        let may_lag = (0..interval_ms).contains(&asked_ms.saturating_sub(answer.page.rendered_ms));
        Some(FoundTotals { totals, as_of_ms, may_lag })
    }
}
