//! Tokens that do not count any more although they have not ended: those of a subject, or one
//! alone. The provider knows who may sign in; this ends what it has given out already.

use std::{collections::HashMap, fmt::Write};

use sha2::{Digest, Sha256};

use super::audit::{Actor, log};
use crate::store::{self, Store, access::DenialRow};

/// The most characters of an issuer, a subject and a token id.
pub const MOST_CHARACTERS: usize = 1_000;

/// Which token it is, as its issuer names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenName {
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `sub`.
    pub subject: String,
    /// The claim `jti`; `None`: it has none, and can be denied by its subject only.
    pub token_id: Option<String>,
}

/// What is to be denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenialWish {
    /// The claim `iss` of the tokens.
    pub issuer: String,
    /// The claim `sub` of the tokens.
    pub subject: String,
    /// The claim `jti` of one token; `None`: all tokens of the subject.
    pub token_id: Option<String>,
    /// From then on it is over, in milliseconds since 1970; `None`: until it is taken back.
    pub until_ms: Option<i64>,
}

impl DenialWish {
    /// What is wrong with it: the field, and what would be right.
    pub fn fault(&self, now_ms: i64) -> Option<(&'static str, String)> {
        let texts = [("issuer", Some(&self.issuer)), ("subject", Some(&self.subject))].into_iter();
        let mut texts = texts.chain([("token_id", self.token_id.as_ref())]);
        let is_wrong = |text: &String| {
            text.trim().is_empty()
                || text.chars().count() > MOST_CHARACTERS
                || text.contains(char::is_control)
        };
        let wrong = texts.find(|(_, text)| text.is_some_and(is_wrong));
        if let Some((field, _)) = wrong {
            let claim = match field {
                "issuer" => "iss",
                "subject" => "sub",
                _ => "jti",
            };
            let right = format!(
                "must be the claim {claim} of the token, in 1 to {MOST_CHARACTERS} characters"
            );
            return Some((field, right));
        }
        let is_past = self.until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        is_past.then(|| ("until", "must be in the future; leave it out for no end".to_owned()))
    }

    /// The id of the denial: the same denial has the same one.
    fn id(&self) -> String {
        let mut hash = Sha256::new();
        let token_id = self.token_id.as_deref().unwrap_or_default();
        for text in [&self.issuer, &self.subject, token_id] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize()[..12].iter().fold(String::new(), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        })
    }
}

/// Stores a denial: within two seconds no server takes these tokens any more. Where there is one of
/// the same tokens, it takes its place.
///
/// # Errors
/// The database does not answer.
pub async fn deny(store: &dyn Store, wish: DenialWish, by: Actor) -> store::Result<DenialRow> {
    let id = wish.id();
    let DenialWish { issuer, subject, token_id, until_ms } = wish;
    let detail = serde_json::json!({
        "issuer": issuer, "subject": subject, "token_id": token_id, "until_ms": until_ms,
    });
    let created_by = by.id.clone();
    let mut row = DenialRow { id, issuer, subject, token_id, until_ms, created_ms: 0, created_by };
    let note = by.note("token.denied", &row.id, detail);
    row.created_ms = store.deny(&row, &note).await?;
    log(&note);
    Ok(row)
}

/// Takes a denial back. Returns false when there is none with this id.
///
/// # Errors
/// The database does not answer.
pub async fn allow(store: &dyn Store, id: &str, by: Actor) -> store::Result<bool> {
    let note = by.note("token.allowed", id, serde_json::json!({}));
    let is_allowed = store.allow(id, &note).await?;
    if is_allowed {
        log(&note);
    }
    Ok(is_allowed)
}

/// The denials in memory: as the table had them at the access version that was looked at last.
#[derive(Default)]
pub(super) struct KnownDenials(HashMap<TokenName, Option<i64>>);

impl KnownDenials {
    /// The denials of these rows.
    pub fn of(rows: Vec<DenialRow>) -> Self {
        let known = rows.into_iter().map(|row| {
            let DenialRow { issuer, subject, token_id, until_ms, .. } = row;
            (TokenName { issuer, subject, token_id }, until_ms)
        });
        KnownDenials(known.collect())
    }

    /// Whether this token is denied at `now_ms`: it, or all tokens of its subject.
    pub fn has(&self, token: &TokenName, now_ms: i64) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let counts = |name: &TokenName| {
            self.0.get(name).is_some_and(|until_ms| until_ms.is_none_or(|at_ms| now_ms < at_ms))
        };
        counts(token) || counts(&TokenName { token_id: None, ..token.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(issuer: &str, subject: &str, token_id: Option<&str>) -> DenialWish {
        let [issuer, subject] = [issuer, subject].map(str::to_owned);
        DenialWish { issuer, subject, token_id: token_id.map(str::to_owned), until_ms: None }
    }

    fn row(wish: &DenialWish, until_ms: Option<i64>) -> DenialRow {
        let DenialWish { issuer, subject, token_id, .. } = wish.clone();
        let (id, created_by) = (wish.id(), "a test".to_owned());
        DenialRow { id, issuer, subject, token_id, until_ms, created_ms: 0, created_by }
    }

    fn name(issuer: &str, subject: &str, token_id: Option<&str>) -> TokenName {
        let DenialWish { issuer, subject, token_id, .. } = wish(issuer, subject, token_id);
        TokenName { issuer, subject, token_id }
    }

    #[test]
    fn a_denial_is_of_one_token_or_of_all_of_a_subject_and_of_nobody_else() {
        let denied = KnownDenials::of(vec![
            row(&wish("i", "all", None), None),
            row(&wish("i", "one", Some("t1")), Some(1_000)),
        ]);
        for (token, is_denied) in [
            (name("i", "all", None), true),
            (name("i", "all", Some("t1")), true),
            (name("j", "all", None), false),
            (name("i", "one", Some("t1")), true),
            (name("i", "one", Some("t2")), false),
            (name("i", "one", None), false),
            (name("i", "other", Some("t1")), false),
        ] {
            assert_eq!(denied.has(&token, 999), is_denied, "{token:?}");
        }
        assert!(!denied.has(&name("i", "one", Some("t1")), 1_000), "it is over");
        assert!(denied.has(&name("i", "all", None), i64::MAX), "it has no end");
    }

    #[test]
    fn only_the_same_denial_has_the_same_id() {
        let all = [
            wish("i", "s", None),
            wish("is", "", None),
            wish("", "is", None),
            wish("i", "", Some("s")),
            wish("i", "s", Some("t")),
        ];
        let ids: std::collections::HashSet<String> = all.iter().map(DenialWish::id).collect();
        assert_eq!(ids.len(), all.len());
        let later = DenialWish { until_ms: Some(5), ..wish("i", "s", None) };
        assert_eq!(later.id(), all[0].id());
    }

    #[test]
    fn what_cannot_be_a_claim_is_refused_and_named() {
        let long = "x".repeat(MOST_CHARACTERS + 1);
        for (wish, field) in [
            (wish("", "s", None), "issuer"),
            (wish("i", " ", None), "subject"),
            (wish("i", "s", Some("")), "token_id"),
            (wish("i", &long, None), "subject"),
            (wish("i", "a\nb", None), "subject"),
            (DenialWish { until_ms: Some(10), ..wish("i", "s", None) }, "until"),
        ] {
            assert_eq!(wish.fault(10).map(|(field, _)| field), Some(field), "{wish:?}");
        }
        assert_eq!(wish("i", &long[1..], Some("t")).fault(10), None);
    }
}
