//! Sign-in of people: by a password, by a code for the first account, or by a provider that has
//! said who somebody is. Each begins a session.

mod ended;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::{
    Guard,
    accounts::{self, AccountWish},
    api_keys,
    audit::{Actor, log},
    denials::TokenName,
    passwords::{Busy, Passwords},
    sessions::{self, NewSession},
    slow_down::{self, Attempt, SlowDown},
};
use crate::{
    clock::Clock,
    domain::access::{Principal, Role},
    metrics::Metrics,
    store::{
        self, Store, StoreError,
        people::{SessionRow, UserRow},
    },
};

/// The most characters that are kept of what a program calls itself.
const AGENT_CHARS: usize = 200;
/// The characters of a code for the first account: 140 random bits, so that nobody finds it by
/// trying.
const CODE_CHARS: usize = 28;

/// Where a request comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The address.
    pub address: Option<IpAddr>,
    /// What the program calls itself.
    pub agent: Option<String>,
}

/// Why nobody was signed in.
#[derive(Debug)]
pub enum Refused {
    /// The name or the password is wrong, or the account is disabled: nobody learns which. Or the
    /// code is none.
    Wrong,
    /// The tokens of this person are denied.
    Denied,
    /// Too many failures: after these seconds there may be another try.
    TooFast(u32),
    /// Too many passwords wait to be verified.
    Busy,
    /// The database does not answer.
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Refused::Store(error)
    }
}

impl From<Busy> for Refused {
    fn from(_: Busy) -> Self {
        Refused::Busy
    }
}

impl Refused {
    fn outcome(&self) -> &'static str {
        match self {
            Refused::Wrong | Refused::Denied => "refused",
            Refused::TooFast(_) => "slowed_down",
            Refused::Busy | Refused::Store(_) => "unavailable",
        }
    }
}

/// A session that was begun.
pub struct Begun {
    /// What the cookie has.
    pub text: String,
    /// The part of it that is no secret.
    pub id: String,
    /// Who has it.
    pub principal: Principal,
    /// When it ends at the latest, in milliseconds since 1970.
    pub expires_ms: i64,
    /// The same as seconds from now.
    pub lasts_s: u64,
}

/// Whom a provider has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Who it is, and what it may do.
    pub principal: Principal,
    /// The provider.
    pub issuer: String,
    /// Its name of the person.
    pub subject: String,
    /// Its id of its own session.
    pub sid: Option<String>,
    /// When the session ends at the latest, where the provider says so, in milliseconds since 1970.
    pub until_ms: Option<i64>,
}

/// Signs people in.
pub struct SignIn {
    store: Arc<dyn Store>,
    clock: Arc<Clock>,
    guard: Arc<Guard>,
    passwords: Passwords,
    slow_down: SlowDown,
    metrics: Arc<Metrics>,
}

