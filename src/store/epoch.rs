//! What a database says of itself beside its rows: its epoch, and the watermark stored last.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    domain::summary::SummaryRow,
    protocol::{Epoch, Position, Watermark},
};

/// What one look into the summary table saw, all of it in one snapshot of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRead {
    /// In no order; keys without a row are missing.
    pub rows: Vec<SummaryRow>,
    /// Of the keys' facilities, if they exist.
    pub zones: HashMap<Uuid, String>,
    /// Those of them of which a change is yet to be dealt with, of zone perhaps: that there is no
    /// row of a day says nothing yet.
    pub changing: HashSet<Uuid>,
    /// On a streaming replica, the epoch that its watermark was stored in.
    pub epoch: Epoch,
    /// What was stored last, if that was in this epoch: every row here is exact as of it, too.
    pub watermark: Option<Watermark>,
    /// The streaming replica that answered, by its URL without the password; `None`: the primary
    /// did.
    pub replica: Option<Arc<str>>,
}

/// The columns of the table `fleet` that every look reads along.
pub(super) struct Agreed {
    /// What the database says of itself; `None` on a streaming replica.
    pub identity: Option<String>,
    pub watermark_identity: Option<String>,
    pub watermark_ms: Option<i64>,
    pub position: Position,
}

impl Agreed {
    /// The epoch that the database is at, and the watermark if it was stored in it. `None` on a
    /// streaming replica.
    pub fn here(self) -> Option<(Epoch, Option<Watermark>)> {
        let identity = self.identity?;
        let counts = self.watermark_identity.as_ref() == Some(&identity);
        let watermark = self
            .watermark_ms
            .filter(|_| counts)
            .map(|at_ms| Watermark { at_ms, position: self.position });
        Some((Epoch::of(&identity), watermark))
    }

    /// The same on any server: a streaming replica is at the epoch that its watermark was stored
    /// in. `None` where none has reached it.
    pub fn anywhere(self) -> Option<(Epoch, Option<Watermark>)> {
        let identity = self.identity.or_else(|| self.watermark_identity.clone());
        Agreed { identity, ..self }.here()
    }
}
