//! What the audit log says of a group: the facilities and blood banks that somebody has registered
//! or changed. Other events are no changes of what the service works with, and are not noted.

use std::collections::HashMap;

use serde_json::json;
use uuid::Uuid;

use super::{IngestTask, Refusal, fold::Folded, group::Group};
use crate::{
    access::audit,
    domain::event::{Entity, EntityKind, Event, Record},
    store::{self, Transaction, access::AuditNote},
};

/// Whether an event registers or changes a facility or a blood bank.
pub fn registers(event: &Event) -> bool {
    match event {
        Event::Statement(statement) => {
            matches!(statement.kind, EntityKind::Facility | EntityKind::BloodBank)
        }
        Event::Touched { .. } => false,
    }
}

impl Group<'_> {
    /// Notes in the audit log what these requests register, in the transaction that does so.
    pub(super) async fn note_registrations(
        &mut self,
        tx: &mut dyn Transaction,
        folded: &[Result<Folded, Refusal>],
    ) -> store::Result<()> {
        self.audited = notes(self.tasks, folded, &self.loaded);
        if self.audited.is_empty() { Ok(()) } else { tx.note_audit(&self.audited).await }
    }

    /// The same for the log, after the commit.
    pub(super) fn log_registrations(&self) {
        self.audited.iter().for_each(audit::log);
    }
}

/// The entries for the audit log, in the order of the requests. What is only said again is left
/// out, and so is what nobody has asked for over the API: an import has an entry of its own.
fn notes(
    tasks: &[IngestTask],
    folded: &[Result<Folded, Refusal>],
    loaded: &HashMap<(EntityKind, Uuid), Record>,
) -> Vec<AuditNote> {
    let mut now: HashMap<(EntityKind, Uuid), &Entity> = HashMap::new();
    let mut notes = Vec::new();
    for (task, folded) in tasks.iter().zip(folded) {
        let Ok(folded) = folded else { continue };
        for (event, _) in task.events.iter().zip(&folded.applied).filter(|(_, applied)| **applied) {
            let Event::Statement(statement) = event else { continue };
            let (key, Some(entity)) =
                ((statement.kind, statement.id), statement.record.entity.as_ref())
            else {
                continue;
            };
            if !registers(event) {
                continue;
            }
            let stored = || loaded.get(&key).and_then(|record| record.entity.as_ref());
            let before = now.insert(key, entity).or_else(stored);
            if let (Some(by), true) = (&task.by, before != Some(entity)) {
                let action = action(key.0, before.is_some());
                let detail = json!({"before": before, "now": entity});
                notes.push(by.clone().note(action, &key.1.to_string(), detail));
            }
        }
    }
    notes
}

fn action(kind: EntityKind, was_there: bool) -> &'static str {
    match (kind, was_there) {
        (EntityKind::Facility, false) => "facility.registered",
        (EntityKind::Facility, true) => "facility.changed",
        (_, false) => "blood_bank.registered",
        (_, true) => "blood_bank.changed",
    }
}
