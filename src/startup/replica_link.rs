//! The parts that a replica has beside those of a single server: Redis, the change stream between
//! replicas, and the Redis tier that they share.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    cache::{memory::Memory, redis::RedisTier},
    changes::{Attachment, Changes, Follower, Publisher, ReplicaLink, Streams},
    clock::Clock,
    config::{Settings, redis_url::RedisUrl},
    directory::Directory,
    metrics::Metrics,
    redis::Link,
    service::refresh::lease::RefreshLeases,
    store::Store,
};

/// The parts that connect this replica with the others.
pub struct ReplicaParts {
    /// The connection to Redis.
    pub link: Arc<Link>,
    /// The refresh leases, and the tier in Redis.
    pub leases: Arc<RefreshLeases>,
    follower: Arc<Follower>,
    publishing: JoinHandle<()>,
    stop: CancellationToken,
}

/// The tasks of these parts.
pub struct Running {
    stop: CancellationToken,
    attachment: JoinHandle<()>,
    publishing: JoinHandle<()>,
}

/// How long a start waits until the stream was read. After that the replica serves, and reads from
/// the table until it has caught up.
const CATCH_UP: Duration = Duration::from_secs(2);

impl ReplicaParts {
    /// Connects to Redis, which need not answer yet. Returns the change stream and the parts.
    pub async fn join(
        target: &RedisUrl,
        settings: &Settings,
        store: &Arc<dyn Store>,
        memory: &Arc<Memory>,
        directory: &Arc<Directory>,
        clock: &Arc<Clock>,
        metrics: &Arc<Metrics>,
    ) -> (Changes, ReplicaParts) {
        store.join_stream();
        let stop = CancellationToken::new();
        let link =
            Link::open(target, Duration::from_millis(settings.redis.timeout_ms), metrics).await;
        let epoch = directory.served().clone();
        let attachment = Arc::new(Attachment::default());
        let streams = Streams { link: link.clone(), length: settings.redis.stream_length };
        // Entries stay in Redis for as long as they may be served after a failure of the database.
        let tier = Arc::new(RedisTier::new(
            link.clone(),
            Duration::from_secs(settings.freshness.stale_if_error_seconds.max(1)),
        ));
        let (publisher, publishing) =
            Publisher::start(streams.clone(), tier.clone(), metrics.clone(), stop.clone());
        let shared = Arc::new(RefreshLeases {
            tier,
            epoch: epoch.clone(),
            memory: memory.clone(),
            clock: clock.clone(),
            duration: settings.freshness.refresh_timeout() / 2,
        });
        let follower = Arc::new(Follower {
            streams: streams.clone(),
            replay: settings.redis.replay,
            memory: memory.clone(),
            directory: directory.clone(),
            store: store.clone(),
            epoch: epoch.clone(),
            attachment: attachment.clone(),
            metrics: metrics.clone(),
        });
        let changes = Changes::new(
            memory.clone(),
            epoch,
            Some(ReplicaLink { streams, publisher, attachment }),
            true,
        );
        (changes, ReplicaParts { link, leases: shared, follower, publishing, stop })
    }

    /// Starts to follow the stream, and waits for at most `CATCH_UP` until every message in it has
    /// been read. Does not wait while Redis is out of reach.
    pub async fn follow(self) -> Running {
        let attachment = self.follower.attachment.clone();
        let task = tokio::spawn(self.follower.run(self.stop.clone()));
        let caught_up = async {
            while !attachment.is_caught_up() && self.link.last_error().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(CATCH_UP, caught_up).await.is_err() {
            tracing::warn!(
                "the change stream is still being read; until then answers come from the table"
            );
        }
        Running { stop: self.stop, attachment: task, publishing: self.publishing }
    }
}

impl Running {
    /// Ends the follower, and waits until everything committed here was published.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in [self.attachment, self.publishing] {
            if task.await.is_err() {
                tracing::error!("a task of the change stream ended in a panic");
            }
        }
    }
}
