//! What a database states beside its rows: its epoch, and the last watermark that was stored.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    domain::summary::{Key, SummaryRow},
    protocol::{Epoch, Position, Watermark},
    store::{FacilityRow, StoreError, unreadable::NEVER_MS},
};

/// The result of one read of the summary table, all in one snapshot of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRead {
    /// The rows, in no order. Keys without a row are missing.
    pub rows: Vec<SummaryRow>,
    /// The zones of the keys' facilities that exist.
    pub zones: HashMap<Uuid, String>,
    /// The facilities among them with a change, perhaps of zone, that is not processed yet. For
    /// these, a missing row does not mean that there is no such day.
    pub changing: HashSet<Uuid>,
    /// The epoch. On a standby: the epoch in which its watermark was stored.
    pub epoch: Epoch,
    /// The last watermark that was stored, if it was stored in this epoch. Every row here is exact
    /// as of it, too.
    pub watermark: Option<Watermark>,
    /// The standby that answered, by its URL without the password; `None` when the primary
    /// answered.
    pub standby: Option<Arc<str>>,
}

impl TableRead {
    /// Whether a row is older than the version of its key that is known to have been committed. The
    /// snapshot is then of an earlier state: a backup was restored. A row that cannot be read does
    /// not tell its version, so it says nothing about the others.
    pub fn has_older(&self, known: impl Fn(&Key) -> i64) -> bool {
        self.rows
            .iter()
            .any(|row| row.as_of_ms != NEVER_MS && row.summary.version < known(&row.key()))
    }

    /// What it says about each key that it was asked for, in the order of `keys`.
    pub fn by_key<'a>(&'a self, keys: &'a [Key]) -> impl Iterator<Item = TableRead> + 'a {
        let rows: HashMap<Key, &SummaryRow> = self.rows.iter().map(|r| (r.key(), r)).collect();
        keys.iter().map(move |key| {
            let zone = self.zones.get_key_value(&key.facility_id);
            TableRead {
                rows: rows.get(key).map(|row| SummaryRow::clone(row)).into_iter().collect(),
                zones: zone.map(|(id, zone)| (*id, zone.clone())).into_iter().collect(),
                changing: self.changing.get(&key.facility_id).copied().into_iter().collect(),
                epoch: self.epoch.clone(),
                watermark: self.watermark,
                standby: self.standby.clone(),
            }
        })
    }
}

/// The result of one read of facilities, over one connection. The epoch and the watermark are read
/// after the rows.
#[derive(Debug, Clone)]
pub struct FacilitiesRead {
    /// The rows, in no order. Facilities that do not exist are missing.
    pub rows: Vec<FacilityRow>,
    /// The epoch.
    pub epoch: Epoch,
    /// The last watermark that was stored, if it was stored in this epoch.
    pub watermark: Option<Watermark>,
    /// Why the rows are the last that were stored: those of mapped tables cannot be read.
    pub outdated: Option<StoreError>,
    /// The instant as of which another server has stored the rows, in milliseconds, where this one
    /// reads no mapped table (`Store::is_superseded`). Otherwise they are as of this read.
    pub stored_ms: Option<i64>,
}

/// The columns of the table `fleet` that every read returns as well.
pub(super) struct Agreed {
    /// The identity of the database; `None` on a standby.
    pub identity: Option<String>,
    /// The identity of the database when the watermark was stored.
    pub watermark_identity: Option<String>,
    /// The instant of the watermark, in milliseconds since 1970.
    pub watermark_ms: Option<i64>,
    /// The position of the watermark in the change stream.
    pub position: Position,
}

impl Agreed {
    /// The epoch of the database, and the watermark if it was stored in this epoch. `None` on a
    /// standby.
    pub fn here(self) -> Option<(Epoch, Option<Watermark>)> {
        let identity = self.identity?;
        let counts = self.watermark_identity.as_ref() == Some(&identity);
        let watermark = self
            .watermark_ms
            .filter(|_| counts)
            .map(|at_ms| Watermark { at_ms, position: self.position });
        Some((Epoch::of(&identity), watermark))
    }

    /// Like `here`, on any server. A standby is in the epoch in which its watermark was stored;
    /// `None` when it has replayed no watermark.
    pub fn anywhere(self) -> Option<(Epoch, Option<Watermark>)> {
        let identity = self.identity.or_else(|| self.watermark_identity.clone());
        Agreed { identity, ..self }.here()
    }
}
