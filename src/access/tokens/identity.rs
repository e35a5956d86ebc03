//! Tokens of a provider for a client, and not for our interface: the ID token of a sign-in, and the
//! logout token by which it ends one (OpenID Connect Core and Back-Channel Logout 1.0).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde_json::{Map, Value};

use super::{
    Refusal, Tokens,
    compact::Compact,
    issuer::{self, Issuer, Times},
    principal,
    reason::{Reason, shown, shown_value},
    trace::Trace,
};
use crate::domain::access::Principal;

/// The event that makes a token a logout token.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Whom a token must be from and for.
#[derive(Debug, Clone, Copy)]
pub struct Parties<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// Our name there.
    pub client: &'a str,
}

/// An ID token that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who signed in.
    pub principal: Principal,
    /// The provider's name of the person.
    pub subject: String,
    /// The provider's id of its own session.
    pub sid: Option<String>,
    /// When the session ends at the latest, where the provider says so (`session_expiry`), in
    /// milliseconds since 1970.
    pub until_ms: Option<i64>,
}

/// A logout token that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    /// Whose sessions end; `None`: those of `sid`, whoever has them.
    pub subject: Option<String>,
    /// The provider's session that ends; `None`: all of the subject.
    pub sid: Option<String>,
    /// When the token was made, in milliseconds since 1970: later sessions are not meant.
    pub issued_ms: i64,
}

impl Tokens {
    /// Verifies the ID token of a sign-in that was begun with this nonce.
    ///
    /// # Errors
    /// It is not valid, or that cannot be said now.
    pub async fn verify_identity(
        &self,
        token: &str,
        of: Parties<'_>,
        nonce: &str,
        now_ms: i64,
    ) -> Result<Identity, Refusal> {
        let read = Compact::read(token)?;
        let (issuer, _) = self.of_client(&read, of, &["jwt"], now_ms).await?;
        let claims = &read.claims;
        let sent = claims.get("nonce").and_then(Value::as_str).unwrap_or_default();
        if verify_slices_are_equal(sent.as_bytes(), nonce.as_bytes()).is_err() {
            return Err(claim(claims, "nonce", "that of this sign-in"));
        }
        if claims.get("azp").is_some_and(|party| party.as_str() != Some(of.client)) {
            return Err(claim(claims, "azp", "the client"));
        }
        let subject = issuer::subject(claims)?;
        Ok(Identity {
            principal: principal(issuer, claims, &subject, &mut Trace::off())?,
            subject,
            sid: sid(claims)?,
            until_ms: issuer::time(claims, "session_expiry")?,
        })
    }

    /// Verifies a logout token.
    ///
    /// # Errors
    /// It is not valid, or that cannot be said now.
    pub async fn verify_logout(
        &self,
        token: &str,
        of: Parties<'_>,
        now_ms: i64,
    ) -> Result<Logout, Refusal> {
        let read = Compact::read(token)?;
        let (_, times) = self.of_client(&read, of, &["jwt", "logout+jwt"], now_ms).await?;
        let claims = &read.claims;
        let events = claims.get("events").and_then(Value::as_object);
        if !events.is_some_and(|events| events.contains_key(LOGOUT_EVENT)) {
            return Err(claim(claims, "events", "that of a logout"));
        }
        if claims.contains_key("nonce") {
            return Err(claim(claims, "nonce", "missing: this is an ID token"));
        }
        let (subject, sid) = (text(claims, "sub"), sid(claims)?);
        if subject.is_none() && sid.is_none() {
            return Err(claim(claims, "sub", "there, or sid"));
        }
        let issued_ms =
            times.issued_ms.ok_or_else(|| claim(claims, "iat", "there: when it was made"))?;
        Ok(Logout { subject, sid, issued_ms })
    }

    /// The claims of an issuer for its client, with the signature checked.
    async fn of_client(
        &self,
        token: &Compact<'_>,
        of: Parties<'_>,
        types: &'static [&'static str],
        now_ms: i64,
    ) -> Result<(&Issuer, Times), Refusal> {
        let issuer = self.issuer(&token.claims)?;
        if issuer.name != of.issuer {
            return Err(Reason::Issuer(shown(&issuer.name), shown(of.issuer)).into());
        }
        let algorithm = issuer.algorithm(token)?;
        let is_type = |name: &String| types.contains(&name.to_ascii_lowercase().as_str());
        if !token.token_type.as_ref().is_none_or(is_type) {
            let is = token.token_type.as_deref().map_or_else(|| "missing".into(), shown);
            return Err(Reason::Type(is, types.join(" or ")).into());
        }
        let times = issuer.times(&token.claims, of.client, now_ms)?;
        self.check_signature(issuer, algorithm, token).await?;
        Ok((issuer, times))
    }
}

fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The provider's id of its own session.
fn sid(claims: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    match text(claims, "sid") {
        Some(sid) if sid.contains(char::is_control) => {
            Err(claim(claims, "sid", "without control characters"))
        }
        sid => Ok(sid),
    }
}

fn claim(claims: &Map<String, Value>, name: &'static str, right: &'static str) -> Refusal {
    Reason::Claim(name, right, shown_value(claims.get(name))).into()
}
