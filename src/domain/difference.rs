//! What a row of a source table contributes to the figures of its facility, and how changed rows
//! change figures that are stored. The aggregates in `sql/*/derive.sql` say the same of all rows at
//! once. They are the judge: `tests/api/store_contract/differences.rs` compares.

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    blood_type::BloodType,
    day::{Day, has_day},
    event::Entity,
    summary::{Figures, SummaryRow},
};

/// What one source row adds to the figures of one facility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contribution {
    /// The facility in whose figures the row counts.
    pub facility_id: Uuid,
    /// The blood type under which it counts.
    pub blood_type: BloodType,
    /// The figure, and the day of it.
    pub counts: Counts,
    /// By how much the figure is greater because of the row.
    pub amount: i64,
}

/// The figure that a row counts in, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// In the stock of today, as long as the units have not expired: until this instant
    /// (exclusive), in milliseconds since 1970, rounded down.
    Stock { until_ms: Option<i64> },
    /// In what was transferred on the day of this instant, in milliseconds since 1970.
    Transferred { at_ms: i64 },
    /// In the requests of the day of this instant, in milliseconds since 1970.
    Requests { at_ms: i64 },
}

impl Contribution {
    /// What the entity contributes; `None` where it counts on no day. `facility_of` finds the
    /// facility of a blood bank.
    pub fn of(entity: &Entity, facility_of: impl FnOnce(Uuid) -> Option<Uuid>) -> Option<Self> {
        let (facility_id, blood_type, counts, amount) = match entity {
            Entity::Facility { .. } | Entity::BloodBank { .. } => return None,
            Entity::Inventory { blood_bank_id, blood_type, expires_at_ms, quantity } => (
                facility_of(*blood_bank_id)?,
                blood_type,
                Counts::Stock { until_ms: *expires_at_ms },
                i64::from(*quantity),
            ),
            Entity::Distribution { blood_type, date_delivered_ms, dispatched_to_id, quantity } => (
                *dispatched_to_id,
                blood_type,
                Counts::Transferred { at_ms: (*date_delivered_ms)? },
                i64::from(*quantity),
            ),
            Entity::Request { blood_type, created_at_ms, facility_id, .. } => {
                (*facility_id, blood_type, Counts::Requests { at_ms: *created_at_ms }, 1)
            }
        };
        let at_ms = match counts {
            Counts::Stock { .. } => None,
            Counts::Transferred { at_ms } | Counts::Requests { at_ms } => Some(at_ms),
        };
        if !at_ms.is_none_or(has_day) {
            return None;
        }
        let blood_type = blood_type.unwrap_or(BloodType::Unknown);
        Some(Contribution { facility_id, blood_type, counts, amount })
    }

    /// Whether it counts on the day at this instant. `Err` where its units expire within this very
    /// millisecond: the instant of the expiry is only known to the millisecond.
    fn counts_on(&self, day: &Day, now_ms: i64) -> Result<bool, Undecided> {
        match self.counts {
            Counts::Stock { until_ms } if day.contains(now_ms) => match until_ms {
                Some(until_ms) if until_ms == now_ms => Err(Undecided::ExpiresNow),
                until_ms => Ok(until_ms.is_none_or(|until_ms| until_ms > now_ms)),
            },
            Counts::Stock { .. } => Ok(false),
            Counts::Transferred { at_ms } | Counts::Requests { at_ms } => Ok(day.contains(at_ms)),
        }
    }
}

/// Why a difference cannot be added to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecided {
    /// Units expire in the millisecond of the sum, or have expired since the row was written.
    ExpiresNow,
    /// The figures do not add up, before or after.
    Inconsistent,
}

/// What the changed rows of a transaction take from the figures of facilities, and add to them.
#[derive(Debug, Default)]
pub struct Differences(HashMap<Uuid, Vec<Change>>);

#[derive(Debug, Clone, Copy)]
struct Change {
    contribution: Contribution,
    /// 1 where it is added, -1 where it is taken away.
    sign: i64,
}

