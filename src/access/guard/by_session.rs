//! Sessions: read when they are seen first, and forgotten when they are ended.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use super::{Denial, Guard, SignedIn};
use crate::{
    access::{
        denials::TokenName,
        sessions::{self, KnownSession},
    },
    store::{self, access::AccessVersion, people::SessionRow},
};

impl Guard {
    /// Verifies a session that is not remembered, by its row.
    pub(super) async fn verify_session(
        self: &Arc<Self>,
        id: &str,
        credential: &str,
    ) -> Result<Arc<SignedIn>, Denial> {
        for _ in 0..3 {
            let endings = self.endings.load(Ordering::Acquire);
            let now_ms = self.clock.never_back_ms();
            let known = self.remembered.find(credential).filter(|who| !who.has_ended(now_ms));
            let who = match known {
                Some(who) => self.with_facilities_of_now(&who),
                None => {
                    let row = self.session_row(id).await?.ok_or(Denial::Invalid)?;
                    self.by_session(&row, credential).ok_or(Denial::Invalid)?
                }
            };
            let who = Arc::new(who);
            if self.remember_session(credential, &who, endings)? {
                return Ok(who);
            }
        }
        Err(Denial::Unavailable)
    }

    /// Remembers a session that was verified when sessions had been ended `endings` times. Returns
    /// false where some were ended since then, perhaps this one, and what is remembered may have
    /// been gone through before this one was put there: so it has to be read again.
    pub(super) fn remember_session(
        &self,
        credential: &str,
        who: &Arc<SignedIn>,
        endings: u64,
    ) -> Result<bool, Denial> {
        self.remembered.put(credential, who.clone());
        let is_denied = self.is_denied(who);
        if !is_denied && self.endings.load(Ordering::Acquire) == endings {
            return Ok(true);
        }
        self.remembered.forget(|other| other.session_id() == who.session_id());
        if is_denied { Err(Denial::Invalid) } else { Ok(false) }
    }

    /// Reads the row of a session, in a task of its own. Few are read at a time, so that a flood of
    /// forged ones leaves the database to the others.
    async fn session_row(self: &Arc<Self>, id: &str) -> Result<Option<SessionRow>, Denial> {
        let (guard, id) = (self.clone(), id.to_owned());
        let reading = self.runtime.spawn(async move {
            let _waits = guard.waiting.try_acquire().map_err(|_| Denial::Unavailable)?;
            let _turn = guard.looked_up.acquire().await.map_err(|_| Denial::Unavailable)?;
            guard.store.session(&id).await.map_err(|error| {
                tracing::debug!(%error, "a session could not be looked up");
                Denial::Unavailable
            })
        });
        reading.await.unwrap_or(Err(Denial::Unavailable))
    }

    /// Who has this session; `None` when it is another one, or is over.
    pub(super) fn by_session(&self, row: &SessionRow, credential: &str) -> Option<SignedIn> {
        if !sessions::is(row, credential) || row.ended_ms.is_some() {
            return None;
        }
        let session = KnownSession::new(row.id.clone(), self.browsers.lifetimes.idle, row.used_ms);
        let now_ms = self.clock.never_back_ms();
        if now_ms >= row.expires_ms || session.is_idle(now_ms) {
            return None;
        }
        let principal = sessions::principal(row)?;
        // What a provider's tokens of somebody are denied, the session that came of one is, too.
        let token = row.issuer.clone().zip(row.subject.clone());
        let token = token.map(|(issuer, subject)| TokenName { issuer, subject, token_id: None });
        let who = self.signed_in(principal, Some(row.expires_ms), None);
        let who = SignedIn { session: Some(session), token, ..who };
        (!self.is_denied(&who)).then_some(who)
    }

    /// Somebody who is remembered, with the facilities that the owner's keys mean now. Asks no
    /// database: a session that goes on does so while the database is away.
    fn with_facilities_of_now(&self, who: &SignedIn) -> SignedIn {
        let renewed = self.signed_in(who.principal.clone(), None, None);
        let session = who.session.as_ref().map(KnownSession::copy);
        SignedIn { until_ms: who.until_ms, session, token: who.token.clone(), ..renewed }
    }

    /// The sessions that were ended since the access version that is known. `None` where that
    /// cannot be said, as where a backup was restored: which ones have ended is read anew, one by
    /// one.
    pub(super) async fn read_ended(
        &self,
        known: Option<&AccessVersion>,
        version: &AccessVersion,
    ) -> store::Result<Option<Ended>> {
        let Some(known) = known else {
            return Ok(Some(Ended::default())); // The first look: nothing is remembered yet.
        };
        if !version.follows(known) {
            return Ok(None);
        }
        let rows = self.store.sessions_ended_after(known.number).await?;
        let versions: HashSet<i64> =
            rows.iter().map(|(_, at)| *at).filter(|at| *at <= version.number).collect();
        let is_all = i64::try_from(versions.len())
            .is_ok_and(|number| number == version.number - known.number);
        Ok(Some(Ended { ids: rows.into_iter().map(|(id, _)| id).collect(), is_all }))
    }

    /// Forgets the sessions that have ended, and no others.
    pub(super) fn forget_ended(&self, ended: Option<&Ended>) {
        self.endings.fetch_add(1, Ordering::AcqRel);
        match ended {
            Some(ended) if ended.ids.is_empty() => {}
            Some(Ended { ids, .. }) => {
                self.remembered.forget(|who| who.session_id().is_some_and(|id| ids.contains(id)));
            }
            None => self.remembered.forget(|who| who.session.is_some()),
        }
    }
}

/// Sessions that were ended between two access versions.
#[derive(Default)]
pub(super) struct Ended {
    ids: HashSet<String>,
    /// Nothing else was changed between them: each of the versions ended a session.
    pub is_all: bool,
}
