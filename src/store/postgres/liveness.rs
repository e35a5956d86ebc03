//! Notices a server that vanishes. When its power is lost, or the network drops what is sent, the
//! connections stay open and never bring an answer. The driver waits for them without limit, and
//! does not let anyone set a time-out on its sockets. Such a time-out would not notice a proxy that
//! still accepts bytes, either. A time-out alone would have to be longer than the slowest
//! statement.
//!
//! So one more connection, the liveness, is asked twice a second whether the server is there. When
//! it stops answering, and a new connection gets an answer while the old one still gets none, then
//! the network or the server has changed. What was begun over older connections gets a moment to
//! end, and is then given up. A server that was only busy or frozen answers over the old
//! connection, too, and nothing is given up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::{sync::watch, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{connect::is_primary, home::Home};

/// How often the liveness is asked. While it is lost, a new connection is tried as often, because a
/// host name may lead to another server at any moment.
const PERIOD: Duration = Duration::from_millis(500);
/// How long the liveness may take to answer before it counts as lost. A server that is only busy,
/// or far away, takes less.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// The most time for one try to connect. One begins in every period, so there are never many.
const TRY: Duration = Duration::from_secs(3);
/// The most time that a statement over an older connection may take in all, after a new connection
/// got an answer.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Watches the server for all connections to it, until it is dropped.
pub(super) struct Liveness {
    regained: watch::Receiver<Instant>,
    _watch: AbortOnDropHandle<()>,
}

impl Liveness {
    /// Tries to connect once, and watches from then on. `timeout` limits each try to connect.
    pub async fn start(options: PgConnectOptions, home: Arc<Home>, timeout: Duration) -> Self {
        let server = Server { options, home, timeout };
        let first = server.connect().await.map(|(_, connection)| connection);
        let (regain, regained) = watch::channel(Instant::now());
        Liveness {
            regained,
            _watch: AbortOnDropHandle::new(tokio::spawn(server.watch(first, regain))),
        }
    }

    /// The deadline of a connection that is opened or borrowed now.
    pub fn deadline(&self) -> Deadline {
        Deadline { since: Instant::now(), regained: self.regained.clone() }
    }

    /// When the server was found again after a silence. Connections from before that instant are
    /// not used any more.
    pub fn regained(&self) -> watch::Receiver<Instant> {
        self.regained.clone()
    }
}

/// How long to wait for answers over one connection.
#[derive(Debug, Clone)]
pub(super) struct Deadline {
    since: Instant,
    regained: watch::Receiver<Instant>,
}

impl Deadline {
    /// Whether the server was lost and found again since the connection was opened or borrowed.
    pub fn is_outlived(&self) -> bool {
        *self.regained.borrow() > self.since
    }

    /// Waits for `answer` at most `limit`. `None` after that, or when no answer can come any more.
    pub async fn within<T>(&self, limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
        timeout(limit, self.expect(answer)).await.ok().flatten()
    }

    /// Waits for an answer that has a time limit of its own.
    pub async fn expect<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let begun = tokio::time::Instant::now();
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = self.is_given_up(begun) => None,
        }
    }

    async fn is_given_up(&self, begun: tokio::time::Instant) {
        let mut regained = self.regained.clone();
        if regained.wait_for(|at| *at > self.since).await.is_err() {
            // The watch has ended.
            return std::future::pending().await;
        }
        tokio::time::sleep_until(begun + A_MOMENT).await;
    }
}

/// The error for a connection that was given up, for callers of the driver, which know no other
/// type of error.
pub(super) fn given_up() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "the connection brought no answer and was given up",
    ))
}

/// How to connect to the server.
struct Server {
    options: PgConnectOptions,
    home: Arc<Home>,
    /// The most time to connect.
    timeout: Duration,
}

impl Server {
    async fn watch(self, mut liveness: Option<PgConnection>, regain: watch::Sender<Instant>) {
        loop {
            let (asked_at, connection) = match liveness {
                Some(mut liveness) => loop {
                    if let Some(successor) = self.successor(&mut liveness).await {
                        break successor;
                    }
                    tokio::time::sleep(PERIOD).await;
                },
                None => self.reconnect().await,
            };
            tracing::info!(
                "the database answers over a new connection; those from before are given up"
            );
            regain.send_replace(asked_at);
            liveness = Some(connection);
        }
    }

    /// Asks the liveness once. `None`: it answered, perhaps only when a new connection did as well,
    /// because the server was busy or frozen. `Some`: the connection that replaces it.
    async fn successor(&self, liveness: &mut PgConnection) -> Option<(Instant, PgConnection)> {
        let mut asking = std::pin::pin!(is_primary(liveness));
        let answer = match timeout(ANSWER_WAIT, &mut asking).await {
            Ok(answer) => answer,
            Err(_) => {
                tracing::debug!("the database brings no answer");
                tokio::select! {
                    answer = &mut asking => answer,
                    successor = self.reconnect() => match timeout(PERIOD, &mut asking).await {
                        Ok(Ok(true)) => Ok(true),
                        _ => return Some(successor),
                    },
                }
            }
        };
        if matches!(answer, Ok(true)) { None } else { Some(self.reconnect().await) }
    }

    /// Tries until one connection opens. A try that hangs, because it was begun too early, does not
    /// hold up the later ones.
    async fn reconnect(&self) -> (Instant, PgConnection) {
        let mut tries = FuturesUnordered::new();
        loop {
            tries.push(self.connect());
            let connected = async {
                match tries.by_ref().filter_map(std::future::ready).next().await {
                    Some(connected) => connected,
                    // No try is left to wait for before the next begins.
                    None => std::future::pending().await,
                }
            };
            if let Ok(connected) = timeout(PERIOD, connected).await {
                return connected;
            }
        }
    }

    /// Opens a connection to the primary; also returns when this began. `None` when it does not
    /// open in time.
    async fn connect(&self) -> Option<(Instant, PgConnection)> {
        let asked_at = Instant::now();
        let connect = async {
            let mut connection = self.options.connect().await?;
            Ok::<_, sqlx::Error>(self.home.settle(&mut connection).await?.then_some(connection))
        };
        let connection = timeout(self.timeout.min(TRY), connect).await.ok()?.ok()??;
        Some((asked_at, connection))
    }
}
