//! Sign-in at an identity provider: OpenID Connect's code flow with PKCE, done by the service, so
//! that a browser never holds a token. What belongs to a sign-in is in a cookie of the browser that
//! began it: one random secret, of which state, nonce and the verifier of PKCE are hashes. So no
//! server has to know of it, and another browser's answer of the provider fits nothing.

mod client;

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rand::Rng;
use reqwest::Url;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{
    sign_in::Named,
    tokens::{
        Refusal, Tokens,
        identity::{Identity, Logout, Parties},
        provider::FetchError,
    },
};
use crate::config::{SettingsError, auth::AuthSettings, auth_people::origin_of};
use client::{Addresses, Client};

/// Where the provider sends people back to.
pub const CALLBACK: &str = "/v1/auth/callback";
/// The most codes that are exchanged at a time.
const EXCHANGES: usize = 32;
/// The most bytes of a path to return to.
const RETURN_TO_BYTES: usize = 1_000;

/// Why somebody was not signed in by a provider.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such provider; the settings name these.
    #[error("no provider to sign in at has this name; there are: {0}")]
    NoProvider(String),
    /// The path to return to is none of ours.
    #[error("return_to must be a path of this service, such as /; it is {0:?}")]
    ReturnTo(String),
    /// The answer is not of a sign-in that this browser has begun.
    #[error("this answer does not belong to a sign-in that this browser has begun: {0}")]
    NotBegun(&'static str),
    /// The provider says no.
    #[error("the provider did not sign you in: {0}")]
    Denied(String),
    /// The token is wrong, or gives no role.
    #[error("{0}")]
    Token(Refusal),
    /// The provider cannot be asked now.
    #[error("{0}")]
    Away(String),
}

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        Fault::Away(error.to_string())
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unavailable(why) => Fault::Away(why.to_string()),
            refusal => Fault::Token(refusal),
        }
    }
}

/// The providers at which people sign in.
pub struct OpenId {
    clients: Vec<Client>,
    tokens: Arc<Tokens>,
    /// The origin of the service, as browsers know it.
    origin: String,
    exchanges: Semaphore,
}

/// A sign-in that was begun.
pub struct Begin {
    /// Where the browser goes.
    pub location: String,
    /// What the browser keeps meanwhile.
    pub cookie: String,
}

/// The provider's answer, as the browser brings it.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The code.
    pub code: Option<String>,
    /// What we gave the browser to bring back.
    pub state: Option<String>,
    /// The provider (RFC 9207).
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
}

impl OpenId {
    /// The providers of the settings that have a `client_id`.
    ///
    /// # Errors
    /// A file with a secret cannot be read.
    pub fn open(settings: &AuthSettings, tokens: Arc<Tokens>) -> Result<Self, SettingsError> {
        let mut clients = Vec::new();
        for (section, issuer) in settings.all_issuers() {
            clients.extend(Client::open(&section, issuer)?);
        }
        let origin = settings.public_url.as_deref().and_then(origin_of).unwrap_or_default();
        Ok(OpenId { clients, tokens, origin, exchanges: Semaphore::new(EXCHANGES) })
    }

