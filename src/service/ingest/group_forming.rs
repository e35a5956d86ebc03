//! Which of the waiting requests make the next group.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

use super::Request;
use crate::domain::event::Event;

/// By this, groups that are under way at the same time are kept apart.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// What the events are about or refer to.
    pub ids: HashSet<Uuid>,
    /// An event removes something. The ids without a row are locked by few locks that all ids
    /// share, and a removal wants its own alone. Two such groups would wait for each other's.
    pub removes: bool,
}

impl Needs {
    /// What these events need.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut needs = Needs::default();
        for event in events {
            needs.ids.extend(event.ids());
            needs.removes |= event.is_removal();
        }
        needs
    }
}

/// Takes requests that share no id with those under way, oldest first, with `most_events` events at
/// the most; the first request may have more. A request that stays reserves its ids, so that later
/// requests cannot pass it again and again. A group that removes something is under way alone.
pub(super) fn form_group<'a>(
    waiting: &mut VecDeque<Request>,
    under_way: impl Iterator<Item = &'a Needs>,
    most_events: usize,
) -> Vec<Request> {
    let (mut taken_ids, mut is_alone, mut is_closed) = (HashSet::new(), true, false);
    for needs in under_way {
        taken_ids.extend(needs.ids.iter().copied());
        is_alone = false;
        is_closed |= needs.removes;
    }
    let (mut group, mut stay, mut events) = (Vec::new(), VecDeque::new(), 0);
    while let Some(request) = waiting.pop_front() {
        let Needs { ids, removes } = &request.needs;
        // No later request passes a removal that waits for the groups under way.
        is_closed |= *removes && !is_alone;
        let is_free = !is_closed && ids.is_disjoint(&taken_ids);
        if is_free && (group.is_empty() || events + request.task.events.len() <= most_events) {
            events += request.task.events.len();
            group.push(Request { _place: None, ..request });
        } else {
            taken_ids.extend(ids.iter().copied());
            stay.push_back(request);
        }
    }
    *waiting = stay;
    group
}

#[cfg(test)]
#[path = "group_forming_tests.rs"]
mod tests;
