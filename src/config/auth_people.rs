//! `[auth]`: what the sign-in of people by providers needs.

use super::{
    SettingsError,
    auth::{AuthSettings, is_plain, may_fetch},
};

impl AuthSettings {
    /// Checks what sign-in by a provider needs.
    pub(super) fn check_sign_in(&self) -> Result<(), SettingsError> {
        if let Some(url) = &self.public_url
            && origin_of(url).is_none()
        {
            let right = "must be https://host or https://host:port, without a path; or http:// \
                         with a loopback address";
            return Err(SettingsError::new("auth.public_url", url, right));
        }
        for (section, issuer) in self.all_issuers() {
            let wrong = |key: &str, right: &str| {
                Err(SettingsError::new(&format!("{section}.{key}"), &"set", right))
            };
            let Some(client) = &issuer.client_id else {
                if issuer.client_secret.is_some() || issuer.client_secret_file.is_some() {
                    return wrong("client_secret", "client_id must be set as well");
                }
                continue;
            };
            if !is_plain(client) {
                return wrong("client_id", "must not be empty or contain spaces");
            }
            if issuer.client_secret.is_some() && issuer.client_secret_file.is_some() {
                return wrong("client_secret_file", "client_secret is set as well");
            }
            if self.public_url.is_none() {
                let right = "auth.public_url must be set as well: the provider sends people \
                             back there";
                return wrong("client_id", right);
            }
            if !may_fetch(issuer.issuer.as_deref().unwrap_or_default()) {
                let right = "the issuer must be a URL at which the provider is discovered";
                return wrong("client_id", right);
            }
            if !issuer.scopes.split(' ').any(|scope| scope == "openid") {
                return wrong("scopes", "must contain openid");
            }
        }
        Ok(())
    }
}

/// The origin that a public URL names, as browsers write it; `None` when it is none.
pub fn origin_of(url: &str) -> Option<String> {
    let parsed = reqwest::Url::parse(url).ok().filter(|_| may_fetch(url))?;
    let is_bare = parsed.path() == "/" && parsed.query().is_none();
    let has_user = !parsed.username().is_empty() || parsed.password().is_some();
    (is_bare && parsed.fragment().is_none() && !has_user)
        .then(|| parsed.origin().ascii_serialization())
}
