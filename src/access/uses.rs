//! When keys and sessions were used, until that is stored.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Uses that are yet to be stored: an id, and an instant in milliseconds since 1970.
#[derive(Default)]
pub(super) struct Uses(Mutex<HashMap<String, i64>>);

impl Uses {
    /// Notes a use.
    pub fn note(&self, id: &str, at_ms: i64) {
        self.waiting().insert(id.to_owned(), at_ms);
    }

    /// Takes all of them, to store them.
    pub fn take(&self) -> Vec<(String, i64)> {
        std::mem::take(&mut *self.waiting()).into_iter().collect()
    }

    /// Puts back what could not be stored.
    pub fn put_back(&self, uses: Vec<(String, i64)>) {
        let mut waiting = self.waiting();
        for (id, at_ms) in uses {
            waiting.entry(id).or_insert(at_ms);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
