//! The connection over which a store has just read. A read that follows soon uses it again, and
//! goes past the pool. The pool would test the connection when it comes back, and then lend the one
//! that has rested longest, whose memory the processor has forgotten.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a connection is kept for the next read. The pools take a connection that has rested for
/// longer as one to be tested.
pub const REST: Duration = Duration::from_millis(100);
/// How long reads may use a connection without giving it back. The pool then tests it, and looks
/// how old it is.
const LONGEST: Duration = Duration::from_secs(1);

/// At most one connection `C` of a pool. Dropping `C` gives it back to its pool.
pub struct KeptConnection<C> {
    slot: Arc<Mutex<Slot<C>>>,
}

/// A connection that is in use, and since when it is out of its pool.
pub struct Lent<C> {
    /// The connection.
    pub connection: C,
    since: Instant,
}

struct Slot<C> {
    /// The connection, and when it was used last.
    kept: Option<(Lent<C>, Instant)>,
    /// A task gives the connection back when nobody uses it.
    is_watched: bool,
}

impl<C> Lent<C> {
    /// A connection that was just taken from its pool.
    pub fn new(connection: C) -> Self {
        Lent { connection, since: Instant::now() }
    }
}

impl<C> Default for KeptConnection<C> {
    fn default() -> Self {
        KeptConnection { slot: Arc::new(Mutex::new(Slot { kept: None, is_watched: false })) }
    }
}

impl<C: Send + 'static> KeptConnection<C> {
    /// Takes the connection, if there is one and it may be used without a test.
    pub fn take(&self) -> Option<Lent<C>> {
        let (lent, used) = locked(&self.slot).kept.take()?;
        (used.elapsed() < REST && lent.since.elapsed() < LONGEST).then_some(lent)
    }

    /// Keeps the connection for the next read, unless another one is kept by now. Its last
    /// statement has ended well. Must be called within a runtime.
    pub fn keep(&self, lent: Lent<C>) {
        let mut slot = locked(&self.slot);
        if slot.kept.is_some() {
            drop(slot);
            return drop(lent);
        }
        slot.kept = Some((lent, Instant::now()));
        if !std::mem::replace(&mut slot.is_watched, true) {
            tokio::spawn(give_back(self.slot.clone()));
        }
    }

    /// Gives the connection back to its pool.
    pub fn give_back(&self) {
        let kept = locked(&self.slot).kept.take();
        drop(kept);
    }
}

/// Gives the connection back once no read has used it for [`REST`].
async fn give_back<C>(slot: Arc<Mutex<Slot<C>>>) {
    loop {
        tokio::time::sleep(REST).await;
        let mut slot = locked(&slot);
        let is_used = slot.kept.as_ref().is_some_and(|(_, used)| used.elapsed() < REST);
        if !is_used {
            slot.is_watched = false;
            let kept = slot.kept.take();
            drop(slot);
            return drop(kept);
        }
    }
}

fn locked<C>(slot: &Mutex<Slot<C>>) -> MutexGuard<'_, Slot<C>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_used_again_and_goes_back_when_nobody_uses_it() {
        let (first, second) = (Arc::new(1), Arc::new(2));
        let kept = KeptConnection::default();
        assert!(kept.take().is_none());
        kept.keep(Lent::new(first.clone()));
        kept.keep(Lent::new(second.clone()));
        assert_eq!(Arc::strong_count(&second), 1, "one is kept; the other goes back at once");
        if let Some(lent) = kept.take() {
            assert_eq!(*lent.connection, 1);
            assert!(kept.take().is_none(), "it is in use");
            kept.keep(lent);
        }
        let begun = Instant::now();
        while Arc::strong_count(&first) > 1 {
            assert!(begun.elapsed() < Duration::from_secs(30), "it never goes back");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kept.keep(Lent::new(second.clone()));
        kept.give_back();
        assert_eq!(Arc::strong_count(&second), 1, "it goes back at once");
    }

    #[tokio::test]
    async fn a_connection_that_was_used_for_long_is_not_used_again() {
        let kept = KeptConnection::default();
        let mut lent = Lent::new(());
        lent.since -= LONGEST;
        kept.keep(lent);
        assert!(kept.take().is_none());
    }
}
