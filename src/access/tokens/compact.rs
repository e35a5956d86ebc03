//! The form of a signed token: three parts in base64url, of which two are JSON.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{
    json,
    reason::{Reason, shown_value},
};

/// The longest token that is read, in bytes; a longer one is refused before anything is decoded.
pub const MOST_BYTES: usize = 8_192;

/// A token that was read. Nothing of it is proven.
pub struct Compact<'a> {
    /// The algorithm that it says it is signed with.
    pub algorithm: String,
    /// The key that it says it is signed with.
    pub kid: Option<String>,
    /// Its type.
    pub token_type: Option<String>,
    /// What it claims.
    pub claims: Map<String, Value>,
    /// What is signed.
    pub message: &'a str,
    /// The signature, in base64url.
    pub signature: &'a str,
}

impl<'a> Compact<'a> {
    /// Reads a token. The header's `jwk`, `jku`, `x5u` and `x5c` are not looked at: a key that
    /// comes with the token proves nothing.
    ///
    /// # Errors
    /// It is too long, or not of this form.
    pub fn read(token: &'a str) -> Result<Self, Reason> {
        if token.len() > MOST_BYTES {
            return Err(Reason::TooLong(token.len()));
        }
        let form = |what: &str| Reason::Form(what.to_owned());
        let (message, signature) = token.rsplit_once('.').ok_or(form("it has one part, not 3"))?;
        let (header, claims) = message.split_once('.').ok_or(form("it has two parts, not 3"))?;
        if claims.contains('.') {
            return Err(form("it has more than 3 parts; an encrypted token is not accepted"));
        }
        let header = decoded("header", header)?;
        if header.contains_key("crit") {
            return Err(Reason::Critical);
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(value) => {
                let value = shown_value(Some(value));
                Err(Reason::Form(format!("{name} in the header is {value}; it must be a text")))
            }
        };
        Ok(Compact {
            algorithm: text("alg")?.ok_or(form("the header has no alg"))?,
            kid: text("kid")?,
            token_type: text("typ")?,
            claims: decoded("payload", claims)?,
            message,
            signature,
        })
    }
}

fn decoded(part: &str, text: &str) -> Result<Map<String, Value>, Reason> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Reason::Form(format!("the {part} is not base64url without padding")))?;
    json::object(&bytes).map_err(|error| Reason::Form(format!("the {part}: {error}")))
}
