//! The epoch of the database. A failover, a restored backup or a clock that was set back begins
//! another epoch. What was held about the earlier epoch does not count in the new one. This file
//! also counts the other servers on the database.

use std::{sync::atomic::Ordering, time::Instant};

use super::{Drain, LEADERLESS, generation_contention::GenerationContention};
use crate::{
    protocol::Position,
    store,
    store::{DrainSnapshot, OutboxCounters, StoreError},
};

/// What earlier drain snapshots have shown.
#[derive(Debug)]
pub struct EpochTracker {
    /// The greatest watermark that a drain snapshot found stored in this epoch.
    stored_ms: i64,
    /// The greatest watermark received from the stream, in milliseconds by the database's clock.
    received_ms: i64,
    /// The highest counters that drain snapshots showed in this epoch.
    written: Option<OutboxCounters>,
    /// The database has lost something, and the next epoch has not begun yet.
    is_lost: bool,
    /// When `received_ms` was received.
    pub(super) received_at: Instant,
    /// Other servers change this database, and their changes do not arrive here. Without a stream
    /// between replicas, any other server counts. With a stream, each server counts that does not
    /// publish into it. Each server deletes from the outbox what it has published, so no server can
    /// prove that it has every change.
    pub(super) several: bool,
    /// Changes may have been missed since the current stream session began.
    pub(super) missed: bool,
    /// This server has ended the stream that earlier servers had between them.
    left_stream: bool,
    /// When this server entered this epoch.
    entered_at: Instant,
    /// This server has read everything that the stream has of this epoch, or has itself kept the
    /// watermark.
    pub(super) has_read_epoch: bool,
    /// A new epoch was entered, and its facilities are not yet read.
    pub(super) has_new_directory: bool,
    contention: GenerationContention,
}

impl Default for EpochTracker {
    fn default() -> Self {
        let now = Instant::now();
        EpochTracker {
            stored_ms: i64::MIN,
            received_ms: i64::MIN,
            written: None,
            is_lost: false,
            received_at: now,
            several: false,
            missed: false,
            left_stream: false,
            entered_at: now,
            has_read_epoch: false,
            has_new_directory: false,
            contention: GenerationContention::default(),
        }
    }
}

/// How far the database's clock may go back, in milliseconds, as by a leap second or a slewed
/// clock. If it goes back further, nothing that was proven counts any more.
const CLOCK_TOLERANCE_MS: i64 = 1_000;

/// What a drain snapshot says about the epoch that was known before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The epoch goes on.
    Same,
    /// The database has lost something that it had.
    Lost,
    /// The database's server was started anew, perhaps on other files. No watermark is stored, so a
    /// loss cannot be excluded.
    Restarted,
    /// The database's clock was set back.
    SetBack {
        /// How far, in milliseconds.
        by_ms: i64,
    },
}

impl EpochTracker {
    /// Compares a drain snapshot with what was known before, and records it. `received` is this
    /// server's position in the stream before the snapshot, and the greatest watermark that it had
    /// received. `table_ms` is the instant as of which the table is proven.
    ///
    /// - `SetBack`: the snapshot's time is more than `CLOCK_TOLERANCE_MS` before a proven instant.
    /// - `Lost`: a loss was found before, and the next epoch has not begun; or the store itself has
    ///   found that its counters went back.
    /// - `Lost`, where watermarks are stored: the stored one is older than one that was stored or
    ///   received before, or the generation is lower than that of the stream. The database has each
    ///   generation before the stream has it.
    /// - `Lost`, where no watermarks are stored: fewer rows or transactions were ever written than
    ///   an earlier snapshot showed.
    /// - `Restarted`, where no watermarks are stored: the database's server has started at another
    ///   time.
    /// - `Same`: none of these.
    pub fn judge(
        &mut self,
        seen: &DrainSnapshot,
        received: Option<(Position, i64)>,
        table_ms: i64,
        stores_watermark: bool,
    ) -> Verdict {
        let (generation, heard_ms) =
            received.map_or((0, i64::MIN), |(position, heard_ms)| (position.generation, heard_ms));
        let stored_ms = seen.stored_watermark.map_or(i64::MIN, |watermark| watermark.at_ms);
        let proven_ms = table_ms.max(stored_ms);
        if seen.at_ms < proven_ms.saturating_sub(CLOCK_TOLERANCE_MS) {
            Verdict::SetBack { by_ms: proven_ms - seen.at_ms }
        } else if self.is_lost
            || seen.written.has_gone_back
            || (stores_watermark
                && (stored_ms < self.stored_ms.max(heard_ms) || seen.generation < generation))
        {
            Verdict::Lost
        } else {
            self.stored_ms = self.stored_ms.max(stored_ms);
            let before = self.written.replace(seen.written);
            match before.filter(|_| !stores_watermark) {
                Some(before)
                    if seen.written.rows < before.rows
                        || seen.written.transactions < before.transactions =>
                {
                    Verdict::Lost
                }
                Some(before) if seen.written.server_since_ms != before.server_since_ms => {
                    Verdict::Restarted
                }
                _ => Verdict::Same,
            }
        }
    }

