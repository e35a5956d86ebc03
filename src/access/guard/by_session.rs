//! Sessions: read when they are seen first, and forgotten when they are ended.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{Denial, Guard, SignedIn};
use crate::{
    access::{
        denials::TokenName,
        sessions::{self, KnownSession},
    },
    store::{self, people::SessionRow},
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
            let known = self.remembered.find(credential).filter(|who| !who.has_ended());
            let who = match known {
                Some(who) => self.with_facilities_of_now(&who),
                None => {
                    let row = self.session_row(id).await?.ok_or(Denial::Invalid)?;
                    self.by_session(&row, credential).ok_or(Denial::Invalid)?
                }
            };
            let who = Arc::new(who);
            self.remembered.put(credential, who.clone());
            if self.is_denied(&who) {
                self.remembered.forget(|other| other.is_session(id));
                return Err(Denial::Invalid);
            }
            // It may have been ended, and what is remembered gone through, before it was put there.
            if self.endings.load(Ordering::Acquire) == endings {
                self.note_use(&who);
                return Ok(who);
            }
            self.remembered.forget(|other| other.is_session(id));
        }
        Err(Denial::Unavailable)
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
    fn by_session(&self, row: &SessionRow, credential: &str) -> Option<SignedIn> {
        if !sessions::is(row, credential) || row.ended_ms.is_some() {
            return None;
        }
        let now_ms = self.clock.latest_ms();
        let left =
            u64::try_from(row.expires_ms.saturating_sub(now_ms)).ok().filter(|ms| *ms > 0)?;
        let used_ago = u64::try_from(now_ms.saturating_sub(row.used_ms)).unwrap_or(0);
        let session = KnownSession::new(
            row.id.clone(),
            self.browsers.lifetimes.idle,
            Duration::from_millis(used_ago),
        );
        if session.is_idle() {
            return None;
        }
        let principal = sessions::principal(row)?;
        // What a provider's tokens of somebody are denied, the session that came of one is, too.
        let token = row.issuer.clone().zip(row.subject.clone());
        let token = token.map(|(issuer, subject)| TokenName { issuer, subject, token_id: None });
        let who = self.signed_in(principal, Some(Duration::from_millis(left)), None);
        let who = SignedIn { session: Some(session), token, ..who };
        (!self.is_denied(&who)).then_some(who)
    }

    /// Somebody who is remembered, with the facilities that the owner's keys mean now. Asks no
    /// database: a session that goes on does so while the database is away.
    fn with_facilities_of_now(&self, who: &SignedIn) -> SignedIn {
        let renewed = self.signed_in(who.principal.clone(), None, None);
        let session = who.session.as_ref().map(KnownSession::copy);
        SignedIn { until: who.until, session, token: who.token.clone(), ..renewed }
    }

    /// Forgets the sessions that were ended since the access version that is known, and no others.
    pub(super) async fn forget_ended(&self, known: i64, version: i64) -> store::Result<()> {
        if known == i64::MIN {
            return Ok(()); // The first look: nothing is remembered yet.
        }
        let ended = match known < version {
            true => self.store.sessions_ended_after(known).await?,
            false => Vec::new(),
        };
        let ended: HashSet<String> = ended.into_iter().collect();
        self.endings.fetch_add(1, Ordering::AcqRel);
        match known < version {
            true if ended.is_empty() => {}
            true => {
                self.remembered.forget(|who| who.session_id().is_some_and(|id| ended.contains(id)))
            }
            // A backup was restored: which sessions have ended is read anew, one by one.
            false => self.remembered.forget(|who| who.session.is_some()),
        }
        Ok(())
    }
}