impl Differences {
    /// A row changed: what it contributed before, and what it contributes now.
    pub fn change(&mut self, before: Option<Contribution>, now: Option<Contribution>) {
        for (contribution, sign) in [(before, -1), (now, 1)] {
            if let Some(contribution) = contribution {
                let of_facility = self.0.entry(contribution.facility_id).or_default();
                of_facility.push(Change { contribution, sign });
            }
        }
    }

    /// The figures of a stored row of this day after the changes. `stored` must equal its sources
    /// at `now_ms` (milliseconds since 1970), as they were before the changes. Its next expiry may
    /// be too early, and so may that of the result, but neither is too late.
    pub fn add_to(
        &self,
        stored: &SummaryRow,
        day: &Day,
        now_ms: i64,
    ) -> Result<SummaryRow, Undecided> {
        let mut row = stored.clone();
        if row.next_expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            return Err(Undecided::ExpiresNow);
        }
        if !adds_up(stored) || (day.contains(now_ms) && row.summary.total_stock.is_none()) {
            return Err(Undecided::Inconsistent);
        }
        if !day.contains(now_ms) {
            row.next_expires_at_ms = None; // the stock of a closed day is a record
        }
        let nothing = Figures { stock: row.summary.total_stock.map(|_| 0), ..Figures::default() };
        let changes = self.0.get(&stored.summary.facility_id).map_or(&[][..], Vec::as_slice);
        for Change { contribution, sign } in changes {
            if !contribution.counts_on(day, now_ms)? {
                continue;
            }
            let amount = sign * contribution.amount;
            let summary = &mut row.summary;
            let figures = summary.by_blood_type.entry(contribution.blood_type).or_insert(nothing);
            match contribution.counts {
                Counts::Stock { until_ms } => {
                    figures.stock = figures.stock.map(|stock| stock.saturating_add(amount));
                    let total = &mut summary.total_stock;
                    *total = total.map(|stock| stock.saturating_add(amount));
                    let until_ms = until_ms.filter(|_| amount > 0);
                    let expiries = row.next_expires_at_ms.into_iter().chain(until_ms);
                    row.next_expires_at_ms = expiries.min();
                }
                Counts::Transferred { .. } => {
                    figures.transferred = figures.transferred.saturating_add(amount);
                    summary.total_transferred = summary.total_transferred.saturating_add(amount);
                }
                Counts::Requests { .. } => {
                    figures.requests = figures.requests.saturating_add(amount);
                    summary.total_requests = summary.total_requests.saturating_add(amount);
                }
            }
        }
        row.summary.by_blood_type.retain(|_, figures| *figures != nothing);
        if adds_up(&row) { Ok(row) } else { Err(Undecided::Inconsistent) }
    }
}

/// Whether the figures of the types are possible and their sums are the totals, as a refresh writes
/// them.
fn adds_up(row: &SummaryRow) -> bool {
    let summary = &row.summary;
    let has_stock = summary.total_stock.is_some();
    let (mut stock, mut transferred, mut requests) = (0_i64, 0_i64, 0_i64);
    for figures in summary.by_blood_type.values() {
        let Figures { stock: of_type, transferred: sent, requests: asked } = *figures;
        let is_possible = of_type.unwrap_or(0) >= 0
            && sent >= 0
            && asked >= 0
            && of_type.is_some() == has_stock
            && (of_type.unwrap_or(0), sent, asked) != (0, 0, 0);
        if !is_possible {
            return false;
        }
        let sums = [
            stock.checked_add(of_type.unwrap_or(0)),
            transferred.checked_add(sent),
            requests.checked_add(asked),
        ];
        let [Some(s), Some(t), Some(r)] = sums else { return false };
        (stock, transferred, requests) = (s, t, r);
    }
    (summary.total_stock.unwrap_or(0), summary.total_transferred, summary.total_requests)
        == (stock, transferred, requests)
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
