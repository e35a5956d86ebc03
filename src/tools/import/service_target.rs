//! What an import writes through: the service's own ingest and refresh, so that an imported row is
//! summarised like a posted one.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::civil::Date;
use tokio::{sync::Mutex, task::JoinHandle};
use uuid::Uuid;

use super::{Applied, ClosedStock, ImportError, ImportTarget};
use crate::{
    domain::{
        day::Day,
        event::{Event, Statement},
        summary::DayKey,
    },
    metrics::Trigger,
    service::{
        ingest::{Ingest, IngestError},
        refresh::{closed_stock, request::RefreshRequest},
    },
    startup::Core,
    store::FacilityRow,
};

/// The parts of this process, on the tables that the running service has too: its drain publishes
/// what is written here.
pub struct ServiceTarget<'a> {
    core: &'a Core,
    ingest: Ingest,
    lane: Mutex<Option<JoinHandle<()>>>,
}

/// The ingest's refusal, in words.
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
    pub fn new(core: &'a Core) -> Self {
        let (ingest, lane) = core.ingest();
        ServiceTarget { core, ingest, lane: Mutex::new(Some(lane)) }
    }

    /// Ends the lane; everything answered is committed already.
    pub async fn close(self) {
        drop(self.ingest);
        if let Some(lane) = self.lane.lock().await.take() {
            // A panic in the lane is contained and logged there.
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
            IngestError::Crashed => Refused::Crashed,
        }
    }
}

#[async_trait]
impl ImportTarget for ServiceTarget<'_> {
    async fn now_ms(&self) -> Result<i64, ImportError> {
        self.core.store.now_ms().await.map_err(failed)
    }

    async fn facilities(&self) -> Result<Vec<FacilityRow>, ImportError> {
        self.core.store.facilities(None).await.map_err(failed)
    }

    async fn apply(&self, statements: Vec<Statement>) -> Result<Applied, ImportError> {
        let applied = self
            .ingest
            .submit(statements.into_iter().map(Event::Statement).collect())
            .await
            .map_err(failed)?;
        Ok(Applied { applied: applied.applied as u64, superseded: applied.superseded as u64 })
    }

    async fn record_stock(&self, days: Vec<ClosedStock>) -> Result<u64, ImportError> {
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
        let stock: closed_stock::ClosedStock =
            days.into_iter().map(|d| ((d.facility_id, d.date), d.by_blood_type)).collect();
        let recorded = self
            .core
            .refresher
            .run(RefreshRequest::days(keys, Trigger::Request).with_closed_stock(stock))
            .await
            .map_err(failed)?;
        Ok(recorded.iter().filter(|r| r.changed).count() as u64)
    }
}

impl ServiceTarget<'_> {
    fn key(&self, id: Uuid, date: Date) -> Option<DayKey> {
        let facility = self.core.directory.get(id)?;
        let day = Day::named(&facility.zone.tz, date)?;
        Some(DayKey { facility, day })
    }
}
