//! The real target of an import: the service's own ingest and refresh. So an imported row is
//! summarised like a posted one.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use async_trait::async_trait;
use jiff::civil::Date;
use serde_json::json;
use tokio::{sync::Mutex, task::JoinHandle};
use uuid::Uuid;

use super::{ClosedStock, ImportError, ImportTarget, Part, StatementCounts};
use crate::{
    access::audit,
    domain::{
        day::Day,
        event::{EntityKind, Event, Statement},
        summary::DayKey,
    },
    metrics::RefreshTrigger,
    service::{
        imports::{ImportPart, Recorded, StockChange},
        ingest::{Ingest, IngestError},
        refresh::request::RefreshRequest,
    },
    startup::Core,
    store::{
        self, FacilityRow,
        access::AuditNote,
        imports::{EqualRows, Finished, Import, NewImport},
    },
    tools::actor,
};

/// Writes with the parts of this process to the tables that a running service uses too. The drain
/// of that service publishes what is written here.
pub struct ServiceTarget<'a> {
    core: &'a Core,
    ingest: Ingest,
    lane: Mutex<Option<JoinHandle<()>>>,
}

/// Why the ingest refused a chunk.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("event {} of the chunk: {}", .0, .1)]
    Invalid(usize, String),
    #[error("the service's queue is full")]
    Overloaded,
    #[error("{0}")]
    Store(#[from] crate::store::StoreError),
    #[error("the ingest met a bug; the log says which")]
    Crashed,
}

impl<'a> ServiceTarget<'a> {
    /// Starts the lane of the ingest.
    pub fn new(core: &'a Core) -> Self {
        let (ingest, lane) = core.ingest();
        ServiceTarget { core, ingest, lane: Mutex::new(Some(lane)) }
    }

    /// Ends the lane. Everything that was answered is already committed.
    pub async fn close(self) {
        drop(self.ingest);
        if let Some(lane) = self.lane.lock().await.take() {
            // The lane contains and logs its own panics.
            let _ = lane.await;
        }
    }
}

fn failed(error: impl Into<Refused>) -> ImportError {
    ImportError::Target(Box::new(error.into()))
}

impl From<IngestError> for Refused {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Invalid(faults) => {
                faults.into_iter().next().map_or(Refused::Crashed, |f| {
                    Refused::Invalid(f.index, format!("{}: {}", f.field, f.detail))
                })
            }
            IngestError::Overloaded => Refused::Overloaded,
            IngestError::Unavailable(error) => Refused::Store(error),
            // Forbidden: an import may write of every facility, so it is never refused so.
            IngestError::Crashed | IngestError::Forbidden(_) => Refused::Crashed,
        }
    }
}

