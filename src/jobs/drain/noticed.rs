//! Marks that triggers on mapped tables left. They name rows of these tables. The drain snapshot
//! shows which facilities those lead to, and this puts marks of these facilities in their place.

use std::{mem, time::Duration};

use super::Drain;
use crate::store::{self, DrainSnapshot};

/// How long to wait for marks that another transaction is taking.
const LOCK_WAIT: Duration = Duration::from_secs(1);

impl Drain {
    /// Resolves the marks of mapped tables, and adds what they stand for to the marks of this
    /// snapshot. Returns true where another snapshot is needed first.
    ///
    /// Marks are resolved in the snapshot that shows them. A later one may show a row on the way
    /// that has moved since: the mark would lead to the new facility only, and the mark of the
    /// move, which leads to the other one, is not in this snapshot yet. The pass would prove too
    /// much.
    pub(super) async fn follow_noticed(&self, seen: &mut DrainSnapshot) -> store::Result<bool> {
        let noticed = mem::take(&mut seen.noticed);
        if noticed.has_spare {
            self.store.take_spare_marks().await?;
            return Ok(true);
        }
        // The tables of facilities are compared as they are now, which is later than the snapshot.
        if !noticed.of_facilities.is_empty()
            && self.store.follow_mapped_facilities(&noticed.of_facilities).await?
        {
            return Ok(true);
        }
        if noticed.resolved.is_empty() {
            return Ok(false);
        }
        let ids: Vec<i64> = noticed.resolved.keys().copied().collect();
        let by: Vec<_> = noticed.resolved.into_values().flatten().collect();
        let mut tx = self.store.begin(LOCK_WAIT).await?;
        // Another server may have resolved some of them, in another snapshot.
        let Some(marks) = tx.replace_marks(&ids, &by).await? else { return Ok(true) };
        tx.commit().await?;
        seen.marks.extend(marks);
        Ok(false)
    }
}
