//! Which of the waiting requests make the next group.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

use super::{Request, known_banks::KnownBanks};
use crate::domain::event::Event;

/// What a request, or a group of requests, works on.
#[derive(Debug, Default, Clone)]
pub(super) struct Needs {
    /// What its events are about: these rows are written.
    about: HashSet<Uuid>,
    /// What its events only refer to. Several groups may refer to the same.
    refers: HashSet<Uuid>,
    /// The facilities whose figures change, as far as they are known. A group locks them until its
    /// commit. A bank whose facility is not known stands for it.
    facilities: HashSet<Uuid>,
    events: usize,
}

impl Needs {
    /// What these events need. `banks` is a hint: where it is wrong, a group waits for another.
    pub(super) fn of(events: &[Event], banks: &KnownBanks) -> Self {
        let about = events.iter().map(Event::id).collect();
        let refers: HashSet<Uuid> = events.iter().filter_map(Event::owner).collect();
        let places = refers.iter().copied();
        let touched = events.iter().filter(|e| e.owner().is_none()).map(Event::id);
        let facilities = banks.facilities(places.chain(touched));
        Needs { about, refers, facilities, events: events.len() }
    }

    fn add(&mut self, other: &Needs) {
        self.about.extend(&other.about);
        self.refers.extend(&other.refers);
        self.facilities.extend(&other.facilities);
        self.events += other.events;
    }

    /// Whether both may be under way at once: neither writes what the other writes or refers to.
    fn is_apart_from(&self, other: &Needs) -> bool {
        self.about.is_disjoint(&other.about)
            && self.about.is_disjoint(&other.refers)
            && self.refers.is_disjoint(&other.about)
    }

    /// Whether both lock a facility, as far as that is known.
    pub(super) fn shares_a_facility_with(&self, other: &Needs) -> bool {
        !self.facilities.is_disjoint(&other.facilities)
    }
}

/// A group, and what it works on.
pub(super) struct Formed {
    pub requests: Vec<Request>,
    pub needs: Needs,
}

/// Takes requests that share no row with those under way, oldest first, with `most_events` events
/// at the most; the first request may have more. Of these it takes the ones that share no facility
/// with those under way either, since a group waits for the facilities of another until that has
/// committed. Where each request shares one, the group reads and writes its source rows meanwhile.
/// A request that stays reserves what it needs, so that later requests cannot pass it again and
/// again. While another group is under way, this one leaves the next lane its share.
pub(super) fn form_group<'a>(
    waiting: &mut VecDeque<Request>,
    under_way: impl Iterator<Item = &'a Needs> + Clone,
    lanes: usize,
    most_events: usize,
) -> Formed {
    let busy: usize = under_way.clone().map(|needs| needs.events).sum();
    let share = match busy {
        0 => most_events,
        _ => {
            let waits: usize = waiting.iter().map(|request| request.needs.events).sum();
            most_events.min((busy + waits).div_ceil(lanes))
        }
    };
    let apart = |needs: &Needs, other: &Needs| {
        needs.is_apart_from(other) && !needs.shares_a_facility_with(other)
    };
    let is_apart = |needs: &Needs| under_way.clone().all(|other| apart(needs, other));
    let formed = take(waiting, is_apart, apart, share);
    if !formed.requests.is_empty() {
        return formed;
    }
    let is_apart = |needs: &Needs| under_way.clone().all(|other| needs.is_apart_from(other));
    take(waiting, is_apart, Needs::is_apart_from, share)
}

/// Takes the requests that are free, also beside what those that stay have reserved.
fn take(
    waiting: &mut VecDeque<Request>,
    is_free: impl Fn(&Needs) -> bool,
    is_apart: impl Fn(&Needs, &Needs) -> bool,
    most_events: usize,
) -> Formed {
    let (mut group, mut stay) = (Vec::new(), VecDeque::new());
    let (mut needs, mut reserved) = (Needs::default(), Needs::default());
    while let Some(request) = waiting.pop_front() {
        let has_room = group.is_empty() || needs.events + request.needs.events <= most_events;
        if has_room && is_free(&request.needs) && is_apart(&request.needs, &reserved) {
            needs.add(&request.needs);
            group.push(Request { _place: None, ..request });
        } else {
            reserved.add(&request.needs);
            stay.push_back(request);
        }
    }
    *waiting = stay;
    Formed { requests: group, needs }
}

#[cfg(test)]
#[path = "group_forming_tests.rs"]
mod tests;
