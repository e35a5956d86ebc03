//! The Redis tier, which replicas share; it stands between memory and table. It holds copies only,
//! so an entry that cannot be read counts as missing.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use deadpool_redis::redis::{Script, cmd};
use futures_util::{FutureExt, StreamExt, stream};

use crate::{
    domain::summary::Key,
    protocol::StoredEntry,
    redis::{CommandError, Link},
};

const PUT: &str = include_str!("put.lua");
static PUT_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(PUT));

/// Puts of one call that are under way at the same time: enough to hide the round trips, few enough
/// to leave room for readers.
const PUTS_AT_ONCE: usize = 64;

/// Stored entries, by (epoch, facility, date).
pub struct RedisTier {
    /// The connection to Redis.
    pub(super) link: Arc<Link>,
    keep: Duration,
}

impl RedisTier {
    /// `keep` is how long Redis keeps an entry that nothing replaces, in whole seconds (at least
    /// 1).
    pub fn new(link: Arc<Link>, keep: Duration) -> Self {
        RedisTier { link, keep }
    }

    /// Waits until Redis is connected, without a time limit.
    pub async fn up(&self) {
        self.link.up().await;
    }

    /// The entry, in one round trip. `None` where there is none, or where it cannot be read.
    pub async fn get(&self, epoch: &str, key: &Key) -> Result<Option<StoredEntry>, CommandError> {
        let payload: Option<Vec<u8>> =
            self.link.query("get", cmd("HGET").arg(name(epoch, key)).arg("b")).await?;
        let Some(payload) = payload else { return Ok(None) };
        let entry = StoredEntry::decode(&payload)
            // A payload that lies under the key of another summary holds wrong figures for this
            // one.
            .filter(|entry| entry.row.key() == *key);
        if entry.is_none() {
            self.link.count("get", "unreadable");
        }
        Ok(entry)
    }

    /// Puts each entry that is newer than the one in Redis: of a later version, or of the same
    /// version and exact as of a later instant. Answers how many were put. After an error some may
    /// have been put.
    pub async fn put(&self, epoch: &str, entries: &[StoredEntry]) -> Result<usize, CommandError> {
        // Boxed: the compiler cannot prove a mapping stream of borrowed entries to be Send.
        let puts: Vec<_> = entries.iter().map(|entry| self.put_one(epoch, entry).boxed()).collect();
        let all: Vec<Result<bool, CommandError>> =
            stream::iter(puts).buffer_unordered(PUTS_AT_ONCE).collect().await;
        // Every put is awaited before an error is returned. A key that another program changed to
        // another type must not keep the other entries from being put.
        all.into_iter().try_fold(0, |sum, put| Ok(sum + usize::from(put?)))
    }

    async fn put_one(&self, epoch: &str, entry: &StoredEntry) -> Result<bool, CommandError> {
        let summary = &entry.row.summary;
        let (version, as_of_ms) = (summary.version.to_string(), entry.row.as_of_ms.to_string());
        let keep = self.keep.as_secs().max(1).to_string();
        let arguments = [version.as_bytes(), as_of_ms.as_bytes(), &entry.encode(), keep.as_bytes()];
        self.link.eval("put", &PUT_SCRIPT, PUT, &name(epoch, &entry.row.key()), &arguments).await
    }
}

/// The name of a summary's key in Redis.
pub(super) fn name(epoch: &str, key: &Key) -> String {
    format!("facility-summary:{epoch}:{}:{}", key.facility_id, key.date)
}
