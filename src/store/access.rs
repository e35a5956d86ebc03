//! API keys, and the log of changes about who may do what. Both stores keep the same. The decisions
//! are in `src/access/`.

use async_trait::async_trait;

use super::Result;

/// An API key as it is stored. Instants are in milliseconds since 1970.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// The part of the key that is no secret.
    pub id: String,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    /// What it is for, for people.
    pub name: String,
    /// The name of its role.
    pub role: String,
    /// A service that may also read figures.
    pub may_read: bool,
    /// JSON list of the ids of its facilities; `None`: every facility.
    pub facilities: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// Who made it: the id of a principal, or a command.
    pub created_by: String,
    /// When it ends; `None`: never.
    pub expires_ms: Option<i64>,
    /// When it was used last, to the minute.
    pub used_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
}

/// Without the hash.
impl std::fmt::Debug for ApiKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeyRow").field("id", &self.id).field("role", &self.role).finish()
    }
}

/// What is noted in the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditNote {
    /// Who did it: the id of a principal, or a command.
    pub actor: String,
    /// What was done, such as `key.added`.
    pub action: &'static str,
    /// What it was done to, such as the id of a key.
    pub subject: String,
    /// What was changed, in JSON, without secrets.
    pub detail: serde_json::Value,
    /// The address that it came from; `None`: a command line.
    pub address: Option<String>,
}

/// Tokens that do not count any more, as it is stored. Instants are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenialRow {
    /// Made of the issuer, the subject and the token: the same denial has the same id.
    pub id: String,
    /// The claim `iss` of the tokens.
    pub issuer: String,
    /// The claim `sub` of the tokens.
    pub subject: String,
    /// The claim `jti` of the only token that is meant; `None`: all of the subject.
    pub token_id: Option<String>,
    /// From then on it is over; `None`: until it is taken back.
    pub until_ms: Option<i64>,
    /// When it was made.
    pub created_ms: i64,
    /// Who made it: the id of a principal, or a command.
    pub created_by: String,
}

/// Which entries of the audit log are wanted: those with all of what is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// What was done.
    pub action: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// What it was done to.
    pub subject: Option<String>,
}

impl AuditFilter {
    /// The statement that reads by the filter that leaves the fewest entries, and the values of its
    /// parameters: of that filter, and of the two others in the order of their names. `None`: there
    /// is no filter.
    pub(super) fn statement<'a>(
        &'a self,
        [by_action, by_actor, by_subject]: [&'static str; 3],
    ) -> Option<(&'static str, [Option<&'a str>; 3])> {
        let AuditFilter { action, actor, subject } = self;
        let (action, actor, subject) = (action.as_deref(), actor.as_deref(), subject.as_deref());
        match (action, actor, subject) {
            (_, _, Some(_)) => Some((by_subject, [subject, action, actor])),
            (_, Some(_), None) => Some((by_actor, [actor, action, None])),
            (Some(_), None, None) => Some((by_action, [action, None, None])),
            (None, None, None) => None,
        }
    }
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number. Later entries have greater ones.
    pub id: i64,
    /// When it was noted, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub subject: String,
    /// What was changed, in JSON.
    pub detail: String,
    /// The address that it came from.
    pub address: Option<String>,
}

/// Which changes of keys, accounts, denials and sessions a database has seen: their number, and
/// marks of the last ones. Where a backup was restored, the number may be the same after other
/// changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessVersion {
    /// Rises by one with each change.
    pub number: i64,
    /// The random marks of the last changes, the newest first, 16 characters each.
    pub marks: String,
}

impl AccessVersion {
    /// Whether the changes of `known` are among these. False where a backup was restored since
    /// then, and where more changes followed than there are marks.
    pub fn follows(&self, known: &AccessVersion) -> bool {
        const MARK: usize = 16;
        let later = usize::try_from(self.number.saturating_sub(known.number)).ok();
        let at = later.and_then(|later| later.checked_mul(MARK)).unwrap_or(usize::MAX);
        let mark = self.marks.get(at..at.saturating_add(MARK));
        mark.is_some() && mark == known.marks.get(..MARK)
    }
}

/// Keys, denials and the audit log. What changes a key or a denial raises the access version, and
/// is noted in the audit log, all in one transaction.
#[async_trait]
pub trait AccessStore {
    /// Changes with each change of keys, accounts and denials, and each session that is ended.
    /// Every server looks at it each half second.
    async fn access_version(&self) -> Result<AccessVersion>;
    /// All keys, also those that have ended. The newest first.
    async fn api_keys(&self) -> Result<Vec<ApiKeyRow>>;
    /// Stores a new key. Returns when it was made.
    async fn add_api_key(&self, key: &ApiKeyRow, note: &AuditNote) -> Result<i64>;
    /// Ends a key. Returns false, and notes nothing, when there is none with this id that has not
    /// been revoked.
    async fn revoke_api_key(&self, id: &str, note: &AuditNote) -> Result<bool>;
    /// All denials, also those that are over. The newest first.
    async fn denials(&self) -> Result<Vec<DenialRow>>;
    /// Stores a denial, in the place of one with the same id, and ends the sessions of a subject
    /// that is denied. Returns when it was made.
    async fn deny(&self, denial: &DenialRow, note: &AuditNote) -> Result<i64>;
    /// Takes a denial back. Returns false, and notes nothing, when there is none with this id.
    async fn allow(&self, id: &str, note: &AuditNote) -> Result<bool>;
    /// Notes when keys were used last: id and instant in milliseconds since 1970.
    async fn note_key_uses(&self, uses: &[(String, i64)]) -> Result<()>;
    /// Adds an entry to the audit log.
    async fn note_audit(&self, note: &AuditNote) -> Result<()>;
    /// The entries of the audit log with a number below `before`, the newest first, at most
    /// `limit`.
    async fn audit_log(
        &self,
        filter: &AuditFilter,
        before: i64,
        limit: usize,
    ) -> Result<Vec<AuditEntry>>;
    /// Deletes entries of the audit log that are older than `before_ms`, and keys, denials and
    /// sessions that ended before it.
    async fn prune_access(&self, before_ms: i64) -> Result<()>;
}
