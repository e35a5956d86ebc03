//! A read of facilities: from before its statement until its rows are taken over.

use std::{
    collections::HashSet,
    sync::{PoisonError, atomic::Ordering},
};

use uuid::Uuid;

use super::Directory;
use crate::store::{self, FacilitiesRead, StoreError};

/// A read of facilities that is under way. Only one exists at a time.
pub struct DirectoryRead<'a> {
    /// The facilities that are read; where all are read, those that were known before.
    asked: Vec<Uuid>,
    is_of_all: bool,
    /// The number of messages about facilities before the read began, and the epoch at that time.
    messages: u64,
    epoch: u32,
    /// The instant as of which the table was proven before the read.
    table_ms: i64,
    /// All facilities are read at this instant or later.
    at_ms: Option<i64>,
    _guard: tokio::sync::MutexGuard<'a, ()>,
}

impl DirectoryRead<'_> {
    /// States that the rows are read at `at_ms` by the database's clock, or later. The caller must
    /// have asked for this time after the reading began. Counts only where all facilities are read.
    pub fn exact_as_of(self, at_ms: i64) -> Self {
        DirectoryRead { at_ms: self.is_of_all.then_some(at_ms), ..self }
    }
}

impl Directory {
    /// Begins a read of these facilities, or of all. The caller then reads them from the database.
    /// Waits until no other read is under way.
    pub async fn begin_reading(&self, ids: Option<&[Uuid]>) -> DirectoryRead<'_> {
        let guard = self.reading.lock().await;
        // Listed before the rows are read. A facility that is written meanwhile may be missing in
        // the rows, and must not count as gone.
        let asked = ids.map_or_else(
            || {
                self.facilities
                    .read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .keys()
                    .copied()
                    .collect()
            },
            <[Uuid]>::to_vec,
        );
        DirectoryRead {
            asked,
            is_of_all: ids.is_none(),
            messages: self.unread.messages(),
            epoch: self.unread.epoch(),
            table_ms: self.memory.table_ms(),
            at_ms: None,
            _guard: guard,
        }
    }

    /// Takes over the rows that were read, and returns the facilities that no longer exist.
    ///
    /// Where the rows are the last ones that were stored, they are taken over, nothing is proven,
    /// and the error says why.
    ///
    /// `StoreError::OtherEpoch`, and nothing is taken over, where the rows are not of the epoch
    /// that is served: memory holds entries of that one, and no answer may come from both. The
    /// drain snapshot that enters the other epoch has all facilities read again.
    pub fn finish_reading(
        &self,
        reading: DirectoryRead<'_>,
        read: FacilitiesRead,
    ) -> store::Result<Vec<Uuid>> {
        if !self.continues_in(&read, reading.table_ms) {
            return Err(StoreError::OtherEpoch);
        }
        let rows = read.rows;
        let found: HashSet<Uuid> = rows.iter().map(|row| row.id).collect();
        let gone: Vec<Uuid> =
            reading.asked.iter().filter(|id| !found.contains(id)).copied().collect();
        self.take_over(rows, &gone);
        if reading.is_of_all {
            self.loaded.store(true, Ordering::Release);
        }
        if let Some(error) = read.outdated {
            return Err(error);
        }
        self.unread.read((!reading.is_of_all).then_some(&reading.asked), reading.messages);
        if let Some(at_ms) = reading.at_ms {
            let at_ms = read.stored_ms.map_or(at_ms, |stored_ms| stored_ms.min(at_ms));
            self.unread.prove_read(reading.epoch, at_ms);
        }
        Ok(gone)
    }

    /// Whether the rows are of the epoch that is served, as `Changes::continue_in` says it of
    /// summaries. A restored copy of the database's files may have the same epoch; it lacks a
    /// watermark that was stored before the read. Before an epoch is served, memory holds nothing.
    fn continues_in(&self, read: &FacilitiesRead, table_ms: i64) -> bool {
        let stored_ms = read.watermark.map_or(i64::MIN, |watermark| watermark.at_ms);
        self.served.load().as_deref().is_none_or(|served| {
            *served == read.epoch && (!self.stores_watermark || stored_ms >= table_ms)
        })
    }
}
