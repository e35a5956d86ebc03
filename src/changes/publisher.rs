//! Appends committed rows to the stream between replicas, and puts them into the Redis tier, behind the back of whoever committed them.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Message, StoredEntry, Streams};
use crate::{cache::redis::RedisTier, metrics::Metrics, store::Epoch};

/// Rows of one transaction, or one read.
pub struct Publication {
    pub epoch: Arc<Epoch>,
    pub entries: Vec<StoredEntry>,
    /// Whether the others have to hear of it; otherwise it only goes into the tier.
    pub changed: bool,
}

/// The way to the publishing task.
pub struct Publisher {
    queue: mpsc::Sender<Publication>,
    metrics: Arc<Metrics>,
}

/// Publications that may wait. One more is left to the drain, which finds it in the outbox.
const QUEUE: usize = 4_096;
/// Publications that go in one round trip.
const TOGETHER: usize = 64;

impl Publisher {
    /// Starts the task. Once it is told to stop it works off its queue and ends.
    pub fn start(streams: Streams, tier: Arc<RedisTier>, metrics: Arc<Metrics>, stop: CancellationToken) -> (Self, JoinHandle<()>) {
        let (queue, mut publications) = mpsc::channel(QUEUE);
        let task = tokio::spawn({
            let metrics = metrics.clone();
            async move {
                let working = work_off(&streams, &tier, &metrics, &mut publications);
                if stop.run_until_cancelled(working).await.is_none() {
                    publications.close();
                    work_off(&streams, &tier, &metrics, &mut publications).await;
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

async fn work_off(streams: &Streams, tier: &RedisTier, metrics: &Metrics, publications: &mut mpsc::Receiver<Publication>) {
    let mut together = Vec::with_capacity(TOGETHER);
    while publications.recv_many(&mut together, TOGETHER).await > 0 {
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

async fn publish(streams: &Streams, tier: &RedisTier, metrics: &Metrics, publications: Vec<Publication>) {
    let epoch = publications[0].epoch.clone();
    let count = publications.iter().filter(|publication| publication.changed).count() as u64;
    let mut entries = Vec::new();
    let mut payloads = Vec::new();
    for publication in publications {
        if publication.changed {
            let message = Message::Summaries(publication.entries);
            payloads.push(message.encode());
            let Message::Summaries(published) = message else { continue };
            entries.extend(published);
        } else {
            entries.extend(publication.entries);
        }
    }
    let append = async {
        match payloads.is_empty() {
            true => Ok(None),
            false => streams.of(&epoch).append(&payloads).await,
        }
    };
    let (appended, put) = tokio::join!(append, tier.put(&epoch, &entries));
    // What failed is in the outbox, for the drain; the reasons are counted and logged with the connection.
    let outcome = if matches!(appended, Ok(Some(_))) { "published" } else { "left" };
    metrics.publications.with_label_values(&[outcome]).inc_by(count);
    if let Err(error) = put {
        tracing::debug!(%error, "summaries were not put into Redis");
    }
}
