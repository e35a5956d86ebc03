//! What is to be refreshed, and how.

use super::closed_stock::ClosedStock;
use crate::{domain::summary::DayKey, metrics::Trigger, store::Mark};

/// One refresh: its days, or the marks that say which days, and what caused it.
pub struct RefreshRequest<'a> {
    pub(super) work: Work<'a>,
    pub(super) trigger: Trigger,
    pub(super) closed_stock: ClosedStock,
    pub(super) is_one_of_many: bool,
}

/// What a refresh is for.
pub(super) enum Work<'a> {
    Days(Vec<DayKey>),
    Marks(&'a [Mark]),
}

impl<'a> RefreshRequest<'a> {
    /// These days. Days that have not begun, days of facilities that are gone, and days that a
    /// changed zone does not have are left out. Where a facility is in another zone by now, its
    /// days of the same dates in the new zone are refreshed.
    pub fn days(keys: Vec<DayKey>, trigger: Trigger) -> Self {
        Self::of(Work::Days(keys), trigger)
    }

    /// What these marks of facilities point at. The marks are deleted in the same transaction,
    /// before the figures are derived. The refresh fails with `StoreError::Conflict` where one of
    /// them says more by now, or where one of the facilities is not known.
    pub fn marks(marks: &'a [Mark], trigger: Trigger) -> Self {
        Self::of(Work::Marks(marks), trigger)
    }

    /// Gives closed days this stock, beside what is derived.
    pub fn with_closed_stock(self, closed_stock: ClosedStock) -> Self {
        RefreshRequest { closed_stock, ..self }
    }

    /// One of many requests that run one after another. It waits for a lock only a tenth of the
    /// usual time, since somebody may hold the lock of each.
    pub fn one_of_many(self) -> Self {
        RefreshRequest { is_one_of_many: true, ..self }
    }

    fn of(work: Work<'a>, trigger: Trigger) -> Self {
        let closed_stock = ClosedStock::new();
        RefreshRequest { work, trigger, closed_stock, is_one_of_many: false }
    }

    pub(super) fn marks_taken(&self) -> &'a [Mark] {
        match &self.work {
            Work::Marks(marks) => marks,
            Work::Days(_) => &[],
        }
    }
}
