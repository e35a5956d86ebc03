//! The refresh request: what is to be refreshed, and how.

use crate::{
    domain::summary::DayKey, metrics::RefreshTrigger, service::imports::StockChange, store::Mark,
};

/// One refresh: its days, or the marks that say which days, and its cause.
pub struct RefreshRequest<'a> {
    /// The days or marks.
    pub(super) work: Work<'a>,
    /// What caused the refresh.
    pub(super) trigger: RefreshTrigger,
    /// What becomes of the recorded stock of closed days.
    pub(super) stock: StockChange,
    /// Whether it waits only shortly for a lock.
    pub(super) is_one_of_many: bool,
}

/// What is refreshed.
pub(super) enum Work<'a> {
    /// Days that are given.
    Days(Vec<DayKey>),
    /// The days that marks name; the transaction finds them, and removes the marks.
    Marks(&'a [Mark]),
}

impl<'a> RefreshRequest<'a> {
    /// A refresh of these days. It leaves out days that have not begun, days of facilities that are
    /// gone, and days that a changed zone does not have. Where a facility is in another zone by
    /// now, it refreshes the days of the same dates in the new zone.
    pub fn days(keys: Vec<DayKey>, trigger: RefreshTrigger) -> Self {
        Self::of(Work::Days(keys), trigger)
    }

    /// A refresh of the days that these marks of facilities name. It deletes the marks in the same
    /// transaction, before it derives the figures. It fails with `StoreError::Conflict` where a
    /// mark has grown beyond these days, or where one of the facilities is not known.
    pub fn marks(marks: &'a [Mark], trigger: RefreshTrigger) -> Self {
        Self::of(Work::Marks(marks), trigger)
    }

    /// Also changes the recorded stock of closed days, as an import says.
    pub fn with_stock_change(self, stock: StockChange) -> Self {
        RefreshRequest { stock, ..self }
    }

    /// Marks the request as one of many that run one after another. It waits only a tenth of the
    /// usual time for a lock, as each of the others may have to wait for a lock too.
    pub fn one_of_many(self) -> Self {
        RefreshRequest { is_one_of_many: true, ..self }
    }

    fn of(work: Work<'a>, trigger: RefreshTrigger) -> Self {
        RefreshRequest { work, trigger, stock: StockChange::None, is_one_of_many: false }
    }

    /// The marks that the refresh deletes; none where it is of days.
    pub(super) fn marks_taken(&self) -> &'a [Mark] {
        match &self.work {
            Work::Marks(marks) => marks,
            Work::Days(_) => &[],
        }
    }
}
