//! What mapped tables mean. A server keeps the ids of an enum's labels with a prepared statement,
//! also after another label has got the name.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What drain snapshots have shown of it.
#[derive(Debug)]
pub(super) struct Meaning(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// The last fingerprint of what triggers watch. Without triggers it is that of nothing.
    watched: Option<String>,
    /// The last fingerprint of the labels of all enums, with triggers and without.
    labels: Option<String>,
    /// Since when both are the same.
    since: Instant,
}

impl Default for Meaning {
    fn default() -> Self {
        Meaning(Mutex::new(Known { watched: None, labels: None, since: Instant::now() }))
    }
}

impl Meaning {
    /// Takes note of both. Where one of them has changed, connections from before are not used any
    /// more. Returns whether what triggers watch has changed.
    pub fn see(&self, watched: &str, labels: Option<&str>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let watched_changed = replace(&mut known.watched, Some(watched));
        let labels_changed = replace(&mut known.labels, labels);
        if watched_changed || labels_changed {
            known.since = Instant::now();
        }
        watched_changed
    }

    /// For how long it has been the same.
    pub fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).since.elapsed()
    }
}

/// Whether a fingerprint that was known before is another one now.
fn replace(known: &mut Option<String>, now: Option<&str>) -> bool {
    let has_changed = known.is_some() && known.as_deref() != now;
    if known.as_deref() != now {
        *known = now.map(str::to_owned);
    }
    has_changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_from_before_a_change_of_either_are_not_used_any_more() {
        let meaning = Meaning::default();
        assert!(!meaning.see("a", Some("x")), "the first is no change");
        let before = meaning.0.lock().unwrap().since;
        assert!(!meaning.see("a", Some("x")));
        assert_eq!(meaning.0.lock().unwrap().since, before);
        assert!(!meaning.see("a", Some("y")), "only labels have changed");
        let of_labels = meaning.0.lock().unwrap().since;
        assert_ne!(of_labels, before);
        assert!(meaning.see("b", Some("y")));
        assert_ne!(meaning.0.lock().unwrap().since, of_labels);
    }
}
