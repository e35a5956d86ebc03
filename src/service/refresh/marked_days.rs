//! Finds the days that marks are about. The mark of another program's write names a facility and a
//! span of time. The facility's zone determines which local days that span covers.

use super::{days::DAYS_IN_A_SPAN, scope::RefreshScope};
use crate::{
    directory::Directory,
    domain::day::Day,
    store::{Mark, MarkKind},
};

impl RefreshScope {
    /// The scope of marks of facilities, in the zones that the directory has. `None` where it does
    /// not know one of the facilities.
    pub fn of_marks<'a>(
        marks: impl IntoIterator<Item = &'a Mark>,
        directory: &Directory,
        now_ms: i64,
    ) -> Option<Self> {
        let mut scope = RefreshScope::default();
        for mark in marks {
            let facility = directory.get(mark.facility_id?)?;
            match (mark.kind, mark.span) {
                (MarkKind::Stock, _) => scope.add_day(&facility, facility.zone.today(now_ms)),
                (MarkKind::Activity, Some((first_ms, last_ms))) => {
                    let days = Day::covering(&facility.zone.tz, first_ms, last_ms, DAYS_IN_A_SPAN);
                    days.into_iter().for_each(|day| scope.add_day(&facility, day));
                }
                // When the activity happened is not known, or the facility may have moved to a zone
                // with other days.
                (MarkKind::Activity, None) | (MarkKind::Facility, _) => scope.add_whole(&facility),
            }
        }
        Some(scope)
    }

    /// Whether a mark that has grown since it was read still lies within the scope. It does while a
    /// program writes to one day all the time.
    pub fn covers(&self, mark: &Mark) -> bool {
        let Some(id) = mark.facility_id else { return false };
        if self.whole.iter().any(|facility| facility.id == id) {
            return true;
        }
        let (Some((first_ms, last_ms)), Some(key)) =
            (mark.span, self.days.iter().find(|key| key.facility.id == id))
        else {
            return false;
        };
        Day::covering(&key.facility.zone.tz, first_ms, last_ms, DAYS_IN_A_SPAN)
            .into_iter()
            .all(|day| self.days.iter().any(|key| key.facility.id == id && key.day == day))
    }
}

#[cfg(test)]
#[path = "marked_days_tests.rs"]
mod tests;