    /// Begins a sign-in at this provider, or at the only one.
    ///
    /// # Errors
    /// There is none, or it cannot be asked; or the path to return to is none of ours.
    pub async fn begin(&self, issuer: Option<&str>, return_to: &str) -> Result<Begin, Fault> {
        if !self.is_own_path(return_to) {
            return Err(Fault::ReturnTo(return_to.chars().take(100).collect()));
        }
        let client = self.client(issuer)?;
        let addresses = client.addresses().await?;
        let mut secret = [0u8; 32];
        rand::rng().fill_bytes(&mut secret);
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(derived("verifier", &secret)));
        let mut location =
            Url::parse(&addresses.authorization).map_err(|error| Fault::Away(error.to_string()))?;
        location
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", &self.callback())
            .append_pair("scope", &client.scopes)
            .append_pair("state", &derived("state", &secret))
            .append_pair("nonce", &derived("nonce", &secret))
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let kept = [client.issuer.as_str(), return_to].map(|text| URL_SAFE_NO_PAD.encode(text));
        let cookie = format!("{secret}.{}.{}", kept[0], kept[1]);
        Ok(Begin { location: location.into(), cookie })
    }

    /// Finishes a sign-in: who it is, and the path to return to.
    ///
    /// # Errors
    /// The answer is not of this browser's sign-in, or the provider's token is not right.
    pub async fn finish(
        &self,
        cookie: Option<&str>,
        answer: &Answer,
        now_ms: i64,
    ) -> Result<(Named, String), Fault> {
        let (secret, issuer, return_to) = cookie
            .and_then(read_cookie)
            .ok_or(Fault::NotBegun("its cookie is missing, or older than ten minutes"))?;
        let state = answer.state.as_deref().unwrap_or_default();
        let right = derived("state", &secret);
        if verify_slices_are_equal(state.as_bytes(), right.as_bytes()).is_err() {
            return Err(Fault::NotBegun("its state is another"));
        }
        let client = self.client(Some(&issuer))?;
        let addresses = client.addresses().await?;
        match &answer.iss {
            Some(iss) if *iss != client.issuer => {
                return Err(Fault::NotBegun("it is of another provider"));
            }
            None if addresses.sends_iss => {
                return Err(Fault::NotBegun("it does not name its provider"));
            }
            _ => {}
        }
        if let Some(error) = &answer.error {
            return Err(Fault::Denied(error.chars().take(100).collect()));
        }
        let code = answer.code.as_deref().ok_or(Fault::NotBegun("it has no code"))?;
        let verifier = derived("verifier", &secret);
        let token = self.exchange(client, &addresses, code, &verifier).await?;
        let of = Parties { issuer: &client.issuer, client: &client.id };
        let nonce = derived("nonce", &secret);
        let Identity { principal, subject, sid, until_ms } =
            self.tokens.verify_identity(&token, of, &nonce, now_ms).await?;
        // The cookie came back from a browser: it may have been changed there.
        let return_to = if self.is_own_path(&return_to) { return_to } else { "/".to_owned() };
        Ok((Named { principal, issuer, subject, sid, until_ms }, return_to))
    }

    /// Exchanges a code for an ID token.
    async fn exchange(
        &self,
        client: &Client,
        addresses: &Addresses,
        code: &str,
        verifier: &str,
    ) -> Result<String, Fault> {
        let _turn = self
            .exchanges
            .try_acquire()
            .map_err(|_| Fault::Away("too many people sign in".to_owned()))?;
        let callback = self.callback();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &callback),
            ("code_verifier", verifier),
        ];
        let authorization = match &client.secret {
            Some(secret) if addresses.takes_basic => Some(basic(&client.id, secret)),
            Some(secret) => {
                form.extend([("client_id", client.id.as_str()), ("client_secret", secret)]);
                None
            }
            None => {
                form.push(("client_id", &client.id));
                None
            }
        };
        let sent = client.provider.post(&addresses.token, encoded(&form), authorization);
        let (status, body) = sent.await?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        match (status, text("id_token")) {
            (200, Some(token)) => Ok(token.to_owned()),
            (400..=499, _) => {
                let error = text("error").unwrap_or("no error is named");
                tracing::warn!(issuer = client.issuer, status, error, "a code was not exchanged");
                Err(Fault::Denied(error.chars().take(100).collect()))
            }
            _ => Err(Fault::Away(format!("{} answered {status}", addresses.token))),
        }
    }

    /// Verifies a provider's logout token. Returns the provider, too.
    ///
    /// # Errors
    /// It is not right, or that cannot be said now.
    pub async fn logout(&self, token: &str, now_ms: i64) -> Result<(String, Logout), Fault> {
        let mut last = Fault::NoProvider(self.names());
        for client in &self.clients {
            let of = Parties { issuer: &client.issuer, client: &client.id };
            match self.tokens.verify_logout(token, of, now_ms).await {
                Ok(logout) => return Ok((client.issuer.clone(), logout)),
                Err(refusal) => last = refusal.into(),
            }
            if matches!(last, Fault::Away(_)) {
                break;
            }
        }
        Err(last)
    }

    /// Where a browser ends its session at the provider, too; `None` where that is not offered.
    pub async fn end_session_url(&self, issuer: &str) -> Option<String> {
        let client = self.client(Some(issuer)).ok()?;
        let addresses = client.addresses().await.ok()?;
        let mut url = Url::parse(addresses.end_session.as_deref()?).ok()?;
        url.query_pairs_mut()
            .append_pair("client_id", &client.id)
            .append_pair("post_logout_redirect_uri", &format!("{}/", self.origin));
        Some(url.into())
    }

    fn client(&self, issuer: Option<&str>) -> Result<&Client, Fault> {
        let found = match issuer {
            Some(issuer) => self.clients.iter().find(|client| client.issuer == issuer),
            None => self.clients.first().filter(|_| self.clients.len() == 1),
        };
        found.ok_or_else(|| Fault::NoProvider(self.names()))
    }

    fn names(&self) -> String {
        match self.clients.is_empty() {
            true => "none".to_owned(),
            false => {
                let names: Vec<&str> = self.clients.iter().map(|one| one.issuer.as_str()).collect();
                names.join(", ")
            }
        }
    }

    fn callback(&self) -> String {
        format!("{}{CALLBACK}", self.origin)
    }

    /// Whether a text is a path of this service: no browser reads it as another host.
    fn is_own_path(&self, text: &str) -> bool {
        let is_path = text.starts_with('/') && !text.starts_with("//");
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let stays = || {
            let origin = Url::parse(&self.origin).ok()?;
            Some(origin.join(text).ok()?.origin() == origin.origin())
        };
        is_path && is_plain && text.len() <= RETURN_TO_BYTES && stays() == Some(true)
    }
}

