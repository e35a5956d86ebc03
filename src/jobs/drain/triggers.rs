//! Checks that all triggers that leave marks are on. While one is off, changes of other programs
//! leave no mark, and nothing is proven. When they are back, everything is checked before anything
//! is proven again. The database remembers that this check is due: it stores the fingerprint of the
//! triggers from when they were last trusted. So a restart, another replica, or a change between
//! two drain snapshots makes no difference.

use std::sync::{Arc, atomic::Ordering};

use arc_swap::ArcSwapOption;

use super::Drain;
use crate::store::{self, DrainSnapshot, StoreError, TriggerOff, Triggers};

/// What the last drain snapshot said of the triggers, for the health check and the log.
#[derive(Default)]
pub struct TriggerWatch(ArcSwapOption<Unwatched>);

/// Why writes of other programs go unnoticed.
#[derive(Debug, PartialEq, Eq)]
pub struct Unwatched {
    /// In what way the first of the triggers is off, as in `TriggerOff::why`.
    pub class: &'static str,
    /// What is off, table by table, and how to repair it.
    pub remedy: String,
    triggers: i64,
}

/// A trigger fires for other writers than it should.
const ENABLED_OTHERWISE: &str = "enabled_otherwise";
/// A foreign table has become a part of a table that our triggers watch.
const FOREIGN: &str = "is_a_foreign_table";
/// Triggers on mapped tables are asked for, and there are none.
const NOT_INSTALLED: &str = "not_installed";
/// The triggers on mapped tables were made for another mapping.
const OF_ANOTHER_MAPPING: &str = "of_another_mapping";

impl TriggerWatch {
    /// Whether triggers on mapped tables are asked for, and there are none.
    pub fn lacks_all(&self) -> bool {
        self.unwatched().is_some_and(|unwatched| unwatched.class == NOT_INSTALLED)
    }

    /// What is off; `None` while all triggers are on.
    pub fn unwatched(&self) -> Option<Arc<Unwatched>> {
        self.0.load_full()
    }
}

impl Unwatched {
    fn of(triggers: &Triggers) -> Option<Self> {
        let first = triggers.off.first()?;
        let class = match first.why.as_str() {
            "missing" => "missing",
            "disabled" => "disabled",
            ENABLED_OTHERWISE => ENABLED_OTHERWISE,
            "altered" => "altered",
            NOT_INSTALLED => NOT_INSTALLED,
            OF_ANOTHER_MAPPING => OF_ANOTHER_MAPPING,
            _ => "unsuitable_table",
        };
        let mut remedy = named(&triggers.off);
        if !triggers.off.iter().all(is_of_the_table) {
            remedy += &format!("; {} puts it right", triggers.remedy);
        }
        if triggers.off.iter().any(|off| off.why == ENABLED_OTHERWISE) {
            remedy += "; ALTER TABLE … ENABLE TRIGGER ALL leaves triggers so, of which each row \
                       that is written costs the writer more until then";
        }
        if triggers.off.iter().any(|off| off.why == FOREIGN) {
            remedy += "; Postgres fails each statement that writes to such a part through the \
                       table above it while that has our triggers (cannot collect transition \
                       tuples from child foreign tables): detach the part, or stop the service, \
                       run facility-summary adopt remove, and go on with notice = \"rebuild\"";
        }
        if triggers.off.iter().any(|off| is_of_the_table(off) && off.why != FOREIGN) {
            remedy += "; what is written to parts of such a table passes our triggers by: it has \
                       to be an ordinary one, without tables that inherit from it";
        }
        Some(Unwatched {
            class,
            remedy,
            triggers: i64::try_from(triggers.off.len()).unwrap_or(i64::MAX),
        })
    }
}

/// Whether the table itself cannot be watched, whatever its triggers are.
fn is_of_the_table(off: &TriggerOff) -> bool {
    matches!(off.why.as_str(), FOREIGN | "is_no_ordinary_table" | "has_inheriting_tables")
}

/// Whether the triggers themselves leave no marks. Otherwise they do, for another mapping than this
/// server's: one that another server beside it may have.
fn is_of_the_database(off: &TriggerOff) -> bool {
    !matches!(off.why.as_str(), NOT_INSTALLED | OF_ANOTHER_MAPPING)
}

/// As in `blood_inventory: mark_insert, mark_row disabled`.
fn named(off: &[TriggerOff]) -> String {
    let groups: Vec<String> = off
        .chunk_by(|a, b| (&a.table, &a.why) == (&b.table, &b.why))
        .filter_map(|of_table| {
            let TriggerOff { table, why, .. } = of_table.first()?;
            if of_table.iter().any(is_of_the_table) {
                return Some(format!("{table} {}", why.replace('_', " ")));
            }
            let names: Vec<&str> = of_table.iter().map(|off| off.trigger.as_str()).collect();
            Some(format!("{table}: {} {}", names.join(", "), why.replace('_', " ")))
        })
        .collect();
    groups.join("; ")
}

