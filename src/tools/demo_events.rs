//! `serve --demo`: registers 25 facilities when the database has none, and sends simulated events
//! through the real ingest, so that the figures change.

use std::time::Duration;

use actix_web::web::Data;
use tokio_util::sync::CancellationToken;

use super::generate::{Demo, demo_facilities};
use crate::{
    domain::event::{EntityKind, Event},
    http::state::AppState,
    service::ingest::IngestError,
    store::{self, Store},
};

/// The seed of the demo's facilities: every start has the same ones.
const SEED: u64 = 25;
/// How long the demo waits at its start for locks on its own rows.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Simulated events a second, on average.
const EVENTS_PER_SECOND: f64 = 2.0;

/// Registers the demo's facilities that are missing, then sends events until it is stopped. Does
/// nothing when the database has other facilities.
pub async fn run(app: Data<AppState>, stop: CancellationToken) {
    if belongs_to_others(&app) {
        tracing::warn!(
            "no demo: the database has facilities of its own, and simulated events do not belong \
             among them; name an empty one in DATABASE_URL"
        );
        return;
    }
    if let Err(error) = set_up(&app, &stop).await {
        tracing::warn!(?error, "the demo could not be set up");
        return;
    }
    let mut demo = Demo::new(SEED);
    if let Err(error) = resume(&mut demo, &*app.store).await {
        tracing::warn!(
            %error,
            "the demo starts from full shelves: it cannot read how it left them"
        );
    }
    loop {
        let pause = demo.next_pause(EVENTS_PER_SECOND);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let event = demo.next_event(app.clock.now_ms());
        if let Err(error) = app.ingest.submit(vec![event]).await {
            tracing::warn!(?error, "a simulated event was refused");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Continues with the stock that an earlier run left.
async fn resume(demo: &mut Demo, store: &dyn Store) -> store::Result<()> {
    // Nothing is written. The transaction ends with this function, and so do its row locks.
    let mut tx = store.begin(LOCK_TIMEOUT).await?;
    let stored = tx.load(EntityKind::Inventory, &demo.lots()).await?;
    demo.resume(&stored);
    Ok(())
}

/// Whether the database has facilities, but none of the demo's: then they are real ones.
fn belongs_to_others(app: &AppState) -> bool {
    let known = app.directory.by_name();
    !known.is_empty()
        && demo_facilities(SEED).iter().all(|facility| app.directory.get(facility.id).is_none())
}

/// Registers the facilities that are missing, one by one, unless it is told to stop.
async fn set_up(app: &AppState, stop: &CancellationToken) -> Result<(), IngestError> {
    let now_ms = app.clock.now_ms();
    let mut registered = 0;
    for facility in demo_facilities(SEED) {
        if app.directory.get(facility.id).is_some() || stop.is_cancelled() {
            continue;
        }
        // All rows of a facility go into one request. So a facility that is registered is complete,
        // even if the service was stopped meanwhile.
        app.ingest
            .submit(facility.opening(now_ms).chain(facility.history()).collect::<Vec<Event>>())
            .await?;
        registered += 1;
    }
    tracing::info!(registered, events_per_second = EVENTS_PER_SECOND, "demo running");
    Ok(())
}
