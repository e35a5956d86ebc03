//! The tier that replicas share, between memory and table. Everything in it is a copy: what cannot
//! be read is as good as missing.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use deadpool_redis::redis::{Script, cmd};
use futures_util::{FutureExt, StreamExt, stream};
use jiff::civil::Date;
use uuid::Uuid;

use crate::{
    protocol::StoredEntry,
    redis::{Error, Link},
};

const PUT: &str = include_str!("put.lua");
static PUT_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(PUT));

/// Puts of one call that are under way at the same time: enough to hide the round trips, few enough
/// to leave room for readers.
const PUTS_AT_ONCE: usize = 64;

/// Entries by (epoch, facility, date).
pub struct RedisTier {
    pub(super) link: Arc<Link>,
    keep: Duration,
}

impl RedisTier {
    /// `keep` is how long an entry is kept that nothing replaces, in whole seconds.
    pub fn new(link: Arc<Link>, keep: Duration) -> Self {
        RedisTier { link, keep }
    }

    /// Waits until Redis is there, for ever while it is not.
    pub async fn up(&self) {
        self.link.up().await;
    }

    /// The entry, in one round trip. `None` where there is none, or none that can be read.
    pub async fn get(
        &self,
        epoch: &str,
        facility: Uuid,
        date: Date,
    ) -> Result<Option<StoredEntry>, Error> {
        let payload: Option<Vec<u8>> =
            self.link.query("get", cmd("HGET").arg(key(epoch, facility, date)).arg("b")).await?;
        let Some(payload) = payload else { return Ok(None) };
        let entry = StoredEntry::decode(&payload)
            // A payload under another key's name would be somebody else's figures.
            .filter(|entry| {
                (entry.row.summary.facility_id, entry.row.summary.date) == (facility, date)
            });
        if entry.is_none() {
            self.link.count("get", "unreadable");
        }
        Ok(entry)
    }

    /// Puts each entry that is newer than what is there: of a later version, or of the same one and
    /// exact as of later. Answers how many were. After an error some may have been put.
    pub async fn put(&self, epoch: &str, entries: &[StoredEntry]) -> Result<usize, Error> {
        // Boxed: the compiler cannot prove a mapping stream of borrowed entries to be Send.
        let puts: Vec<_> = entries.iter().map(|entry| self.put_one(epoch, entry).boxed()).collect();
        let all: Vec<Result<bool, Error>> =
            stream::iter(puts).buffer_unordered(PUTS_AT_ONCE).collect().await;
        // To the end, whatever one of them met: a key that somebody made something else of must not
        // cost the others theirs.
        all.into_iter().try_fold(0, |sum, put| Ok(sum + usize::from(put?)))
    }

    async fn put_one(&self, epoch: &str, entry: &StoredEntry) -> Result<bool, Error> {
        let summary = &entry.row.summary;
        let (version, as_of_ms) = (summary.version.to_string(), entry.row.as_of_ms.to_string());
        let keep = self.keep.as_secs().max(1).to_string();
        let arguments = [version.as_bytes(), as_of_ms.as_bytes(), &entry.encode(), keep.as_bytes()];
        self.link
            .eval(
                "put",
                &PUT_SCRIPT,
                PUT,
                &key(epoch, summary.facility_id, summary.date),
                &arguments,
            )
            .await
    }
}

pub(super) fn key(epoch: &str, facility: Uuid, date: Date) -> String {
    format!("facility-summary:{epoch}:{facility}:{date}")
}