impl SignIn {
    /// Sign-in into what this guard guards.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<Clock>,
        guard: Arc<Guard>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let passwords = Passwords::new(metrics.password_hashes.clone());
        SignIn { store, clock, guard, passwords, slow_down: SlowDown::default(), metrics }
    }

    /// Signs in by a password.
    ///
    /// # Errors
    /// They do not fit, or that cannot be found out now.
    pub async fn by_password(
        &self,
        name: &str,
        password: String,
        origin: &Origin,
    ) -> Result<Begun, Refused> {
        let done = self.verify_password(name, password, origin).await;
        self.count("password", &done, origin);
        done
    }

    async fn verify_password(
        &self,
        name: &str,
        password: String,
        origin: &Origin,
    ) -> Result<Begun, Refused> {
        let name = accounts::name_of(name);
        // What cannot be a name is one that nobody has: the work is the same.
        let attempt = self.attempt(name.as_deref().unwrap_or_default(), origin).await?;
        let user = match &name {
            Some(name) => self.store.user(name).await?,
            None => self.store.user("").await?,
        };
        let usable = user.filter(|user| user.disabled_ms.is_none());
        let hash = usable.as_ref().map(|user| user.password_hash.clone());
        let fits = self.passwords.fits(password, hash).await?;
        let user = usable.filter(|_| fits).ok_or(Refused::Wrong)?;
        let begun = self.begin_of_user(&user, origin).await?.ok_or(Refused::Wrong)?;
        attempt.succeeded();
        Ok(begun)
    }

    async fn attempt(&self, name: &str, origin: &Origin) -> Result<Attempt, Refused> {
        let address = origin.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let attempt = self.slow_down.attempt(name, address).map_err(Refused::TooFast)?;
        if attempt.waits {
            tokio::time::sleep(slow_down::WAIT).await;
        }
        Ok(attempt)
    }

    /// Begins a session of an account; `None` where it has been changed since it was read.
    async fn begin_of_user(&self, user: &UserRow, origin: &Origin) -> store::Result<Option<Begun>> {
        let scope = match &user.facilities {
            None => Some(None),
            Some(ids) => serde_json::from_str::<serde_json::Value>(ids)
                .ok()
                .map(|ids| Some(serde_json::json!({ "ids": ids }).to_string())),
        };
        let Some(facilities) = scope else {
            tracing::warn!(user = user.name, "the facilities of an account cannot be read");
            return Ok(None);
        };
        let row = SessionRow {
            principal: accounts::principal_of(&user.name),
            name: user.name.clone(),
            role: user.role.clone(),
            facilities,
            user_name: Some(user.name.clone()),
            ..self.row(origin, None)
        };
        self.begin(row, Some(&user.password_hash)).await
    }

    /// Begins a session of somebody whom a provider has named.
    ///
    /// # Errors
    /// The tokens of this person are denied, or the database does not answer.
    pub async fn by_provider(&self, named: Named, origin: &Origin) -> Result<Begun, Refused> {
        let (issuer, subject) = (named.issuer.clone(), named.subject.clone());
        if self.guard.denies(&TokenName { issuer, subject, token_id: None }) {
            self.count("provider", &Err(Refused::Denied), origin);
            return Err(Refused::Denied);
        }
        let row = SessionRow {
            principal: named.principal.id.clone(),
            name: named.principal.name.clone(),
            role: named.principal.role.as_str().to_owned(),
            facilities: sessions::stored_scope(&named.principal.facilities),
            issuer: Some(named.issuer),
            subject: Some(named.subject),
            provider_sid: named.sid,
            ..self.row(origin, named.until_ms)
        };
        if row.expires_ms <= self.clock.never_back_ms() {
            self.count("provider", &Err(Refused::Wrong), origin);
            return Err(Refused::Wrong);
        }
        let begun = self.begin(row, None).await.map_err(Refused::from);
        let begun = begun.and_then(|begun| begun.ok_or(Refused::Denied));
        self.count("provider", &begun, origin);
        begun
    }

    /// A session that is yet to be given to somebody.
    fn row(&self, origin: &Origin, until_ms: Option<i64>) -> SessionRow {
        // When it ends is judged by the clock that never goes back.
        let (created_ms, now_ms) = (self.clock.now_ms(), self.clock.never_back_ms());
        let most = i64::try_from(self.guard.lifetimes().absolute.as_millis()).unwrap_or(i64::MAX);
        let expires_ms = now_ms.saturating_add(most).min(until_ms.unwrap_or(i64::MAX));
        let plain = |agent: &String| -> String {
            agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS).collect()
        };
        SessionRow {
            id: String::new(),
            hash: Vec::new(),
            principal: String::new(),
            name: String::new(),
            role: String::new(),
            facilities: None,
            user_name: None,
            issuer: None,
            subject: None,
            provider_sid: None,
            created_ms,
            expires_ms,
            used_ms: now_ms,
            ended_ms: None,
            ended_by: None,
            address: origin.address.map(|address| address.to_string()),
            agent: origin.agent.as_ref().map(plain),
        }
    }

    async fn begin(
        &self,
        row: SessionRow,
        password_hash: Option<&str>,
    ) -> store::Result<Option<Begun>> {
        let new = NewSession::random();
        let hash = api_keys::hash(&new.text).to_vec();
        let row = SessionRow { id: new.id.clone(), hash, ..row };
        let Some(principal) = sessions::principal(&row) else { return Ok(None) };
        let by = Actor { id: row.principal.clone(), address: row.address.clone() };
        let way = if row.user_name.is_some() { "password" } else { "provider" };
        let detail = serde_json::json!({
            "role": row.role, "by": way, "expires_ms": row.expires_ms, "agent": row.agent,
        });
        let note = by.note("session.started", &row.id, detail);
        if !self.store.add_session(&row, password_hash, &note).await? {
            return Ok(None);
        }
        log(&note);
        let left_ms = row.expires_ms.saturating_sub(self.clock.never_back_ms());
        let lasts_s = u64::try_from(left_ms / 1_000).unwrap_or(0);
        let expires_ms = row.expires_ms;
        Ok(Some(Begun { text: new.text, id: new.id, principal, expires_ms, lasts_s }))
    }

    /// Makes the first account, an admin, by a code from the log, and signs it in.
    ///
    /// # Errors
    /// The code is none, or somebody can sign in already; or that cannot be found out now.
    pub async fn set_up(
        &self,
        code: &str,
        wish: AccountWish,
        password: String,
        origin: &Origin,
    ) -> Result<Begun, Refused> {
        let done = self.use_code(code, wish, password, origin).await;
        self.count("setup", &done, origin);
        done
    }

    async fn use_code(
        &self,
        code: &str,
        wish: AccountWish,
        password: String,
        origin: &Origin,
    ) -> Result<Begun, Refused> {
        let attempt = self.attempt("", origin).await?;
        let hash = self.passwords.hash(password).await?;
        let by = Actor {
            id: "the setup code".to_owned(),
            address: origin.address.map(|address| address.to_string()),
        };
        let user = wish.row(hash, &by);
        let subject = accounts::principal_of(&user.name);
        let notes = [
            by.clone().note("setup.used", &subject, serde_json::json!({})),
            by.note("user.added", &subject, wish.detail()),
        ];
        if !self.store.set_up(&code_hash(code), &user, &notes).await? {
            return Err(Refused::Wrong);
        }
        notes.iter().for_each(log);
        attempt.succeeded();
        self.guard.follow().await?;
        self.begin_of_user(&user, origin).await?.ok_or(Refused::Wrong)
    }

    /// A new code for the first account, where nobody can sign in. It counts on every server.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn setup_code(&self) -> store::Result<Option<String>> {
        if !self.guard.is_closed() {
            return Ok(None);
        }
        let code = api_keys::readable(CODE_CHARS);
        let groups: Vec<&str> = (0..CODE_CHARS).step_by(4).map(|at| &code[at..at + 4]).collect();
        let is_added = self.store.add_setup_code(&code_hash(&code)).await?;
        Ok(is_added.then(|| groups.join("-")))
    }

    /// The origin of the service as browsers know it, where the settings say so.
    pub fn own_origin(&self) -> Option<&str> {
        self.guard.own_origin()
    }

    /// Whether the first account may be made by a code.
    pub fn is_closed(&self) -> bool {
        self.guard.is_closed()
    }

    /// Counts a sign-in. A refusal is also told in the log, but not in the audit log: that one
    /// anybody could fill.
    fn count(&self, way: &'static str, done: &Result<Begun, Refused>, origin: &Origin) {
        let outcome = match done {
            Ok(_) => "ok",
            Err(refused) => refused.outcome(),
        };
        self.metrics.sign_ins.with_label_values(&[way, outcome]).inc();
        if let Err(refused) = done {
            let address = origin.address.map(|address| address.to_string());
            match refused {
                Refused::Wrong => tracing::info!(way, outcome, address, "sign_in.failed"),
                // As many as somebody likes to send.
                _ => tracing::debug!(way, outcome, address, ?refused, "sign_in.failed"),
            }
        }
    }
}

/// The role of the first account.
pub const FIRST_ROLE: Role = Role::Admin;

/// The hash of a code, however it is written.
fn code_hash(code: &str) -> [u8; 32] {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    api_keys::hash(&plain.to_ascii_lowercase())
}
