//! The stock of closed days. It is recorded when the day ends, and cannot be derived later.

use crate::domain::summary::Key;
use std::collections::BTreeMap;

use crate::{
    domain::{blood_type::BloodType, summary::Figures},
    store::Derived,
};

/// The stock to give to closed days, by blood type, in units.
pub type ClosedStock = BTreeMap<Key, BTreeMap<BloodType, i64>>;

/// Replaces the stock of the blood types named, keeps that of the others, and makes the total their
/// sum.
pub(super) fn give_stock(derived: &mut Derived, stock: &BTreeMap<BloodType, i64>) {
    if derived.is_today {
        return;
    }
    let summary = &mut derived.row.summary;
    let before = (summary.total_stock, summary.by_blood_type.clone());
    for (blood_type, units) in stock {
        summary.by_blood_type.entry(*blood_type).or_default().stock = Some(*units);
    }
    for figures in summary.by_blood_type.values_mut() {
        figures.stock.get_or_insert(0);
    }
    summary
        .by_blood_type
        .retain(|_, f| *f != Figures { stock: Some(0), transferred: 0, requests: 0 });
    summary.total_stock = Some(summary.by_blood_type.values().filter_map(|f| f.stock).sum());
    let differs = before != (summary.total_stock, summary.by_blood_type.clone()) || !derived.stored;
    derived.figures_differ |= differs;
    derived.write_needed |= differs;
}
