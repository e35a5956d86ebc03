//! What is known of a provider at which people sign in.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::Fault;
use crate::{
    access::tokens::provider::{FetchError, Provider},
    config::{SettingsError, auth::IssuerSettings},
};

/// How long an answer of a provider may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the provider's addresses count.
const FOUND_FOR: Duration = Duration::from_secs(3_600);
/// The least time between two tries to find them.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// A provider at which people sign in, and our name there.
pub(super) struct Client {
    pub issuer: String,
    pub id: String,
    pub secret: Option<String>,
    pub scopes: String,
    pub provider: Provider,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    at: Option<Instant>,
    addresses: Option<Arc<Addresses>>,
}

/// What a provider's discovery document says.
pub(super) struct Addresses {
    pub authorization: String,
    pub token: String,
    pub end_session: Option<String>,
    pub sends_iss: bool,
    pub takes_basic: bool,
}

impl Client {
    /// The client of an issuer; `None` where people do not sign in there.
    pub fn open(section: &str, issuer: &IssuerSettings) -> Result<Option<Self>, SettingsError> {
        let (Some(id), Some(name)) = (&issuer.client_id, &issuer.issuer) else { return Ok(None) };
        let secret = match (&issuer.client_secret, &issuer.client_secret_file) {
            (Some(secret), _) => Some(secret.expose().to_owned()),
            (None, Some(path)) => {
                let key = format!("{section}.client_secret_file");
                let text = std::fs::read_to_string(path).map_err(|error| {
                    let right = format!("cannot be read: {error}");
                    SettingsError::new(&key, &path.display(), &right)
                })?;
                Some(text.trim().to_owned())
            }
            (None, None) => None,
        };
        let provider = Provider::new(name, None, TIMEOUT).map_err(|error| {
            let right = format!("it cannot be asked from here: {error}");
            SettingsError::new(&format!("{section}.issuer"), name, &right)
        })?;
        Ok(Some(Client {
            issuer: name.clone(),
            id: id.clone(),
            secret,
            scopes: issuer.scopes.clone(),
            provider,
            found: Mutex::default(),
        }))
    }

    /// The provider's addresses: asked for each hour, and not by each sign-in.
    pub async fn addresses(&self) -> Result<Arc<Addresses>, Fault> {
        let mut found = self.found.lock().await;
        let age = found.at.map(|at| at.elapsed());
        if let Some(addresses) = &found.addresses
            && age.is_some_and(|age| age < FOUND_FOR)
        {
            return Ok(addresses.clone());
        }
        if found.addresses.is_none() && age.is_some_and(|age| age < BETWEEN_TRIES) {
            return Err(Fault::Away("the provider was asked just now, and did not answer".into()));
        }
        found.at = Some(Instant::now());
        match self.ask().await {
            Ok(addresses) => {
                let addresses = Arc::new(addresses);
                found.addresses = Some(addresses.clone());
                Ok(addresses)
            }
            // The last ones go on to count.
            Err(error) => found.addresses.clone().ok_or_else(|| error.into()),
        }
    }

    async fn ask(&self) -> Result<Addresses, FetchError> {
        let document = self.provider.document().await?;
        const METHODS: &str = "token_endpoint_auth_methods_supported";
        let basic = document.lists(METHODS, "client_secret_basic");
        let post = document.lists(METHODS, "client_secret_post");
        Ok(Addresses {
            authorization: document.url("authorization_endpoint")?,
            token: document.url("token_endpoint")?,
            end_session: document.url("end_session_endpoint").ok(),
            sends_iss: document.says("authorization_response_iss_parameter_supported"),
            takes_basic: basic != Some(false) || post != Some(true),
        })
    }
}
