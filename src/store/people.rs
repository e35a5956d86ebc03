//! Accounts with passwords, the sessions of browsers, and codes for the first account. Both stores
//! keep the same. The decisions are in `src/access/`.

use async_trait::async_trait;

use super::{
    Result,
    access::{AuditNote, DenialRow},
};

/// An account as it is stored. Instants are in milliseconds since 1970.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Its name, in small letters.
    pub name: String,
    /// The hash of its password, in the PHC form.
    pub password_hash: String,
    /// The name of its role.
    pub role: String,
    /// JSON list of the ids of its facilities; `None`: every facility.
    pub facilities: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// Who made it.
    pub created_by: String,
    /// When a session of it was started last.
    pub signed_in_ms: Option<i64>,
    /// When it was disabled.
    pub disabled_ms: Option<i64>,
    /// Who disabled it.
    pub disabled_by: Option<String>,
}

/// Without the hash.
impl std::fmt::Debug for UserRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRow").field("name", &self.name).field("role", &self.role).finish()
    }
}

/// A session as it is stored. Instants are in milliseconds since 1970.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The part of the cookie that is no secret.
    pub id: String,
    /// SHA-256 of the whole cookie.
    pub hash: Vec<u8>,
    /// Who it is, as the audit log names it.
    pub principal: String,
    /// A name for people.
    pub name: String,
    /// The name of the role.
    pub role: String,
    /// JSON object of the ids of facilities and of owner's keys; `None`: every facility.
    pub facilities: Option<String>,
    /// The account; `None`: signed in by a provider.
    pub user_name: Option<String>,
    /// The provider.
    pub issuer: Option<String>,
    /// Whom the provider says it is.
    pub subject: Option<String>,
    /// The provider's id of its own session.
    pub provider_sid: Option<String>,
    /// When it was started.
    pub created_ms: i64,
    /// It ends then, whether it is used or not.
    pub expires_ms: i64,
    /// When it was used last, to the minute.
    pub used_ms: i64,
    /// When it was ended.
    pub ended_ms: Option<i64>,
    /// Who ended it.
    pub ended_by: Option<String>,
    /// The address that it was started from.
    pub address: Option<String>,
    /// The program that started it, as it names itself.
    pub agent: Option<String>,
}

/// Without the hash.
impl std::fmt::Debug for SessionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionRow")
            .field("id", &self.id)
            .field("principal", &self.principal)
            .finish()
    }
}

/// The sessions that a provider ends.
#[derive(Debug, Clone, Copy)]
pub struct EndedByProvider<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// Its own session; `None`: any.
    pub sid: Option<&'a str>,
    /// Whom it is about; `None`: anybody.
    pub subject: Option<&'a str>,
    /// Younger sessions are not meant, in milliseconds since 1970.
    pub until_ms: i64,
}

impl<'a> EndedByProvider<'a> {
    /// The sessions of whom a denial is about; all of its subject.
    pub fn of_denial(denial: &'a DenialRow) -> Self {
        let subject = Some(denial.subject.as_str());
        EndedByProvider { issuer: &denial.issuer, sid: None, subject, until_ms: i64::MAX }
    }
}

/// Accounts and sessions. What changes an account, and what ends a session, raises the access
/// version, and is noted in the audit log, all in one transaction.
#[async_trait]
pub trait PeopleStore {
    /// All accounts, by name.
    async fn users(&self) -> Result<Vec<UserRow>>;
    /// Whether there is any account.
    async fn has_users(&self) -> Result<bool>;
    /// The account with this name.
    async fn user(&self, name: &str) -> Result<Option<UserRow>>;
    /// Stores a new account. Returns false, and notes nothing, when the name is taken.
    async fn add_user(&self, user: &UserRow, note: &AuditNote) -> Result<bool>;
    /// Disables an account and ends its sessions. Returns false when there is none that can be
    /// used.
    async fn disable_user(&self, name: &str, note: &AuditNote) -> Result<bool>;
    /// Enables an account. Returns false when there is none that is disabled.
    async fn enable_user(&self, name: &str, note: &AuditNote) -> Result<bool>;
    /// Gives an account another password and ends its sessions. Returns false when there is none.
    async fn reset_user(&self, name: &str, password_hash: &str, note: &AuditNote) -> Result<bool>;
    /// Stores a new session. Where it is of an account, that must still have this hash and not be
    /// disabled; where it is by a provider, its subject must not be denied. Else nothing is stored,
    /// and false returned. The access version stays.
    async fn add_session(
        &self,
        session: &SessionRow,
        password_hash: Option<&str>,
        note: &AuditNote,
    ) -> Result<bool>;
    /// The session with this id, also one that has ended.
    async fn session(&self, id: &str) -> Result<Option<SessionRow>>;
    /// The sessions of a principal, or all, that go on at `now_ms` and were used after
    /// `used_after_ms`; those that were used last first, at most `limit`.
    async fn sessions(
        &self,
        principal: Option<&str>,
        now_ms: i64,
        used_after_ms: i64,
        limit: usize,
    ) -> Result<Vec<SessionRow>>;
    /// Ends a session, of this principal or of anybody. Returns false when there is none that goes
    /// on.
    async fn end_session(&self, id: &str, of: Option<&str>, note: &AuditNote) -> Result<bool>;
    /// Ends the sessions that a provider names. Returns how many.
    async fn end_sessions_by_provider(
        &self,
        of: EndedByProvider<'_>,
        note: &AuditNote,
    ) -> Result<u64>;
    /// The sessions that were ended after this access version: the id of each, and the version that
    /// its end has made.
    async fn sessions_ended_after(&self, version: i64) -> Result<Vec<(String, i64)>>;
    /// Notes when sessions were used last: id and instant in milliseconds since 1970.
    async fn note_session_uses(&self, uses: &[(String, i64)]) -> Result<()>;
    /// Stores the hash of a code for the first account. Returns false when somebody can sign in.
    async fn add_setup_code(&self, hash: &[u8]) -> Result<bool>;
    /// Makes the first account by such a code, which ends all codes. Returns false when it is none,
    /// or somebody can sign in.
    async fn set_up(&self, hash: &[u8], user: &UserRow, notes: &[AuditNote; 2]) -> Result<bool>;
}
