//! The two cookies: the session of a browser, and what belongs to a sign-in at a provider while it
//! is under way. The prefix `__Host-` has browsers take them from this host only, over TLS, for all
//! paths. (Chromium and Firefox take them from http://localhost as well.)

use actix_web::http::header::{self, HeaderMap};

/// The session.
pub const SESSION: &str = "__Host-facility-summary-session";
/// A sign-in that is under way.
pub const SIGN_IN: &str = "__Host-facility-summary-sign-in";
/// How long a sign-in may take, in seconds.
const SIGN_IN_SECONDS: u64 = 600;

/// What a request sends of a cookie.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    /// Nothing.
    Nothing,
    /// This value.
    One(&'a str),
    /// Several, of which nobody says which counts.
    Several,
}

/// The value of a cookie.
pub fn sent<'a>(headers: &'a HeaderMap, name: &str) -> Sent<'a> {
    let pairs = headers
        .get_all(header::COOKIE)
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found.trim() == name).then(|| value.trim())
    });
    match (values.next(), values.next()) {
        (None, _) => Sent::Nothing,
        (Some(value), None) => Sent::One(value),
        (Some(_), Some(_)) => Sent::Several,
    }
}

/// Sets the session for so many seconds. No other site's page sends it, not even by a link.
pub fn set_session(text: &str, seconds: u64) -> String {
    format!("{SESSION}={text}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Strict")
}

/// Takes the session away.
pub fn end_session() -> String {
    set_session("", 0)
}

/// Sets what belongs to a sign-in. `Lax`: the provider's page sends the browser back with it.
pub fn set_sign_in(text: &str) -> String {
    sign_in(text, SIGN_IN_SECONDS)
}

/// Takes away what belongs to a sign-in.
pub fn end_sign_in() -> String {
    sign_in("", 0)
}

fn sign_in(text: &str, seconds: u64) -> String {
    format!("{SIGN_IN}={text}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Lax")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{COOKIE, HeaderValue};

    #[test]
    fn a_cookie_is_found_among_others_and_counts_only_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(sent(&headers, SESSION), Sent::Nothing);
        let text = format!("a=b; {SESSION}=ss_x;{SESSION}2=no; x{SESSION}=no");
        headers.append(COOKIE, HeaderValue::from_str(&text).unwrap());
        assert_eq!(sent(&headers, SESSION), Sent::One("ss_x"));
        let again = format!("{SESSION}=ss_y");
        headers.append(COOKIE, HeaderValue::from_str(&again).unwrap());
        assert_eq!(sent(&headers, SESSION), Sent::Several);
    }
}