#[async_trait]
impl ImportTarget for ServiceTarget<'_> {
    async fn now_ms(&self) -> Result<i64, ImportError> {
        self.core.store.now_ms().await.map_err(failed)
    }

    async fn facilities(&self) -> Result<Vec<FacilityRow>, ImportError> {
        Ok(self.core.store.facilities(None).await.map_err(failed)?.rows)
    }

    async fn imports(&self) -> Result<Vec<Import>, ImportError> {
        self.core.store.imports().await.map_err(failed)
    }

    async fn begin(&self, new: &NewImport) -> Result<i32, ImportError> {
        let NewImport { kind, source, file, sha256, .. } = new;
        let detail = json!({"kind": kind, "source": source, "file": file, "sha256": sha256});
        let note = actor().note("import.begun", "", detail);
        let id = self.core.store.begin_import(new, note.clone()).await.map_err(failed)?;
        audit::log(&AuditNote { subject: id.to_string(), ..note });
        Ok(id)
    }

    async fn finish(&self, import: i32, finished: &Finished) -> Result<(), ImportError> {
        let Finished { rows_in, rows_skipped, .. } = finished;
        let detail = json!({"rows_in": rows_in, "rows_skipped": rows_skipped});
        let note = actor().note("import.finished", &import.to_string(), detail);
        let finishing = self.core.store.finish_import(import, finished, note.clone());
        finishing.await.map_err(failed)?;
        audit::log(&note);
        Ok(())
    }

    async fn rows_in(&self, kind: EntityKind, ids: &[Uuid]) -> Result<HashSet<Uuid>, ImportError> {
        self.core.store.rows_in(kind, ids).await.map_err(failed)
    }

    async fn claims(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, i32)>, ImportError> {
        self.core.store.claims(ids).await.map_err(failed)
    }

    async fn equal_rows(
        &self,
        kind: EntityKind,
        source: &str,
        rows: &[EqualRows],
    ) -> Result<Vec<(String, u64)>, ImportError> {
        self.core.store.equal_rows(kind, source, rows).await.map_err(failed)
    }

    async fn apply(
        &self,
        part: Part,
        statements: Vec<Statement>,
        claims: Vec<(Uuid, i64)>,
    ) -> Result<StatementCounts, ImportError> {
        if part.dry_run {
            return self.look(&statements).await.map_err(failed);
        }
        let note = ImportPart { import: part.import, facilities: claims };
        let events = statements.into_iter().map(Event::Statement).collect();
        let applied = self.ingest.submit_noted(events, note).await.map_err(failed)?;
        Ok(StatementCounts {
            applied: applied.applied as u64,
            superseded: applied.superseded as u64,
        })
    }

    async fn record_stock(
        &self,
        part: Part,
        days: Vec<ClosedStock>,
    ) -> Result<Recorded, ImportError> {
        let unknown: BTreeSet<Uuid> = days
            .iter()
            .map(|d| d.facility_id)
            .filter(|id| self.core.directory.get(*id).is_none())
            .collect();
        if !unknown.is_empty() {
            self.core
                .directory
                .reload(&*self.core.store, &unknown.into_iter().collect::<Vec<_>>())
                .await
                .map_err(failed)?;
        }
        let keys: Vec<DayKey> =
            days.iter().filter_map(|d| self.key(d.facility_id, d.date)).collect();
        // In a dry run, new facilities are not registered. All of their days would be new.
        let of_new_facilities = if part.dry_run { (days.len() - keys.len()) as u64 } else { 0 };
        let days = days.into_iter().map(|d| (d.key(), d.by_blood_type)).collect();
        let change = StockChange::Record { import: part.import, days, dry_run: part.dry_run };
        let recorded = {
            let request =
                RefreshRequest::days(keys, RefreshTrigger::Request).with_stock_change(change);
            self.core.refresher.run_recording(request).await.map_err(failed)?.1
        };
        Ok(Recorded { changed: recorded.changed + of_new_facilities, ..recorded })
    }
}

impl ServiceTarget<'_> {
    /// What would happen with the statements; no two of them are about one row. The transaction in
    /// which they are compared writes nothing.
    async fn look(&self, statements: &[Statement]) -> store::Result<StatementCounts> {
        let mut tx = self
            .core
            .store
            .begin(Duration::from_millis(self.core.settings.ingest.lock_timeout_ms))
            .await?;
        let mut applied = StatementCounts::default();
        for kind in EntityKind::ALL {
            let of_kind: Vec<&Statement> =
                statements.iter().filter(|statement| statement.kind == kind).collect();
            if of_kind.is_empty() {
                continue;
            }
            let known = tx
                .load(kind, &of_kind.iter().map(|statement| statement.id).collect::<Vec<_>>())
                .await?;
            let new = of_kind
                .iter()
                .filter(|statement| statement.record.supersedes(known.get(&statement.id)))
                .count();
            applied.applied += new as u64;
            applied.superseded += (of_kind.len() - new) as u64;
        }
        Ok(applied)
    }

    fn key(&self, id: Uuid, date: Date) -> Option<DayKey> {
        let facility = self.core.directory.get(id)?;
        let day = Day::named(&facility.zone.tz, date)?;
        Some(DayKey { facility, day })
    }
}
