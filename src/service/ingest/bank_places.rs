//! Blood banks stay where a group counted their stock, and what is done where that is not sure.

use std::collections::HashMap;

use uuid::Uuid;

use super::group::Group;
use crate::{
    domain::event::{Entity, Record},
    store::{self, Mark, MarkKind, StoreError, Transaction},
};

impl Group<'_> {
    /// Checks that the blood banks are where this group counted their stock, and keeps them there
    /// until the commit: another transaction that moves one waits for these few milliseconds.
    /// `StoreError::Conflict` where a bank has moved since it was read. Where another transaction
    /// is moving a bank already, it may commit before this one. This group does not wait for it, as
    /// it may need a row of this group. Instead it leaves a mark, so that the drain looks where the
    /// bank is then.
    pub(super) async fn check_banks(&self, tx: &mut dyn Transaction) -> store::Result<()> {
        let mut relied_on: Vec<Uuid> = self.overlay.banks.keys().copied().collect();
        if relied_on.is_empty() {
            return Ok(());
        }
        relied_on.sort_unstable();
        let held = tx.hold_banks(&relied_on).await?;
        let moving: Vec<Uuid> =
            relied_on.iter().filter(|id| !held.contains_key(id)).copied().collect();
        let seen =
            if moving.is_empty() { HashMap::new() } else { tx.bank_facilities(&moving).await? };
        if relied_on.iter().any(|id| held.get(id).or(seen.get(id)) != self.overlay.banks.get(id)) {
            return Err(StoreError::Conflict);
        }
        let marks: Vec<Mark> = seen.iter().map(|(bank, facility)| mark(*bank, *facility)).collect();
        if marks.is_empty() { Ok(()) } else { tx.add_marks(&marks).await }
    }

    /// Leaves a mark for each blood bank that this group moves to another facility. Another program
    /// may commit units of the bank after the figures were derived here and before this commit: its
    /// mark names the facility that the bank has left.
    pub(super) async fn mark_moved_banks(&self, tx: &mut dyn Transaction) -> store::Result<()> {
        let marks: Vec<Mark> = self
            .overlay
            .records
            .iter()
            .filter_map(|(key, record)| {
                let is_in = facility_of(record)?;
                let was_in = facility_of(self.loaded.get(key)?)?;
                (is_in != was_in).then(|| mark(key.1, is_in))
            })
            .collect();
        if marks.is_empty() { Ok(()) } else { tx.add_marks(&marks).await }
    }
}

fn facility_of(bank: &Record) -> Option<Uuid> {
    match bank.entity {
        Some(Entity::BloodBank { facility_id, .. }) => Some(facility_id),
        _ => None,
    }
}

fn mark(bank: Uuid, facility: Uuid) -> Mark {
    Mark {
        id: 0, // it gets one
        kind: MarkKind::Stock,
        facility_id: Some(facility),
        span: None,
        blood_bank_id: Some(bank),
    }
}