    /// Records a watermark received from the stream.
    pub(super) fn receive_watermark(&mut self, watermark_ms: i64) {
        if watermark_ms > self.received_ms {
            (self.received_ms, self.received_at) = (watermark_ms, Instant::now());
        }
    }

    /// Records, and logs, whether other servers change the database without publishing.
    fn count_servers(&mut self, seen: &DrainSnapshot, between_replicas: bool) {
        let several = if between_replicas { seen.off_stream > 0 } else { seen.servers > 1 };
        match (self.several, several) {
            (false, true) if between_replicas => tracing::warn!(
                servers = seen.off_stream,
                "a server without REDIS_URL, or of an older release, uses this database: until it \
                 is gone, answers are only as fresh as the table proves them"
            ),
            (false, true) => tracing::warn!(
                servers = seen.servers,
                "several servers use this database, and there is no change stream between them: \
                 answers are only as fresh as their last refresh; give each of them REDIS_URL"
            ),
            (true, false) if between_replicas => {
                tracing::info!("all servers on this database share the change stream again")
            }
            (true, false) => tracing::info!(
                "this server is alone on its database again: its answers are kept fresh"
            ),
            _ => {}
        }
        self.several = several;
        self.missed |= several || (seen.arrived && !between_replicas);
    }
}

impl Drain {
    /// Whether this server may keep the watermark.
    ///
    /// - Yes, if it has read everything that the stream has of this epoch.
    /// - Yes, if this database has no stream.
    /// - Yes, if no watermark is stored, or if the stored one is younger than `LEADERLESS`: then a
    ///   server keeps it.
    /// - No in all other cases. The stream cannot be read, and may contain changes that the
    ///   database has lost: both may have been restored while no server ran. A watermark that
    ///   continued from there would declare those changes as present. After `LEADERLESS` in this
    ///   state, this begins another epoch.
    pub(super) async fn may_keep_watermark(
        &self,
        known: &mut EpochTracker,
        seen: &DrainSnapshot,
    ) -> store::Result<bool> {
        let has_no_stream = self.changes.attachment().is_none() && seen.generation == 0;
        let is_kept = seen.stored_watermark.is_none_or(|kept| {
            seen.at_ms.saturating_sub(kept.at_ms) < LEADERLESS.as_millis() as i64
        });
        known.has_read_epoch |= has_no_stream || is_kept;
        if !known.has_read_epoch && known.entered_at.elapsed() >= LEADERLESS {
            tracing::warn!(
                "the change stream of this database cannot be read, and no other server keeps the \
                 watermark: another epoch begins"
            );
            self.store.begin_epoch(&seen.epoch).await?;
        }
        Ok(known.has_read_epoch)
    }

    /// Acts on what a drain snapshot says of the epoch. Returns true when the epoch changed, so
    /// that another snapshot is needed. `received` is this server's position in the stream before
    /// the snapshot, and the greatest watermark that it had received.
    pub(super) async fn enter_epoch(
        &self,
        known: &mut EpochTracker,
        seen: &DrainSnapshot,
        received: (Position, i64),
    ) -> store::Result<bool> {
        if self.changes.serves_another_than(&seen.epoch) {
            // The directory comes first: nothing may be held about facilities, or their zones, that
            // the new epoch does not have.
            self.directory.start_over();
        }
        if self.changes.enter(&seen.epoch) {
            self.begin_tracking(known, seen);
            return Ok(true);
        }
        known.is_lost |= self.changes.take_suspicion();
        let received = self.changes.are_between_replicas().then_some(received);
        let stores_watermarks = self.changes.store_watermarks();
        let verdict = known.judge(seen, received, self.memory.table_ms(), stores_watermarks);
        log_verdict(verdict, known.is_lost);
        if verdict != Verdict::Same && !stores_watermarks {
            self.directory.start_over();
            self.changes.start_over();
            known.has_new_directory = true;
        }
        let begins_epoch = match verdict {
            Verdict::Same => false,
            Verdict::Lost | Verdict::Restarted => true,
            Verdict::SetBack { .. } => stores_watermarks,
        };
        if begins_epoch {
            // Each snapshot gives `Lost` until the next epoch has begun.
            known.is_lost |= verdict == Verdict::Lost;
            self.store.begin_epoch(&seen.epoch).await?;
            return Ok(true);
        }
        let is_new = self.note_other_servers(known, seen).await?;
        self.stop_if_superseded()?;
        Ok(is_new)
    }

