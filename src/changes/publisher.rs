//! The publisher: a task that appends committed rows to the change stream of Redis and puts them
//! into the Redis tier. The writer that committed them does not wait for it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Streams;
use crate::{
    cache::redis::RedisTier,
    metrics::Metrics,
    protocol::{Epoch, Message, StoredEntry},
};

/// What one transaction, or one read, publishes for the other replicas.
pub struct Publication {
    /// The epoch of the rows.
    pub epoch: Arc<Epoch>,
    /// What is published.
    pub kind: PublicationKind,
}

/// The kinds of publications.
pub enum PublicationKind {
    /// Rows that have changed: for the stream and for the Redis tier.
    Changed(Vec<StoredEntry>),
    /// Rows that a refresh found unchanged: for the Redis tier only, as the other replicas need no
    /// message about them.
    Unchanged(Vec<StoredEntry>),
    /// Facilities that were registered or changed: for the stream only.
    Facilities(Vec<Uuid>),
}

/// The queue to the publishing task.
pub struct Publisher {
    queue: mpsc::Sender<Publication>,
    metrics: Arc<Metrics>,
}

/// The most publications that wait in the queue. One more is dropped here; the drain finds it in
/// the outbox.
const QUEUE: usize = 4_096;
/// The most publications that are taken from the queue at once.
const TOGETHER: usize = 64;
/// Bytes of messages in one round trip, or in one message. More might not arrive within the
/// time-out of a command, and the publisher would conclude that Redis hangs.
const AT_ONCE: usize = 256 * 1024;

impl Publisher {
    /// Starts the task. After `stop` it publishes what is in its queue and ends.
    pub fn start(
        streams: Streams,
        tier: Arc<RedisTier>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (queue, mut publications) = mpsc::channel(QUEUE);
        let task = tokio::spawn({
            let metrics = metrics.clone();
            async move {
                // Publications that a panic lost are in the outbox; the drain publishes them.
                while AssertUnwindSafe(work_off(
                    &streams,
                    &tier,
                    &metrics,
                    &mut publications,
                    &stop,
                ))
                .catch_unwind()
                .await
                .is_err()
                {
                    metrics.panics.inc();
                    tracing::error!(
                        "the publisher of changes panicked; it goes on with what waits"
                    );
                }
            }
        });
        (Publisher { queue, metrics }, task)
    }

    /// Queues a publication. Where the queue is full it is left to the drain. Never waits.
    pub fn send(&self, publication: Publication) {
        if self.queue.try_send(publication).is_err() {
            self.metrics.publications.with_label_values(&["left"]).inc();
        }
    }
}

/// Publishes what comes. After `stop` it publishes what is in the queue by then, and ends.
async fn work_off(
    streams: &Streams,
    tier: &RedisTier,
    metrics: &Metrics,
    publications: &mut mpsc::Receiver<Publication>,
    stop: &CancellationToken,
) {
    let mut together = Vec::with_capacity(TOGETHER);
    loop {
        // `stop` interrupts only the waiting: a batch that has begun is published to its end.
        if stop.run_until_cancelled(publications.recv_many(&mut together, TOGETHER)).await.is_none()
        {
            publications.close();
            publications.recv_many(&mut together, TOGETHER).await;
        }
        if together.is_empty() {
            return;
        }
        let mut rest = std::mem::take(&mut together).into_iter().peekable();
        while let Some(first) = rest.next() {
            // Publications of one epoch go together; a second epoch is rare.
            let mut of_one = vec![first];
            while let Some(next) = rest.next_if(|next| next.epoch == of_one[0].epoch) {
                of_one.push(next);
            }
            publish(streams, tier, metrics, of_one).await;
        }
    }
}

async fn publish(
    streams: &Streams,
    tier: &RedisTier,
    metrics: &Metrics,
    publications: Vec<Publication>,
) {
    let epoch = publications[0].epoch.clone();
    let (mut entries, mut messages) = (Vec::new(), Vec::new());
    for publication in publications {
        match publication.kind {
            PublicationKind::Changed(changed) => {
                entries.extend(changed.iter().cloned());
                messages.extend(
                    changed.chunks(Message::ROWS).map(|rows| Message::Summaries(rows.to_vec())),
                );
            }
            PublicationKind::Unchanged(unchanged) => entries.extend(unchanged),
            PublicationKind::Facilities(ids) => messages.push(Message::Facilities(ids)),
        }
    }
    let append = async {
        let stream = streams.of(&epoch);
        for payloads in loads(messages.iter().map(Message::encode)) {
            // What failed is in the outbox, and the drain publishes it. The connection counts and
            // logs the reasons.
            let outcome = if matches!(stream.append(&payloads).await, Ok(Some(_))) {
                "published"
            } else {
                "left"
            };
            metrics.publications.with_label_values(&[outcome]).inc_by(payloads.len() as u64);
        }
    };
    let put = async {
        if !entries.is_empty()
            && let Err(error) = tier.put(epoch.name(), &entries).await
        {
            tracing::debug!(%error, "summaries were not put into Redis");
        }
    };
    tokio::join!(append, put);
}

/// Groups of messages for one round trip each, in order.
fn loads(payloads: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<Vec<u8>>> {
    let (mut loads, mut bytes) = (Vec::<Vec<Vec<u8>>>::new(), 0);
    for payload in payloads {
        bytes += payload.len();
        match loads.last_mut() {
            Some(load) if bytes <= AT_ONCE => load.push(payload),
            _ => {
                bytes = payload.len();
                loads.push(vec![payload]);
            }
        }
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_trip_carries_a_bounded_number_of_bytes_and_none_is_lost() {
        let payloads: Vec<Vec<u8>> = (0..200)
            .map(|i| vec![i as u8; 1 + i * 1_000])
            .chain([vec![7; 2 * AT_ONCE], vec![8]])
            .collect();
        let loads = loads(payloads.clone().into_iter());
        assert!(
            loads
                .iter()
                .all(|load| load.len() == 1 || load.iter().map(Vec::len).sum::<usize>() <= AT_ONCE)
        );
        assert!(loads.len() < payloads.len());
        assert_eq!(loads.concat(), payloads);
        assert!(super::loads(std::iter::empty()).is_empty());
    }
}
