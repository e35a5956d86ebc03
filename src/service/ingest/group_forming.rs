//! Which of the waiting requests make the next group.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

use super::Request;

/// Takes requests that share no id with those under way, oldest first, with `most_events` events at
/// the most; the first request may have more. A request that stays reserves its ids, so that later
/// requests cannot pass it again and again.
pub(super) fn form_group<'a>(
    waiting: &mut VecDeque<Request>,
    under_way: impl Iterator<Item = &'a HashSet<Uuid>>,
    most_events: usize,
) -> Vec<Request> {
    let mut taken_ids: HashSet<Uuid> = under_way.flatten().copied().collect();
    let (mut group, mut stay, mut events) = (Vec::new(), VecDeque::new(), 0);
    while let Some(request) = waiting.pop_front() {
        let is_free = taken_ids.is_empty() || request.ids.iter().all(|id| !taken_ids.contains(id));
        if is_free && (group.is_empty() || events + request.task.events.len() <= most_events) {
            events += request.task.events.len();
            group.push(Request { _place: None, ..request });
        } else {
            taken_ids.extend(request.ids.iter().copied());
            stay.push_back(request);
        }
    }
    *waiting = stay;
    group
}
