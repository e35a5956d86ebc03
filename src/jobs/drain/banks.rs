//! Marks of blood banks that have moved to another facility. A trigger writes the facility that the
//! bank is in when its statement runs. The bank may move before that transaction commits.

use std::{collections::HashMap, time::Duration};

use uuid::Uuid;

use super::Drain;
use crate::store::{self, Mark};

/// How long to wait for marks that another transaction is taking.
const LOCK_WAIT: Duration = Duration::from_secs(1);

impl Drain {
    /// Replaces the marks of moved banks: by one mark for the facility that the mark named, and one
    /// for the facility that the bank was in at the drain snapshot. When a bank moves later, its
    /// move leaves marks of its own. Returns true when there were such marks; the next drain
    /// snapshot shows the new ones.
    pub(super) async fn follow_banks(&self, strays: &[(i64, Option<Uuid>)]) -> store::Result<bool> {
        if strays.is_empty() {
            return Ok(false);
        }
        let now_in: HashMap<i64, Option<Uuid>> = strays.iter().copied().collect();
        let mut tx = self.store.begin(LOCK_WAIT).await?;
        let taken = tx.take_marks(&strays.iter().map(|(id, _)| *id).collect::<Vec<_>>()).await?;
        let anew: Vec<Mark> = taken
            .into_iter()
            .flat_map(|mark| readdressed(&mark, now_in.get(&mark.id).copied().flatten()))
            .collect();
        tx.add_marks(&anew).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// The marks to write in place of `mark`. None when it named no facility and its bank does not
/// exist: when the bank is registered later, the registration leaves a mark of its own.
fn readdressed(mark: &Mark, now_in: Option<Uuid>) -> Vec<Mark> {
    let was_in = mark.facility_id.map(|id| Mark {
        facility_id: Some(id),
        blood_bank_id: None,
        ..mark.clone()
    });
    let is_in = now_in.map(|id| Mark { facility_id: Some(id), ..mark.clone() });
    was_in.into_iter().chain(is_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MarkKind;

    #[test]
    fn a_mark_is_written_anew_for_where_the_bank_was_and_where_it_is() {
        let [was_in, is_in, bank] = [1, 2, 3].map(Uuid::from_u128);
        let mark = |facility_id, blood_bank_id| Mark {
            id: 7,
            kind: MarkKind::Stock,
            facility_id,
            span: None,
            blood_bank_id,
        };
        let both = [mark(Some(was_in), None), mark(Some(is_in), Some(bank))];
        assert_eq!(readdressed(&mark(Some(was_in), Some(bank)), Some(is_in)), both);
        assert_eq!(
            readdressed(&mark(None, Some(bank)), Some(is_in)),
            [mark(Some(is_in), Some(bank))]
        );
        assert_eq!(readdressed(&mark(None, Some(bank)), None), []);
    }
}