    /// Errors where another mapping counts. The epoch comes first: the other mapping has begun it,
    /// and what was held is of the one before.
    fn stop_if_superseded(&self) -> store::Result<()> {
        match self.store.is_superseded() {
            false => Ok(()),
            true => {
                self.leads.store(false, Ordering::Release);
                Err(StoreError::Superseded)
            }
        }
    }

    /// Starts to track an epoch that has just been entered.
    fn begin_tracking(&self, known: &mut EpochTracker, seen: &DrainSnapshot) {
        tracing::warn!(
            epoch = %seen.epoch,
            "the database is in another epoch (a failover, or a backup restored): everything held \
             was dropped"
        );
        self.metrics.epochs.inc();
        // A server that begins an epoch gives it a greater `versions_from` than the epoch before. A
        // backup has the number of its own time.
        let is_backup =
            known.written.is_some_and(|before| seen.written.versions_from <= before.versions_from);
        *known = EpochTracker {
            several: known.several,
            missed: known.missed,
            left_stream: known.left_stream,
            is_lost: is_backup && !self.changes.store_watermarks(),
            has_new_directory: true,
            ..EpochTracker::default()
        };
    }

    /// Reads all facilities again when another epoch was entered.
    pub(super) async fn read_directory_of_epoch(
        &self,
        known: &mut EpochTracker,
    ) -> store::Result<()> {
        if known.has_new_directory {
            self.directory.read_all(&*self.store).await?;
            known.has_new_directory = false;
        }
        Ok(())
    }

    /// Records which other servers use the database. Returns true when another server has begun a
    /// generation meanwhile, so that another snapshot is needed.
    async fn note_other_servers(
        &self,
        known: &mut EpochTracker,
        seen: &DrainSnapshot,
    ) -> store::Result<bool> {
        let between_replicas = self.changes.are_between_replicas();
        let begun = self.begun.load(Ordering::Relaxed);
        if between_replicas && known.contention.see(seen.generation, begun, Instant::now()) {
            tracing::warn!(
                generation = seen.generation,
                "other servers begin one generation of the change stream after the other: most \
                 likely a server on this database has another REDIS_URL; give all of them the \
                 same, or else see whether Redis restarts, or loses the stream, again and again"
            );
        }
        known.count_servers(seen, between_replicas);
        let misses_others = if between_replicas { known.several } else { known.missed };
        self.changes.miss_others(misses_others || !seen.triggers.are_trusted());
        if !between_replicas && seen.generation != 0 && !known.left_stream {
            // The changes of this server do not arrive in the stream that other servers had for
            // this database. A new generation ends that stream, so that no other server treats it
            // as complete.
            match self.store.begin_generation(seen.generation).await {
                // Another server that starts has just begun one, so another snapshot is needed.
                Err(StoreError::Conflict) => return Ok(true),
                begun => drop(begun?),
            }
            known.left_stream = true;
        }
        Ok(false)
    }
}

fn log_verdict(verdict: Verdict, was_found_before: bool) {
    match verdict {
        Verdict::Same => {}
        Verdict::SetBack { by_ms } => tracing::warn!(
            by_seconds = by_ms / 1000,
            "the database's clock was set back; everything is proven anew"
        ),
        Verdict::Lost if was_found_before => {}
        Verdict::Lost => tracing::warn!(
            "the database shows less than it did (a backup restored?); everything is proven anew"
        ),
        Verdict::Restarted => tracing::info!(
            "the database's server was started anew, perhaps on other files: another epoch begins"
        ),
    }
}

#[cfg(test)]
#[path = "epoch_tests.rs"]
pub(super) mod tests;
