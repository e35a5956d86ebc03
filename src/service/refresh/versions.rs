//! The versions of refreshed rows. Each facility has one counter, which its lock guards.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    domain::summary::{Key, SummaryRow},
    service::refresh::Refreshed,
    store::{Derived, FacilityState},
};

/// Gives versions to the derived rows and to those left behind by a change of zone. Also returns
/// the days that are opened.
pub(in crate::service) fn give_versions(
    states: &mut HashMap<Uuid, FacilityState>,
    derived: Vec<Derived>,
    left_behind: Vec<SummaryRow>,
) -> (Vec<Refreshed>, Vec<Key>) {
    let mut opened: Vec<Key> = Vec::new();
    let mut refreshed: Vec<Refreshed> = derived
        .into_iter()
        .map(|d| {
            let mut row = d.row;
            let state = states.entry(row.summary.facility_id).or_default();
            // Also where the row exists: a change of zone may lead back to a day that was opened
            // before.
            let opens = d.is_today && state.today != Some(row.summary.date);
            if opens {
                opened.push(row.key());
            }
            // Another day gets another version, even where its figures are the same by chance. When
            // the facility goes back to the zone before, a reader that holds one day must not take
            // it for the other.
            let changed = d.figures_differ || d.day_differs || opens;
            if changed {
                state.version += 1;
                row.summary.version = state.version;
            }
            if d.figures_differ {
                row.summary.updated_at = Some(row.as_of_ms);
            }
            Refreshed { row, changed, written: d.write_needed || opens, elsewhere: false }
        })
        .collect();
    refreshed.extend(left_behind.into_iter().map(|mut row| {
        let state = states.entry(row.summary.facility_id).or_default();
        state.version += 1;
        row.summary.version = state.version;
        Refreshed { row, changed: true, written: true, elsewhere: false }
    }));
    (refreshed, opened)
}
