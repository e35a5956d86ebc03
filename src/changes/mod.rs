//! The change stream: what was committed, on its way to whoever shows it.
//!
//! Within one process a publication is a call. Its order relative to others is not kept, so every receiver compares versions.
//! Rows that a process committed and never published (it died, or it was a command beside the service) lie in the outbox, and the drain
//! publishes them before it announces a watermark.

mod position;

use std::sync::Arc;

pub use position::Position;

use crate::{cache::memory::Memory, domain::summary::SummaryRow};

/// Sends committed rows to the memory tier.
pub struct Changes {
    memory: Arc<Memory>,
}

impl Changes {
    pub fn new(memory: Arc<Memory>) -> Self {
        Changes { memory }
    }

    /// To be taken before the transaction, or the read, that the rows come from.
    pub fn position(&self) -> u64 {
        self.memory.position()
    }

    /// Publishes rows whose transaction has committed.
    pub fn publish<'a>(&self, position: u64, rows: impl Iterator<Item = &'a SummaryRow>) {
        self.memory.publish(position, rows);
    }

    /// Tells that a refresh found these rows unchanged, so that they are exact as of its snapshot.
    pub fn confirm<'a>(&self, position: u64, rows: impl Iterator<Item = &'a SummaryRow>) {
        self.memory.publish(position, rows);
    }
}
