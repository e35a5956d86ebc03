//! Why a token is not accepted.

use jsonwebtoken::Algorithm;

/// A token that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The token is wrong: 401. The reason is for the log and for `token explain`; a client gets a
    /// general text.
    #[error("{0}")]
    Invalid(#[from] Reason),
    /// It cannot be said now whether the token is right: 503.
    #[error("{0}")]
    Unavailable(#[from] Unavailable),
}

/// Why it cannot be said now whether a token is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The issuer's keys were never got.
    #[error("the keys of {issuer} have not been fetched yet ({error})")]
    NoKeys {
        /// The issuer.
        issuer: String,
        /// What kept them back.
        error: &'static str,
    },
    /// The token names a key that is not known, and the keys cannot be fetched anew.
    #[error("{issuer} may have a newer key {kid}, but its keys cannot be fetched now ({error})")]
    PerhapsNewer {
        /// The issuer.
        issuer: String,
        /// The key that the token names, in quotes.
        kid: String,
        /// What kept the fetch from succeeding.
        error: &'static str,
    },
    /// Too many tokens wait to be verified.
    #[error("too many tokens wait to be verified")]
    Busy,
}

/// What is wrong with a token. Texts of the token are shown in quotes and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It is longer than [`super::compact::MOST_BYTES`].
    #[error("the token has {0} bytes; at most 8192 are read")]
    TooLong(usize),
    /// It does not have the form of a signed token.
    #[error("the token is no signed JWT: {0}")]
    Form(String),
    /// Its header has parts that change what it means.
    #[error("the header has crit, which marks extensions that must be understood; none is")]
    Critical,
    /// It names no issuer, or one that is not configured.
    #[error("the issuer is {0}; configured are: {1}")]
    Issuer(String, String),
    /// It is signed with an algorithm that its issuer does not use.
    #[error("the algorithm is {0}; its issuer's are: {1}")]
    Algorithm(String, String),
    /// It is of another type, such as one that is for signing out.
    #[error("the header typ is {0}; expected {1}")]
    Type(String, String),
    /// It names a key that its issuer does not have.
    #[error("the key is {0}; its issuer's keys for {1:?} are: {2}")]
    Key(String, Algorithm, String),
    /// The signature does not fit.
    #[error("the signature does not fit the key {0} of the issuer")]
    Signature(String),
    /// A claim that must be there is not, or is of another kind.
    #[error("the claim {0} must be {1}; it is {2}")]
    Claim(&'static str, &'static str, String),
    /// It is over.
    #[error("the token was valid until {0}; now it is {1}, and the leeway is {2} s")]
    Expired(String, String, i64),
    /// It is not valid yet.
    #[error("the token is valid from {0}; now it is {1}, and the leeway is {2} s")]
    NotYet(String, String, i64),
    /// It is for somebody else.
    #[error("the audience is {0}; expected {1:?}")]
    Audience(String, String),
    /// It gives no role.
    #[error("no role: {0}")]
    Role(String),
    /// It does not say which facilities, or not in a way that can be read.
    #[error("no facilities: {0}")]
    Facilities(String),
}

impl Reason {
    /// One word, for counting.
    pub fn class(&self) -> &'static str {
        match self {
            Reason::TooLong(_) => "too_long",
            Reason::Form(_) => "form",
            Reason::Critical => "critical",
            Reason::Issuer(..) => "issuer",
            Reason::Algorithm(..) => "algorithm",
            Reason::Type(..) => "type",
            Reason::Key(..) => "key",
            Reason::Signature(_) => "signature",
            Reason::Claim(..) => "claim",
            Reason::Expired(..) => "expired",
            Reason::NotYet(..) => "not_yet",
            Reason::Audience(..) => "audience",
            Reason::Role(_) => "role",
            Reason::Facilities(_) => "facilities",
        }
    }
}

/// A text of a token that may be forged: in quotes, escaped, and cut to 100 characters.
pub fn shown(text: &str) -> String {
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(100).collect();
    format!("{start:?}{}", if characters.next().is_some() { "…" } else { "" })
}

/// A value of a token that may be forged, like [`shown`].
pub fn shown_value(value: Option<&serde_json::Value>) -> String {
    match value {
        None => "missing".into(),
        Some(serde_json::Value::String(text)) => shown(text),
        Some(value) => {
            let text = value.to_string();
            let mut characters = text.chars().filter(|c| !c.is_control());
            let start: String = characters.by_ref().take(100).collect();
            format!("{start}{}", if characters.next().is_some() { "…" } else { "" })
        }
    }
}
