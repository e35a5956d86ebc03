use jiff::civil::date;
use uuid::Uuid;

use super::*;
use crate::{
    cache::memory::Memory,
    changes::Changes,
    clock::Clock,
    config::DatabaseSettings,
    directory::Directory,
    domain::{
        day::Day,
        facility::{Facility, Zone},
    },
    metrics::Metrics,
    protocol::Position,
};

async fn refresher(folder: &std::path::Path) -> Arc<Refresher> {
    let url = format!("sqlite://{}", folder.join("a.db").display());
    let store =
        crate::store::open(&DatabaseSettings { url, ..Default::default() }, None).await.unwrap();
    let memory = Arc::new(Memory::new(1 << 20, 16, Position { generation: 1, number: 0 }));
    Arc::new(Refresher {
        store,
        directory: Arc::new(Directory::new(memory.clone(), false)),
        changes: Arc::new(Changes::new(memory, Arc::default(), None, false)),
        clock: Arc::new(Clock::new()),
        outage: Arc::default(),
        metrics: Arc::new(Metrics::new().unwrap()),
        lock_timeout: std::time::Duration::from_secs(5),
        waiting: Default::default(),
        verify_differences: true,
    })
}

#[tokio::test]
async fn a_key_whose_refresh_panics_fails_its_readers_and_can_be_refreshed_again() {
    let folder = tempfile::tempdir().unwrap();
    let coalescer = RefreshCoalescer::new(refresher(folder.path()).await, None, 8);
    let zone = Arc::new(Zone::named("UTC").unwrap());
    let day = Day::named(&zone.tz, date(2026, 10, 24)).unwrap();
    let facility = Facility { id: Uuid::from_u128(1), name: String::new(), zone, key: None };
    let day_key = DayKey { facility: Arc::new(facility), day };

    let (waiters, result) = watch::channel(None);
    let pending = Pending {
        day_key: day_key.clone(),
        trigger: RefreshTrigger::Request,
        min_freshness: None,
        waiters,
    };
    coalescer.queue().pending.insert(day_key.id(), pending);
    let taken = coalescer.take_pending();
    let refresh = async move {
        let _taken = taken;
        panic!("a dependency of the refresh panics");
    };
    assert!(tokio::spawn(refresh).await.is_err());
    let waiter = Waiter { result, is_shared: false };
    assert!(waiter.result().await.is_err(), "the reader gets an error");

    let waiter = coalescer.join(day_key, None, RefreshTrigger::Request);
    assert!(matches!(waiter.result().await, Ok(None)), "the key can be refreshed again");
}
