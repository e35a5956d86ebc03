//! The breaker: it decides which commands may try Redis. While there is a connection, all may.
//! After a failure only a probe tries, once a second, and no command waits for it.
//!
//! So a hung Redis costs one time-out to the commands that were under way when it hung, and nothing
//! to later ones.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::CommandError;
use crate::back_off::PAUSE;

/// The shared connection, or the reason why there is none.
pub struct Breaker<C> {
    state: watch::Sender<BreakerState<C>>,
    up: IntGauge,
}

enum BreakerState<C> {
    Untried,
    Closed(Arc<SharedConnection<C>>),
    Open(&'static str),
}

/// A connection in use.
pub struct SharedConnection<C> {
    /// The connection itself.
    pub connection: C,
    lost: CancellationToken,
}

impl<C> SharedConnection<C> {
    /// Waits until a command finds that the connection has failed.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl<C> Breaker<C> {
    /// `up` becomes 1 while there is a connection, and 0 while there is none.
    pub fn new(up: IntGauge) -> Self {
        up.set(0);
        Breaker { state: watch::Sender::new(BreakerState::Untried), up }
    }

    /// The connection; `Error::Down` where there is none.
    pub fn held(&self) -> Result<Arc<SharedConnection<C>>, CommandError> {
        match &*self.state.borrow() {
            BreakerState::Closed(held) => Ok(held.clone()),
            BreakerState::Open(class) => Err(CommandError::Down(class)),
            BreakerState::Untried => Err(CommandError::Down("connection")),
        }
    }

    /// The class of the failure that opened the breaker; `None` while it is closed.
    pub fn last_error(&self) -> Option<&'static str> {
        match &*self.state.borrow() {
            BreakerState::Closed(_) => None,
            BreakerState::Open(class) => Some(class),
            BreakerState::Untried => Some("connection"),
        }
    }

    /// Gives this connection up. Of all commands that failed on it, the first gets its own error
    /// back, and the others get `Error::Down`, as do commands that did not try.
    pub fn trip(&self, held: &Arc<SharedConnection<C>>, error: CommandError) -> CommandError {
        let class = error.class();
        let first = self.state.send_if_modified(|state| {
            let current =
                matches!(state, BreakerState::Closed(current) if Arc::ptr_eq(current, held));
            if current {
                *state = BreakerState::Open(class);
            }
            current
        });
        if !first {
            return CommandError::Down(class);
        }
        self.up.set(0);
        tracing::warn!(%error, "Redis is left alone until it answers a probe");
        held.lost.cancel();
        error
    }

    /// Probes until there is a connection, and again after each one that was lost. Never ends; must
    /// run once only.
    pub async fn probe<F: Future<Output = Result<C, CommandError>>>(
        &self,
        connect: impl Fn() -> F,
    ) {
        loop {
            match connect().await {
                Ok(connection) => {
                    let held =
                        Arc::new(SharedConnection { connection, lost: CancellationToken::new() });
                    self.state.send_replace(BreakerState::Closed(held.clone()));
                    self.up.set(1);
                    tracing::info!("Redis answers");
                    held.lost().await;
                }
                Err(error) => {
                    let before = self.state.send_replace(BreakerState::Open(error.class()));
                    if let BreakerState::Untried = before {
                        tracing::warn!(
                            %error,
                            "Redis cannot be reached, and is probed every second"
                        );
                    } else {
                        tracing::debug!(%error, "Redis does not answer a probe");
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the first attempt to connect has ended.
    pub async fn tried(&self) {
        self.wait_for(|state| !matches!(state, BreakerState::Untried)).await;
    }

    /// Waits for a connection, without a time limit.
    pub async fn closed(&self) {
        self.wait_for(|state| matches!(state, BreakerState::Closed(_))).await;
    }

    async fn wait_for(&self, condition: impl Fn(&BreakerState<C>) -> bool) {
        // An error means that the sender is gone, which is `self`.
        let _ = self.state.subscribe().wait_for(condition).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_fails_late_on_a_connection_that_was_given_up_leaves_the_next_one_alone() {
        let up = IntGauge::new("up", "of the test").unwrap();
        let breaker = Arc::new(Breaker::new(up.clone()));
        let probing = tokio::spawn({
            let breaker = breaker.clone();
            async move { breaker.probe(|| async { Ok(()) }).await }
        });
        breaker.closed().await;
        let first = breaker.held().unwrap();
        let failure = || CommandError::TimedOut(Duration::from_millis(1));
        assert!(
            matches!(breaker.trip(&first, failure()), CommandError::TimedOut(_)),
            "who fails first is told how"
        );
        assert_eq!((breaker.last_error(), up.get()), (Some("timeout"), 0));
        assert!(matches!(breaker.trip(&first, failure()), CommandError::Down("timeout")));
        breaker.closed().await;
        assert!(matches!(breaker.trip(&first, failure()), CommandError::Down(_)));
        assert_eq!((breaker.last_error(), up.get()), (None, 1));
        let second = breaker.held().unwrap();
        assert!(!second.lost.is_cancelled());
        probing.abort();
    }
}
