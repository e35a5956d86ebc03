//! Which facility a blood bank was in when a group looked last. Only a hint, by which groups that
//! run at the same time are kept apart: nothing is decided by it.

use std::{
    collections::{HashMap, HashSet},
    sync::{PoisonError, RwLock},
};

use uuid::Uuid;

/// The number of banks that are remembered. Beyond it all are forgotten, and learned again.
const MOST: usize = 100_000;

/// The facilities of the blood banks that earlier groups have met.
#[derive(Debug, Default)]
pub struct KnownBanks(RwLock<HashMap<Uuid, Uuid>>);

impl KnownBanks {
    /// Remembers where these banks are.
    pub(super) fn learn(&self, banks: &HashMap<Uuid, Uuid>) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_news = |(bank, facility): &(&Uuid, &Uuid)| known.get(bank) != Some(facility);
        let news: Vec<(Uuid, Uuid)> =
            banks.iter().filter(is_news).map(|(bank, facility)| (*bank, *facility)).collect();
        drop(known);
        if news.is_empty() {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() + news.len() > MOST {
            known.clear();
        }
        known.extend(news.into_iter().take(MOST));
    }

    /// The facilities of these: of a bank the one that it was in, and else the id itself.
    pub(super) fn facilities(&self, ids: impl Iterator<Item = Uuid>) -> HashSet<Uuid> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ids.map(|id| known.get(&id).copied().unwrap_or(id)).collect()
    }
}
