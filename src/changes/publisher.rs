//! Appends committed rows to the stream between replicas, and puts them into the Redis tier, behind
//! the back of whoever committed them.

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

/// What one transaction, or one read, has to say to the other replicas.
pub struct Publication {
    pub epoch: Arc<Epoch>,
    pub kind: Kind,
}

pub enum Kind {
    /// For the stream and for the tier.
    Changed(Vec<StoredEntry>),
    /// For the tier: nobody else has to hear of it.
    Unchanged(Vec<StoredEntry>),
    /// Registered or changed, for the stream.
    Facilities(Vec<Uuid>),
}

/// The way to the publishing task.
pub struct Publisher {
    queue: mpsc::Sender<Publication>,
    metrics: Arc<Metrics>,
}

/// Publications that may wait. One more is left to the drain, which finds it in the outbox.
const QUEUE: usize = 4_096;
/// Publications that are taken from the queue together.
const TOGETHER: usize = 64;
/// Bytes of messages that go in one round trip, or one message: more might not be there within the
/// time-out of a command, and whoever appended it would take Redis for hung.
const AT_ONCE: usize = 256 * 1024;

impl Publisher {
    /// Starts the task. Once it is told to stop it works off its queue and ends.
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
                // What a panic took with it is in the outbox, for the drain.
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

    pub fn send(&self, publication: Publication) {
        if self.queue.try_send(publication).is_err() {
            self.metrics.publications.with_label_values(&["left"]).inc();
        }
    }
}

/// Publishes what comes, and after `stop` what has come by then.
async fn work_off(
    streams: &Streams,
    tier: &RedisTier,
    metrics: &Metrics,
    publications: &mut mpsc::Receiver<Publication>,
    stop: &CancellationToken,
) {
    let mut together = Vec::with_capacity(TOGETHER);
    loop {
        // Only while it waits: a batch that is under way is not left half-way.
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
            // In one go what is of one history; there is hardly ever another.
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
            Kind::Changed(changed) => {
                entries.extend(changed.iter().cloned());
                messages.extend(
                    changed.chunks(Message::ROWS).map(|rows| Message::Summaries(rows.to_vec())),
                );
            }
            Kind::Unchanged(unchanged) => entries.extend(unchanged),
            Kind::Facilities(ids) => messages.push(Message::Facilities(ids)),
        }
    }
    let append = async {
        let stream = streams.of(&epoch);
        for payloads in loads(messages.iter().map(Message::encode)) {
            // What failed is in the outbox, for the drain; the reasons are counted and logged with
            // the connection.
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

/// What goes in one round trip each, in order.
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
