//! A state of a facility's day as it is sent. It is encoded once for all its receivers.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::Bytes;
use jiff::civil::Date;
use uuid::Uuid;

use super::wire::{self, Transport};
use crate::cache::memory::Entry;

/// What may be sent of a facility.
pub struct Pushed {
    /// The facility.
    pub facility: Uuid,
    /// The date of the day.
    pub date: Date,
    /// What memory holds.
    pub entry: Arc<Entry>,
    /// The instant as of which the message says that it is exact, in milliseconds.
    pub as_of_ms: i64,
    /// When memory took it in.
    pub taken: Instant,
    /// In which epoch, as `Memory::epoch_count` counts them.
    pub epoch: u32,
    /// A hash of the entity tag; another one while the day cannot be counted.
    pub tag: u64,
    item: OnceLock<Bytes>,
    frame: OnceLock<Bytes>,
    event: OnceLock<Bytes>,
}

impl Pushed {
    /// Not encoded yet.
    pub fn new(
        facility: Uuid,
        date: Date,
        entry: Arc<Entry>,
        as_of_ms: i64,
        epoch: u32,
    ) -> Arc<Self> {
        let tag = tag_of(&entry.etag());
        // The body says nothing of it, and the same figures may count again.
        let tag = if entry.is_still { !tag } else { tag };
        Arc::new(Pushed {
            tag,
            facility,
            date,
            entry,
            as_of_ms,
            taken: Instant::now(),
            epoch,
            item: OnceLock::new(),
            frame: OnceLock::new(),
            event: OnceLock::new(),
        })
    }

    /// `{"summary":…,"etag":…,"as_of":…}`, with `"cannot_be_counted":true` while that is so.
    pub fn item(&self) -> &Bytes {
        self.item.get_or_init(|| {
            let (body, etag) = (self.entry.body(), self.entry.etag());
            let etag = serde_json::Value::from(String::from_utf8_lossy(&etag));
            let as_of = wire::instant(Some(self.as_of_ms));
            let mut item = Vec::with_capacity(body.len() + 120);
            item.extend_from_slice(b"{\"summary\":");
            item.extend_from_slice(&body);
            item.extend_from_slice(format!(",\"etag\":{etag},\"as_of\":{as_of}").as_bytes());
            if self.entry.is_still {
                item.extend_from_slice(b",\"cannot_be_counted\":true");
            }
            item.push(b'}');
            item.into()
        })
    }

    fn json(&self) -> Vec<u8> {
        let item = self.item();
        [&b"{\"type\":\"summary\","[..], &item[1..]].concat()
    }

    /// The message; an event lacks the empty line at its end.
    pub fn message(&self, transport: Transport) -> Bytes {
        match transport {
            Transport::Websocket => self.frame.get_or_init(|| wire::frame(&self.json())).clone(),
            Transport::Sse => {
                self.event.get_or_init(|| wire::event("summary", &self.json())).clone()
            }
        }
    }
}

/// The hash of an entity tag, quotes included.
pub fn tag_of(etag: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(etag)
}