impl Drain {
    /// Records whether writes of other programs are noticed, and says it when that changes, and at
    /// the start where tables of theirs are mapped.
    fn see_notice(&self, are_unwatched: bool) {
        let was_unwatched = self.are_unwatched.swap(are_unwatched, Ordering::Relaxed);
        self.metrics.writes_noticed.set(i64::from(!are_unwatched));
        if was_unwatched && !are_unwatched {
            tracing::info!("triggers on the mapped tables notice what other programs write");
        } else if are_unwatched && self.throttle.begins("notice", "rebuild") {
            tracing::info!(
                "what other programs write to the mapped tables is not noticed: figures are read \
                 at each rebuild, and for readers who take no older ones"
            );
        }
        if !are_unwatched {
            self.throttle.end(&"notice");
        }
    }

    /// Acts on the triggers in a drain snapshot. Returns true when they are back or were changed:
    /// everything is then marked, and another snapshot is needed.
    pub(super) async fn see_triggers(&self, seen: &DrainSnapshot) -> store::Result<bool> {
        let now = Unwatched::of(&seen.triggers);
        let before = self.watch.unwatched();
        self.see_notice(seen.triggers.sources_are_unwatched);
        self.metrics.triggers_off.set(now.as_ref().map_or(0, |unwatched| unwatched.triggers));
        match (&before, &now) {
            (Some(before), Some(now)) if **before == *now => {}
            (_, Some(now)) => tracing::warn!(
                triggers = now.triggers,
                remedy = %now.remedy,
                "what other programs write passes unseen, since triggers on the source tables \
                 are off: nothing is proven until they are back, and answers grow old"
            ),
            (Some(_), None) => {
                tracing::info!(
                    "all triggers on the source tables are back; everything is looked at before \
                     anything is proven"
                )
            }
            (None, None) => {}
        }
        let is_whole = now.is_none();
        self.watch.0.store(now.map(Arc::new));
        if seen.triggers.off.iter().any(is_of_the_database) && seen.triggers.seen.is_some() {
            // They may come back as they were, as a table does that gets its name back.
            match self.store.note_triggers(None).await {
                // Only of the SQLite file, which shows also what was undone.
                Err(StoreError::Locked(_)) => {}
                forgotten => forgotten?,
            }
        }
        let is_noted = seen.triggers.seen.as_ref() == Some(&seen.triggers.fingerprint);
        if !is_whole || is_noted {
            return Ok(false);
        }
        match self.store.note_triggers(Some(&seen.triggers.fingerprint)).await {
            // Another program holds the SQLite file in a long write. The start does not wait for
            // that; the next snapshot tries again.
            Err(error @ StoreError::Locked(_)) => {
                tracing::debug!(%error, "the triggers were changed, which cannot be noted yet");
                Ok(false)
            }
            noted => {
                noted?;
                if before.is_none() {
                    tracing::info!(
                        "the source tables or their triggers were changed, or rewritten, since \
                         they were last looked at: everything is looked at once more"
                    );
                }
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_named_by_table_with_what_puts_it_right() {
        let off = |table: &str, trigger: &str, why: &str| TriggerOff {
            table: table.into(),
            trigger: trigger.into(),
            why: why.into(),
        };
        let disabled = vec![
            off("blood_requests", "mark_insert", "disabled"),
            off("blood_requests", "mark_row", "disabled"),
            off("facilities", "mark_truncate", "enabled_otherwise"),
        ];
        let triggers = Triggers {
            off: disabled,
            remedy: "SELECT public.watch_sources()".into(),
            ..Triggers::default()
        };
        let unwatched = Unwatched::of(&triggers).unwrap();
        assert_eq!((unwatched.class, unwatched.triggers), ("disabled", 3));
        assert_eq!(
            unwatched.remedy,
            "blood_requests: mark_insert, mark_row disabled; facilities: mark_truncate enabled \
             otherwise; SELECT public.watch_sources() puts it right; ALTER TABLE … ENABLE TRIGGER \
             ALL leaves triggers so, of which each row that is written costs the writer more until \
             then"
        );
        let off = vec![
            off("blood_requests", "mark_insert", "is_no_ordinary_table"),
            off("blood_requests", "mark_row", "is_no_ordinary_table"),
        ];
        let unwatched = Unwatched::of(&Triggers { off, ..Triggers::default() }).unwrap();
        assert_eq!(unwatched.class, "unsuitable_table");
        assert!(
            unwatched.remedy.starts_with("blood_requests is no ordinary table; what is written"),
            "{}",
            unwatched.remedy
        );
        assert_eq!(Unwatched::of(&Triggers::default()), None);
    }
}
