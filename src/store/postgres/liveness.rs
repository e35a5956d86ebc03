//! A server that vanishes without a word (its power is lost, the network drops what is sent) leaves
//! connections that stay open and never say anything again. The driver waits for them without end,
//! and lets nobody set a time-out on its sockets; one would not notice a proxy that goes on taking
//! bytes, either. A time-out alone would have to be longer than the slowest statement.
//!
//! So one more connection is asked twice a second whether the server is there. Where it falls
//! silent, and a new one gets an answer while the old one still gets none, the network or the
//! server was another before: what was begun over older connections gets a moment to end,
//! and is then given up. A server that was only busy or frozen answers the old one, too, and
//! nothing is given up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::{sync::watch, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{connect::is_primary, home::Home};

/// How often the liveness is asked, and once it is lost, how often a new one is tried: a name may
/// lead elsewhere at any moment.
const PERIOD: Duration = Duration::from_millis(500);
/// How long it may take to answer before that is taken for silence: a server that is only busy, or
/// far away, takes less.
const SILENT: Duration = Duration::from_secs(2);
/// How long one try may take at most: as one is begun in every period, there are never many.
const TRY: Duration = Duration::from_secs(3);
/// How long whatever was begun over an older connection may take in all, once a new one got an
/// answer.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Watches over the server for all connections to it, until it is dropped.
pub(super) struct Liveness {
    regained: watch::Receiver<Instant>,
    _watch: AbortOnDropHandle<()>,
}

impl Liveness {
    /// Connects, if that can be had at once, and watches from then on. `timeout` bounds each
    /// attempt to connect.
    pub async fn start(options: PgConnectOptions, home: Arc<Home>, timeout: Duration) -> Self {
        let server = Server { options, home, timeout };
        let first = server.connect().await.map(|(_, connection)| connection);
        let (regain, regained) = watch::channel(Instant::now());
        Liveness {
            regained,
            _watch: AbortOnDropHandle::new(tokio::spawn(server.watch(first, regain))),
        }
    }

    /// For a connection that is opened or borrowed from now on.
    pub fn deadline(&self) -> Deadline {
        Deadline { since: Instant::now(), regained: self.regained.clone() }
    }

    /// When a server was found last after one had fallen silent: whatever was opened before is not
    /// used any more.
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
    /// What `answer` is within `limit`; `None` after that, or when it is known earlier that none
    /// will come.
    pub async fn hear<T>(&self, limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
        timeout(limit, self.expect(answer)).await.ok().flatten()
    }

    /// The same for what has a limit of its own.
    pub async fn expect<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let begun = tokio::time::Instant::now();
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = self.is_in_vain(begun) => None,
        }
    }

    async fn is_in_vain(&self, begun: tokio::time::Instant) {
        let mut regained = self.regained.clone();
        if regained.wait_for(|at| *at > self.since).await.is_err() {
            // Nobody watches any more.
            return std::future::pending().await;
        }
        tokio::time::sleep_until(begun + A_MOMENT).await;
    }
}

/// The error of what was given up.
pub(super) fn silent() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "the connection fell silent and was given up",
    ))
}

/// The way to the server.
struct Server {
    options: PgConnectOptions,
    home: Arc<Home>,
    /// How long connecting may take.
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

    /// Asks the liveness once. `None`: it answered, if only when a new connection did, too, as
    /// where the server was busy or frozen.
    async fn successor(&self, liveness: &mut PgConnection) -> Option<(Instant, PgConnection)> {
        let mut asking = std::pin::pin!(is_primary(liveness));
        let answer = match timeout(SILENT, &mut asking).await {
            Ok(answer) => answer,
            Err(_) => {
                tracing::debug!("the database fell silent");
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

    /// Tries until one connects. A try that hangs, since it was begun too early, holds up none of
    /// those after it.
    async fn reconnect(&self) -> (Instant, PgConnection) {
        let mut tries = FuturesUnordered::new();
        loop {
            tries.push(self.connect());
            let connected = async {
                match tries.by_ref().filter_map(std::future::ready).next().await {
                    Some(connected) => connected,
                    // None is left to wait for before the next.
                    None => std::future::pending().await,
                }
            };
            if let Ok(connected) = timeout(PERIOD, connected).await {
                return connected;
            }
        }
    }

    /// A connection to the primary, and when it was asked for; `None` where none can be had in
    /// time.
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