/// The secret of a sign-in, its provider, and the path to return to.
fn read_cookie(cookie: &str) -> Option<(String, String, String)> {
    let mut parts = cookie.split('.');
    let secret = parts.next().filter(|secret| secret.len() == 43)?.to_owned();
    let mut text = || String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok();
    Some((secret, text()?, text()?))
}

/// A hash of the secret of a sign-in, for one purpose: whoever knows it does not know the others.
fn derived(purpose: &str, secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{purpose}\0{secret}")))
}

/// The name and secret of a client in a header (RFC 6749, 2.3.1).
fn basic(id: &str, secret: &str) -> String {
    let plain = |text: &str| encoded(&[("", text)])[1..].to_owned();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", plain(id), plain(secret))))
}

/// A form as a body.
fn encoded(form: &[(&str, &str)]) -> String {
    let url = Url::parse_with_params("http://form/", form).expect("it is a URL");
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_id(origin: &str) -> OpenId {
        let tokens = Arc::new(Tokens::open(&AuthSettings::default()).unwrap());
        let exchanges = Semaphore::new(1);
        OpenId { clients: Vec::new(), tokens, origin: origin.to_owned(), exchanges }
    }

    #[test]
    fn only_a_path_of_this_service_is_returned_to() {
        let open_id = open_id("https://summary.example");
        for path in ["/", "/wall?facility=1#today", "/a/../b", "/%2f%2fevil.example"] {
            assert!(open_id.is_own_path(path), "{path}");
        }
        for text in [
            "",
            "wall",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "https://evil.example/",
            "https:/evil.example",
            "javascript:alert(1)",
            " /",
            "/a b",
            "/ä",
            &format!("/{}", "x".repeat(RETURN_TO_BYTES)),
        ] {
            assert!(!open_id.is_own_path(text), "{text:?}");
        }
    }

    #[tokio::test]
    async fn codes_are_exchanged_in_a_bounded_number() {
        let provider = "http://127.0.0.1:1";
        let mut settings = AuthSettings::default();
        settings.main.issuer = Some(provider.into());
        settings.main.client_id = Some("summary".into());
        let tokens = Arc::new(Tokens::open(&settings).unwrap());
        let open_id = OpenId::open(&settings, tokens).unwrap();
        let _all = open_id.exchanges.acquire_many(EXCHANGES as u32).await.unwrap();
        let addresses = Addresses {
            authorization: provider.into(),
            token: provider.into(),
            end_session: None,
            sends_iss: false,
            takes_basic: true,
        };
        let refused = open_id.exchange(&open_id.clients[0], &addresses, "code", "verifier").await;
        let Err(Fault::Away(why)) = refused else { panic!("{refused:?}") };
        assert_eq!(why, "too many people sign in");
    }

    #[test]
    fn names_and_secrets_of_clients_are_encoded_before_they_are_joined() {
        let joined = STANDARD.encode("a%3Ab:c+d%2B%25");
        assert_eq!(basic("a:b", "c d+%"), format!("Basic {joined}"));
    }

    #[test]
    fn state_nonce_and_verifier_are_different_and_do_not_show_the_secret() {
        let all = ["state", "nonce", "verifier"].map(|purpose| derived(purpose, "secret"));
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
        assert_ne!(derived("state", "secret"), derived("state", "secreT"));
    }
}
