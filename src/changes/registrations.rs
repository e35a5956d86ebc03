//! Facilities that were heard of in the stream and are yet to be read from the database: a set that one task works off, however many
//! messages came by while the database was away.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use uuid::Uuid;

/// Above so many all facilities are read, which costs less by then, and whose number bounds the set.
const MOST: usize = 10_000;

/// What is to be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    All,
    These(Vec<Uuid>),
}

#[derive(Debug, Default)]
pub(super) struct Registrations {
    unread: Mutex<Unread>,
    heard: Notify,
}

/// Each with the number of the message that told of it last: one that comes while it is being read makes it be read again.
#[derive(Debug, Default)]
struct Unread {
    messages: u64,
    all: Option<u64>,
    ids: HashMap<Uuid, u64>,
}

impl Registrations {
    /// Takes note of facilities, or of any, that are to be read.
    pub(super) fn hear(&self, ids: Option<Vec<Uuid>>) {
        {
            let mut unread = self.unread();
            unread.messages += 1;
            let number = unread.messages;
            match ids {
                Some(ids) => unread.ids.extend(ids.into_iter().map(|id| (id, number))),
                None => unread.all = Some(number),
            }
            if unread.ids.len() > MOST {
                unread.ids.clear();
                unread.all = Some(number);
            }
        }
        self.heard.notify_one();
    }

    /// Whether all that was heard of has been read.
    pub(super) fn are_read(&self) -> bool {
        let unread = self.unread();
        unread.all.is_none() && unread.ids.is_empty()
    }

    /// Waits for something to read; the number is to be given back once that has been read.
    pub(super) async fn next(&self) -> (Task, u64) {
        loop {
            if let Some(next) = self.waiting() {
                return next;
            }
            self.heard.notified().await;
        }
    }

    /// Takes note that what was to be read at that number has been.
    pub(super) fn read(&self, number: u64) {
        let mut unread = self.unread();
        unread.all = unread.all.filter(|told| *told > number);
        unread.ids.retain(|_, told| *told > number);
    }

    fn waiting(&self) -> Option<(Task, u64)> {
        let unread = self.unread();
        let task = match unread.all {
            Some(_) => Task::All,
            None if unread.ids.is_empty() => return None,
            None => Task::These(unread.ids.keys().copied().collect()),
        };
        Some((task, unread.messages))
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(from: u128, count: usize) -> Vec<Uuid> {
        (from..).take(count).map(Uuid::from_u128).collect()
    }

    #[tokio::test]
    async fn what_comes_while_it_is_being_read_is_read_again() {
        let registrations = Registrations::default();
        registrations.hear(Some(ids(1, 2)));
        let (_, number) = registrations.next().await;
        registrations.hear(Some(ids(2, 1)));
        registrations.read(number);
        assert!(!registrations.are_read());
        let (task, number) = registrations.next().await;
        assert_eq!(task, Task::These(ids(2, 1)));
        registrations.read(number);
        assert!(registrations.are_read());
    }

    #[tokio::test]
    async fn any_number_of_messages_is_one_set_and_a_large_one_is_all() {
        let registrations = Registrations::default();
        (0..1_000).for_each(|_| registrations.hear(Some(ids(1, 3))));
        let (Task::These(mut found), _) = registrations.next().await else { panic!("not all") };
        found.sort_unstable();
        assert_eq!(found, ids(1, 3));
        registrations.hear(Some(ids(1, MOST + 1)));
        assert_eq!(registrations.next().await.0, Task::All);
        assert!(registrations.unread().ids.is_empty());
    }

    #[tokio::test]
    async fn what_failed_is_still_there_and_all_includes_each() {
        let registrations = Registrations::default();
        registrations.hear(Some(ids(1, 1)));
        registrations.hear(None);
        for _ in 0..2 {
            assert_eq!(registrations.next().await, (Task::All, 2));
        }
        registrations.read(2);
        assert!(registrations.are_read());
        let mut waiting = std::pin::pin!(registrations.next());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        registrations.hear(Some(ids(7, 1)));
        assert_eq!(waiting.await.0, Task::These(ids(7, 1)));
    }
}
