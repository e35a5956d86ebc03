//! Days that `summary.touched` names beside mapped tables, where an expression of the mapping fails
//! on a row of one: that one stands still, and the others are refreshed.

use std::collections::BTreeMap;

use super::{IngestError, IngestParts, IngestTask, Ingested};
use crate::{
    domain::{
        day::Day,
        event::Event,
        summary::{DayKey, Key},
    },
    metrics::RefreshTrigger,
    store,
};

/// Refreshes each day by itself. Beside mapped tables a request has no other events, and whoever
/// sends it once more does no harm.
pub(super) async fn refresh_each(
    parts: &IngestParts,
    task: &IngestTask,
) -> Result<Ingested, IngestError> {
    let keys = touched(parts, &task.events);
    let refreshed = refresh(parts, keys.into_values().collect()).await;
    let (summaries, uncounted) = refreshed.map_err(IngestError::Unavailable)?;
    for event in &task.events {
        parts.metrics.events.with_label_values(&[event.type_name(), "applied"]).inc();
    }
    Ok(Ingested { applied: task.events.len(), superseded: 0, summaries, uncounted })
}

/// The days, in the zones of their facilities.
fn touched(parts: &IngestParts, events: &[Event]) -> BTreeMap<Key, DayKey> {
    let now_ms = parts.clock.now_ms();
    let day_of = |event: &Event| {
        let Event::Touched { facility_id, date } = event else { return None };
        let facility = parts.directory.get(*facility_id)?;
        let day = match date {
            None => facility.zone.today(now_ms),
            Some(date) => Day::named(&facility.zone.tz, *date)?,
        };
        Some(DayKey { facility, day })
    };
    events.iter().filter_map(day_of).map(|key| (key.id(), key)).collect()
}

/// The versions that these days have then, and those of them that cannot be counted.
async fn refresh(
    parts: &IngestParts,
    keys: Vec<DayKey>,
) -> store::Result<(Vec<(Key, i64)>, Vec<Key>)> {
    let each = parts.refresher.run_each(keys, RefreshTrigger::Event).await;
    each.result?;
    let uncounted: Vec<Key> = each.failing.iter().map(|(key, _)| key.id()).collect();
    let stored = parts.store.summaries(&uncounted).await?.rows;
    let rows = each.refreshed.iter().map(|refreshed| &refreshed.row).chain(&stored);
    let mut versions: Vec<(Key, i64)> = rows
        .filter(|row| !row.is_left_behind())
        .map(|row| (row.key(), row.summary.version))
        .collect();
    versions.sort_unstable();
    Ok((versions, uncounted))
}
