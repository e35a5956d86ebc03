//! Where the blood banks of a group are, until it commits.

use std::collections::HashMap;

use uuid::Uuid;

use crate::store::{self, Mark, MarkKind, StoreError, Transaction};

/// Checks that these blood banks are in these facilities, where this group counted their stock,
/// and keeps them there until the commit: another transaction that moves one waits for these few
/// milliseconds. `StoreError::Conflict` where a bank has moved since it was read. Where another
/// transaction is moving a bank already, it may commit before this one. This group does not wait
/// for it, as it may need a row of this group. Instead it leaves a mark, so that the drain looks
/// where the bank is then.
pub(super) async fn stay_there(
    tx: &mut dyn Transaction,
    banks: &HashMap<Uuid, Uuid>,
) -> store::Result<()> {
    let mut relied_on: Vec<Uuid> = banks.keys().copied().collect();
    if relied_on.is_empty() {
        return Ok(());
    }
    relied_on.sort_unstable();
    let held = tx.hold_banks(&relied_on).await?;
    let moving: Vec<Uuid> = relied_on.iter().filter(|id| !held.contains_key(id)).copied().collect();
    let seen = if moving.is_empty() { HashMap::new() } else { tx.bank_facilities(&moving).await? };
    if relied_on.iter().any(|id| held.get(id).or(seen.get(id)) != banks.get(id)) {
        return Err(StoreError::Conflict);
    }
    let mark = |(bank, facility): (&Uuid, &Uuid)| Mark {
        id: 0, // it gets one
        kind: MarkKind::Stock,
        facility_id: Some(*facility),
        span: None,
        blood_bank_id: Some(*bank),
    };
    if !seen.is_empty() {
        tx.add_marks(&seen.iter().map(mark).collect::<Vec<_>>()).await?;
    }
    Ok(())
}
