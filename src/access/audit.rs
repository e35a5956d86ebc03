//! What is noted in the audit log, and who did it.

use serde_json::Value;

use crate::store::access::AuditNote;

/// Who asks for a change, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The id of a principal, or a command with its user.
    pub id: String,
    /// The address; `None` for a command.
    pub address: Option<String>,
}

impl Actor {
    /// What it did: `action` to `subject`. `detail` has no secrets.
    pub fn note(self, action: &'static str, subject: &str, detail: Value) -> AuditNote {
        let Actor { id: actor, address } = self;
        AuditNote { actor, action, subject: subject.to_owned(), detail, address }
    }
}

/// The audit log is also in the log, for those who gather that one. Called after the commit.
pub fn log(note: &AuditNote) {
    let AuditNote { actor, action, subject, detail, address } = note;
    tracing::info!(%actor, action, %subject, %detail, address, "noted in the audit log");
}
