//! Sign-in: what verifies credentials, and what signs people in.

use std::sync::Arc;

use super::{Core, StartError};
use crate::{
    access::{Browsers, Guard, People, open_id::OpenId, sign_in::SignIn, tokens::Tokens},
    config::AuthSettings,
    jobs::drain::Drain,
};

/// What verifies credentials, with all keys, and what signs people in; `None` where there is no
/// sign-in.
pub(super) async fn parts(
    core: &Core,
    drain: &Drain,
) -> Result<Option<(Arc<Guard>, People)>, StartError> {
    let settings = &core.settings.auth;
    if !settings.is_on() {
        return Ok(None);
    }
    warn_of_id_tokens(settings);
    let tokens = Arc::new(Tokens::open(settings)?);
    let (store, clock) = (core.store.clone(), core.clock.clone());
    let directory = core.directory.clone();
    let browsers = Browsers::of(settings);
    let metrics = core.metrics.clone();
    let guard =
        Guard::new(store.clone(), directory, clock.clone(), tokens.clone(), metrics, browsers);
    let guard = Arc::new(guard);
    let failed = |source| StartError::Store {
        url: crate::config::redacted(&core.settings.database.url),
        source,
    };
    guard.follow().await.map_err(failed)?;
    guard.log_who_may();
    let sign_in = SignIn::new(store, clock, guard.clone(), core.metrics.clone());
    if let Some(code) = sign_in.setup_code().await.map_err(failed)? {
        tracing::warn!(
            code,
            "nobody can sign in yet: make the first account by this code (POST /v1/auth/setup), or \
             by `facility-summary user add NAME --role admin`; or make a key with \
             `facility-summary key add --role admin --name NAME`. The code counts once, on every \
             server, until there is an account or a key"
        );
    }
    let open_id = Arc::new(OpenId::open(settings, tokens.clone())?);
    tokio::spawn(tokens.keep_current(drain.stop.clone()));
    Ok(Some((guard, People { sign_in: Arc::new(sign_in), open_id })))
}

/// Says in the log where a provider's ID tokens count as bearer tokens, as both are for one name.
fn warn_of_id_tokens(settings: &AuthSettings) {
    for (section, issuer) in settings.all_issuers() {
        if issuer.client_id.as_ref() == Some(&issuer.audience) {
            tracing::warn!(
                "{section}.audience is the client_id, so ID tokens of this provider count as \
                 bearer tokens: whoever is shown one may use it here. Give this service an \
                 audience of its own there, or set {section}.token_type = \"at+jwt\" where the \
                 provider marks access tokens so"
            );
        }
    }
}
