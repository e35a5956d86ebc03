//! Who a client is, for as long as it is connected: a credential may end, be revoked or be renewed,
//! and somebody may see fewer facilities than before.

use std::{rc::Rc, sync::Arc};

use serde_json::json;

use super::{
    connection::Connection,
    hub::Full,
    shard::{Shard, ticks},
    wire::{Close, Transport},
};
use crate::access::{Denial, Guard, SignedIn, sessions};

/// The messages that a client may send a minute.
pub const MESSAGES: f64 = 100.0;
/// The seconds within which a client must have signed in.
pub const SIGN_IN: u64 = 5;

impl Shard {
    /// Looks whether the credential of a client still counts.
    pub(super) fn recheck(self: &Rc<Self>, connection: &Rc<Connection>) {
        let Some(guard) = &self.hub.parts.guard else { return };
        let (who, credential) = {
            let state = connection.state();
            let Some(who) = state.who.clone() else { return };
            (who, state.credential.clone())
        };
        match guard.remembered_watching(&credential) {
            Some(now) if Arc::ptr_eq(&now, &who) => {}
            Some(now) => {
                self.signed_in(connection, now);
                connection.flush(self);
            }
            None => {
                let (shard, connection) = (self.clone(), connection.clone());
                let guard: Arc<Guard> = guard.clone();
                tokio::task::spawn_local(async move {
                    let verified = guard.verify_watching(&credential).await;
                    if connection.state().credential != credential {
                        return; // it was renewed meanwhile
                    }
                    match verified {
                        Ok(now) => shard.signed_in(&connection, now),
                        // While it cannot be found out, it counts for as long as it would have.
                        Err(Denial::Unavailable) if !guard.has_ended(&who) => {}
                        Err(_) => shard.expire(&connection),
                    }
                    connection.flush(&shard);
                });
            }
        }
    }

    /// A client has signed in, or is somebody who may see something else now.
    fn signed_in(&self, connection: &Rc<Connection>, who: Arc<SignedIn>) {
        if !who.principal.reads_figures() {
            return self.forbid(connection);
        }
        let visible = who.visible.clone();
        {
            let mut state = connection.state();
            state.sign_in_by = None;
            state.who = Some(who);
        }
        self.show(connection, visible);
    }

    /// Verifies the credential of a message. `admit` takes it from the budget of the client's
    /// address, where it is not remembered; what it gives is held meanwhile.
    ///
    /// Whoever is refused has to go: nothing else that it has sent is verified.
    pub async fn sign_in<T>(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        credential: &str,
        admit: impl FnOnce() -> Result<T, String>,
    ) {
        let Some(guard) = &self.hub.parts.guard else {
            return connection.control("authenticated", json!({ "sign_in": "off" }));
        };
        let end = |code: &str, detail: &str| {
            connection.error(code, detail);
            connection.end(Close::Refused, self.tick.get());
        };
        if sessions::id_of(credential).is_some() {
            guard.count_denied(Denial::Invalid.kind());
            return end("unauthorized", NO_SESSION);
        }
        let verified = match guard.remembered(credential) {
            Some(who) => Ok(who),
            None => match admit() {
                Ok(_under_way) => guard.verify(credential).await,
                Err(detail) => return end("too_many_requests", &detail),
            },
        };
        let who = match verified {
            Ok(who) => who,
            Err(Denial::Unavailable) => {
                let detail = "Whether this credential is valid cannot be found out now.";
                if connection.state().who.is_some() {
                    return connection.error("unavailable", detail);
                }
                let retry_ms = rand::random_range(2_000..5_000);
                let told = json!({ "code": "unavailable", "detail": detail });
                return self.part(connection, "error", retry_ms, Close::Full, told);
            }
            Err(denial) => {
                guard.count_denied(denial.kind());
                return end("unauthorized", "The credential is not valid here.");
            }
        };
        let before = connection.state().who.as_ref().map(|who| who.principal.id.clone());
        if before.is_some_and(|id| id != who.principal.id) {
            let detail = "The credential is of somebody else: use another connection for it.";
            return connection.error("other_principal", detail);
        }
        let counted = connection.state().seat.count_for_principal(&who.principal.id);
        if let Err(full) = counted {
            return self.refuse(connection, full);
        }
        connection.state().credential = credential.into();
        let name = who.principal.name.clone();
        self.signed_in(connection, who);
        connection.control("authenticated", json!({ "name": name }));
    }

    /// Sends a client away for which there is no place.
    pub fn refuse(&self, connection: &Rc<Connection>, full: Full) {
        if full == Full::Draining {
            return self.send_away(connection);
        }
        let retry_ms = rand::random_range(5_000..15_000);
        let (name, close) = match connection.transport {
            Transport::Websocket => ("error", Close::Full),
            Transport::Sse => ("full", Close::Full),
        };
        let told = json!({ "code": full.name(), "detail": "There are as many live clients as \
            there may be." });
        self.part(connection, name, retry_ms, close, told);
    }

    fn forbid(&self, connection: &Rc<Connection>) {
        let told = json!({ "code": "forbidden", "detail": "This role may not read figures." });
        let name = if connection.transport == Transport::Sse { "forbidden" } else { "error" };
        self.part(connection, name, FOR_LONG_MS, Close::Refused, told);
    }

    fn expire(&self, connection: &Rc<Connection>) {
        let told = json!({
            "code": "expired",
            "detail": "The credential has ended, or was revoked: sign in anew.",
        });
        let name = if connection.transport == Transport::Sse { "expired" } else { "error" };
        self.part(connection, name, FOR_LONG_MS, Close::Refused, told);
        connection.flush(self);
    }

    /// Takes a message from the budget of a client. Returns false when there is nothing left.
    pub fn takes_message(&self, connection: &Connection) -> bool {
        let tick = self.tick.get();
        let mut state = connection.state();
        let (left, since) = state.budget;
        let grown = (tick - since) as f64 * MESSAGES / ticks(60) as f64;
        let left = (left + grown).min(MESSAGES);
        state.budget = (left - 1.0, tick);
        left >= 1.0
    }

    /// A client has to sign in by a message.
    pub fn awaits_sign_in(&self, connection: &Connection) {
        connection.state().sign_in_by = Some(self.tick.get() + ticks(SIGN_IN));
    }
}

/// Nobody could say from which page it comes.
const NO_SESSION: &str = "A session counts as the cookie of the handshake only, which browsers \
    send by themselves: sign in by a key or a token.";
/// When a client may come back whose credential does not count: a browser must not knock all the
/// time.
const FOR_LONG_MS: u64 = 60_000;
