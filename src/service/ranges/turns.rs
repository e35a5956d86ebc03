//! Turns: one reader of a facility at a time reads Redis and the table for it. What takes long is
//! awaited outside of a turn, since others may find in the table what they ask for.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::civil::Date;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{RangeAnswer, RangeError, Ranges, Read, Select, lower_rungs::Found};
use crate::{
    cache::page::PageDays, directory::Located, domain::day::Day, service::reads::answer::Tier,
    store,
};

/// What the last reader of a facility did in its turn that asked a rung below memory.
pub(super) struct LastTurn {
    /// The lowest rung that it asked.
    tier: Tier,
    /// When its turn ended.
    ended: Instant,
    /// When the last turn ended that asked the sources.
    asked_source: Option<Instant>,
    /// What its table did not have fresh enough.
    pub due: Option<Due>,
}

impl LastTurn {
    fn note(&mut self, tier: Tier) {
        (self.tier, self.ended) = (tier, Instant::now());
        if tier == Tier::Source {
            self.asked_source = Some(self.ended);
        }
    }

    /// The lowest rung that was asked in a turn which ended after that instant.
    fn asked_since(&self, at: Instant) -> Tier {
        match self.asked_source {
            Some(ended) if ended >= at => Tier::Source,
            _ if self.ended >= at => self.tier,
            _ => Tier::Memory,
        }
    }
}

/// Days that a read of the table did not find fresh enough.
pub(super) struct Due {
    /// When the table was read, at the earliest.
    pub began: Instant,
    /// The bound of its reader.
    pub max_age_ms: i64,
    pub days: HashSet<Date>,
}

/// What a reader's turn came to.
pub(super) enum Step {
    Answer(RangeAnswer),
    /// The rungs are tried again at once.
    Again,
    /// They are tried again after this time.
    Wait(Duration),
    /// The directory is to be read.
    ReadDirectory,
    /// The table is to be proven as fresh as the reader asked, if that is possible now.
    Prove,
    /// Days of these are to be refreshed.
    Refresh(Located, Arc<PageDays>, Vec<Day>),
}

impl Due {
    /// Whether the table had none of these days fresh enough for this reader, when it was read
    /// after the reader had arrived.
    pub fn has(&self, read: &Read, wanted: &[Day]) -> bool {
        read.requested.min_version == 0
            && self.began >= read.arrived
            && self.max_age_ms >= read.requested.max_age_ms
            && wanted.iter().all(|day| self.days.contains(&day.date))
    }
}

impl Ranges {
    /// Tries the rungs until one answers. Only one reader of a facility at a time reads Redis and
    /// the table. What takes long is awaited outside of its turn, since others may find in the
    /// table what they ask for.
    pub(super) async fn reach_step_by_step<E: Send + 'static>(
        self: &Arc<Self>,
        read: &mut Read,
        select: &Select<E>,
        facility: Uuid,
    ) -> Result<RangeAnswer, RangeError<E>> {
        let mut found = Found::new();
        let turn = self.turn(facility);
        let mut tried_proof = false;
        loop {
            let mut held = match turn.try_lock() {
                Ok(held) => Some(held),
                // Who takes only what is held does not wait for what is being read.
                Err(_) if read.requested.only_if_cached => None,
                Err(_) => {
                    read.waited = true;
                    Some(turn.lock().await)
                }
            };
            // Also where the turn is free by now: another reader may have asked meanwhile.
            let asked = held.as_ref().map_or(Tier::Memory, |last| last.asked_since(read.arrived));
            read.awaited = read.awaited.max(asked);
            let last = held.as_deref_mut();
            let step = self.step_in_turn(read, select, last, &mut found, tried_proof).await?;
            if matches!(step, Step::ReadDirectory | Step::Prove | Step::Refresh(..)) {
                read.tier = Tier::Source;
            }
            if let Some(last) = held.as_mut().filter(|_| read.tier != Tier::Memory) {
                last.note(read.tier);
            }
            drop(held);
            tried_proof = matches!(step, Step::Prove);
            match self.outside(read, step, &mut found).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(error) => {
                    self.reads.outage.failed(&error);
                    return Err(RangeError::Unavailable);
                }
            }
        }
    }

    /// Tries the rungs while no other reader of the facility does.
    async fn step_in_turn<E: Send + 'static>(
        self: &Arc<Self>,
        read: &mut Read,
        select: &Select<E>,
        last: Option<&mut LastTurn>,
        found: &mut Found,
        tried_proof: bool,
    ) -> Result<Step, RangeError<E>> {
        loop {
            let (located, span) = select().map_err(RangeError::Selection)?;
            let days = Arc::new(PageDays::of(&located.facility, &span));
            if let Some((answer, _)) = self.try_memory(read, &located, &span, &days, found) {
                return Ok(Step::Answer(answer));
            }
            if self.may_ask_redis(read) {
                let wanted = self.wanted(read, &located, &days.days, found);
                read.asked_redis = true;
                read.tier = Tier::Redis;
                let was_held = |day: &Day| self.reads.held(located.facility.id, day).is_some();
                let new = wanted.iter().filter(|day| !was_held(day)).map(|day| day.date);
                read.from_redis = new.collect();
                self.try_redis(&located, &wanted, found).await;
                continue;
            }
            if read.requested.only_if_cached {
                return Err(RangeError::NotCached);
            }
            if !self.reads.outage.may_try() {
                return Err(RangeError::Unavailable);
            }
            let step = self.try_database(read, located, days, last, found, tried_proof).await;
            return step.map_err(|error| {
                self.reads.outage.failed(&error);
                RangeError::Unavailable
            });
        }
    }

    /// What is done outside of the turn. `None`: the rungs are tried again.
    async fn outside(
        &self,
        read: &mut Read,
        step: Step,
        found: &mut Found,
    ) -> store::Result<Option<RangeAnswer>> {
        match step {
            Step::Answer(answer) => return Ok(Some(answer)),
            Step::Again => tokio::task::yield_now().await,
            Step::Wait(pause) => tokio::time::sleep(pause).await,
            Step::ReadDirectory => {
                // Readers that wait for the same read of it share it.
                let will_do = |as_of_ms| read.is_fresh(as_of_ms, self.reads.clock.now_ms());
                self.reads.directory.catch_up(&*self.reads.store, will_do).await?;
            }
            Step::Prove => {
                read.waited |= !self.proof.is_idle();
                let will_do = |table_ms| read.is_fresh(table_ms, self.reads.clock.now_ms());
                self.proof.prove(will_do).await?;
            }
            Step::Refresh(located, days, due) => {
                return self.refresh(read, &located, &days, due, found).await;
            }
        }
        Ok(None)
    }

    /// The turn of this facility.
    pub(super) fn turn(&self, facility: Uuid) -> Arc<Mutex<LastTurn>> {
        self.filling.get_with(facility, || {
            let ended = Instant::now();
            Arc::new(Mutex::new(LastTurn {
                tier: Tier::Memory,
                ended,
                asked_source: None,
                due: None,
            }))
        })
    }
}
