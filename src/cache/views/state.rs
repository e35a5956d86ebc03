//! The content of a view: each facility's entry, the orders, the sums. Each change moves only what
//! it is about. There is no clock, lock or proof here.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use uuid::Uuid;
use xxhash_rust::xxh3;

use super::{
    change_log::{Before, ChangeLog},
    orders::Orders,
    query::Named,
};
use crate::{
    cache::entry::Entry,
    domain::{
        day::Day,
        facility::Facility,
        names::sought,
        summary::{DayKey, Key, KnownFigures, Summary},
        totals::{CompactFigures, Figure, RunningTotals},
    },
};

/// A facility in a view.
#[derive(Debug)]
pub(super) struct Member {
    pub facility: Arc<Facility>,
    pub named: Arc<Named>,
    /// The name in the form in which parts of it are searched for.
    pub sought: Box<str>,
    pub day: Day,
    pub part: Option<Part>,
}

/// What a view holds of a facility's day.
#[derive(Debug)]
pub(super) struct Part {
    pub entry: Arc<Entry>,
    /// The stream session that this part is attached to. Unlike the entry of a day without a row,
    /// such a part may be attached: the view receives each change of its facility.
    pub session: Option<u32>,
    pub figures: CompactFigures,
}

/// An entry for a view.
pub(super) struct Taken<'a> {
    pub key: Key,
    pub entry: &'a Arc<Entry>,
    /// The figures of the entry; `None` to read them from its body.
    pub summary: Option<&'a Summary>,
    pub session: Option<u32>,
}

/// The content of a view.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The figures that the sources have.
    pub known: KnownFigures,
    pub members: HashMap<Uuid, Member>,
    pub orders: Orders,
    pub totals: RunningTotals,
    /// Facilities without an entry. A view with any of them cannot answer.
    pub missing: HashSet<Uuid>,
    /// The ends of what holds until an instant, soonest first.
    expiries: BTreeSet<(i64, Uuid)>,
    /// The session for which attached parts are counted, and their number.
    counted: (u32, usize),
    /// The version of the day: a sum over the facilities, so that the same figures of the same
    /// facilities have the same version on each replica, in whatever order the changes came.
    pub version: u64,
    pub log: ChangeLog,
    /// The view was whole once, so readers may be on its pages.
    was_whole: bool,
}

/// The share of a facility in the version of the day.
fn share(named: &Named, entry: &Entry) -> u64 {
    let of_name = xxh3::xxh3_64_with_seed(named.name.as_bytes(), named.id.as_u64_pair().0);
    xxh3::xxh3_64_with_seed(&entry.etag(), of_name ^ named.id.as_u64_pair().1)
}

/// What is noted of a facility before a change of its part.
fn placed_before(named: &Arc<Named>, part: Option<&Part>) -> Before {
    let ranks = part.map(|part| Figure::ALL.map(|figure| part.figures.rank(figure)));
    let share = part.map_or(0, |part| share(named, &part.entry));
    Before { named: named.clone(), ranks, share }
}

impl State {
    /// No facilities yet.
    pub fn new(known: KnownFigures) -> Self {
        State { known, ..State::default() }
    }

    /// Whether each facility has an entry that is attached to this session.
    pub fn is_attached(&mut self, session: u32) -> bool {
        if self.counted.0 != session {
            let parts = self.members.values().filter_map(|member| member.part.as_ref());
            self.counted = (session, parts.filter(|part| part.session == Some(session)).count());
        }
        self.missing.is_empty() && self.counted.1 == self.members.len()
    }

    /// The share of a facility in the version of the day.
    pub fn share_of(&self, id: &Uuid) -> u64 {
        let member = self.members.get(id);
        let share = |member: &Member| Some(share(&member.named, &member.part.as_ref()?.entry));
        member.and_then(share).unwrap_or(0)
    }

    /// The instant before which everything here holds, in milliseconds.
    pub fn holds_until_ms(&self) -> i64 {
        self.expiries.first().map_or(i64::MAX, |(at_ms, _)| *at_ms)
    }

    /// Takes an entry in the place of an older one of its day. True where figures changed. An entry
    /// of a later version that is of another zone's day of that date leaves the facility without an
    /// entry: it has moved.
    pub fn take(&mut self, taken: &Taken<'_>, session: u32) -> bool {
        let Some(member) = self.members.get_mut(&taken.key.facility_id) else { return false };
        if taken.key.date != member.day.date {
            return false;
        }
        let version = taken.entry.version;
        let is_of = taken.entry.is_of(&member.day);
        if let Some(held) = &member.part {
            let is_newer = version > held.entry.version;
            let is_same = version == held.entry.version && is_of;
            let loses_session = held.session == Some(session) && taken.session != Some(session);
            if !is_newer && (!is_same || loses_session) {
                return false;
            }
        }
        if !is_of {
            return self.drop_part(&taken.key.facility_id);
        }
        let read: Option<Summary> = match taken.summary {
            Some(_) => None,
            None => serde_json::from_slice(&taken.entry.body()).ok(),
        };
        let Some(summary) = taken.summary.or(read.as_ref()) else { return false };
        let part = match taken.entry.is_still {
            false => {
                let figures = CompactFigures::of(summary, self.known);
                Part { entry: taken.entry.clone(), session: taken.session, figures }
            }
            true => {
                let entry = Arc::new(taken.entry.uncounted(summary));
                Part { entry, session: taken.session, figures: CompactFigures::uncounted() }
            }
        };
        self.put(taken.key.facility_id, part)
    }

    fn put(&mut self, id: Uuid, part: Part) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return false };
        let named = &member.named;
        let (version, until_ms) = (self.version, part.entry.holds_until_ms);
        if until_ms != i64::MAX {
            self.expiries.insert((until_ms, id));
        }
        self.counted.1 += usize::from(part.session == Some(self.counted.0));
        let before = member.part.as_ref();
        let changed = before.is_none_or(|old| old.entry.etag() != part.entry.etag());
        if let Some(old) = before {
            self.counted.1 -= usize::from(old.session == Some(self.counted.0));
            if old.entry.holds_until_ms != until_ms {
                self.expiries.remove(&(old.entry.holds_until_ms, id));
            }
            if changed {
                self.totals.take_out(&old.figures);
                self.orders.change(named, &old.figures, &part.figures);
                self.version = self.version.wrapping_sub(share(named, &old.entry));
            }
        } else {
            self.orders.add_figures(named, &part.figures);
            self.missing.remove(&id);
        }
        if changed {
            self.totals.add(&part.figures);
            self.version = self.version.wrapping_add(share(named, &part.entry));
            if self.was_whole {
                self.log.note(version, placed_before(named, before));
            }
        }
        member.part = Some(part);
        self.was_whole |= self.missing.is_empty();
        changed
    }

    /// Drops what is held of a facility, which then has no entry. True where something was.
    pub fn drop_part(&mut self, id: &Uuid) -> bool {
        let Some(member) = self.members.get_mut(id) else { return false };
        let Some(old) = member.part.take() else { return false };
        self.counted.1 -= usize::from(old.session == Some(self.counted.0));
        self.expiries.remove(&(old.entry.holds_until_ms, *id));
        self.totals.take_out(&old.figures);
        self.orders.remove_figures(&member.named, &old.figures);
        self.log.note(self.version, placed_before(&member.named, Some(&old)));
        self.version = self.version.wrapping_sub(share(&member.named, &old.entry));
        self.missing.insert(*id);
        true
    }

    /// Drops the entry of a day without a row: the facility has changed, and may have come back to
    /// its zone, and then no message names that day.
    pub fn drop_empty(&mut self, id: &Uuid) -> bool {
        let is_empty =
            |member: &Member| member.part.as_ref().is_some_and(|part| part.entry.version == 0);
        self.members.get(id).is_some_and(is_empty) && self.drop_part(id)
    }

    /// Places a facility with its day as the directory has them; without a day the facility is in
    /// the view no more. True where something changed.
    pub fn place(&mut self, id: Uuid, place: Option<(&Arc<Facility>, Day)>) -> bool {
        let Some((facility, day)) = place else { return self.remove(&id) };
        let same_name = |member: &Member| member.named.name == facility.name;
        let same_day =
            |member: &Member| member.day == day && member.facility.zone.name == facility.zone.name;
        match self.members.get_mut(&id) {
            Some(member) if same_name(member) && same_day(member) => {
                member.facility = facility.clone();
                false
            }
            Some(member) if same_name(member) => {
                // Of a row without bounds only the date says whose day it is.
                let is_of = |part: &Part| part.entry.version > 0 && part.entry.is_of(&day);
                let stays = member.day.date == day.date && member.part.as_ref().is_some_and(is_of);
                member.facility = facility.clone();
                member.day = day;
                if !stays {
                    self.drop_part(&id);
                }
                true
            }
            _ => {
                self.remove(&id);
                self.add(facility.clone(), day);
                true
            }
        }
    }

    fn add(&mut self, facility: Arc<Facility>, day: Day) {
        let named = Arc::new(Named { name: facility.name.clone(), id: facility.id });
        self.orders.add_name(&named);
        self.missing.insert(facility.id);
        let sought = sought(&facility.name).into_boxed_str();
        self.members.insert(facility.id, Member { facility, named, sought, day, part: None });
    }

    fn remove(&mut self, id: &Uuid) -> bool {
        self.drop_part(id);
        self.missing.remove(id);
        let Some(member) = self.members.remove(id) else { return false };
        self.orders.remove_name(&member.named);
        self.was_whole |= self.missing.is_empty();
        true
    }

    /// About how many bytes this takes beside the entries.
    pub fn bytes(&self) -> usize {
        // The struct and its place in the map, its name twice, its places in four orders.
        const EACH: usize = 2 * size_of::<Member>() + 160;
        let names: usize = self.members.values().map(|member| 2 * member.sought.len()).sum();
        let figures = self.members.values().filter_map(|member| member.part.as_ref());
        let figures: usize = figures.map(|part| part.figures.bytes()).sum();
        self.members.len() * EACH + names + figures + self.log.bytes()
    }

    /// The days for which `which` is true of the part, and those without an entry.
    pub fn keys(&self, which: impl Fn(&Part) -> bool) -> Vec<DayKey> {
        let wanted = |member: &&Member| member.part.as_ref().is_none_or(&which);
        let key = |member: &Member| DayKey { facility: member.facility.clone(), day: member.day };
        self.members.values().filter(wanted).map(key).collect()
    }
}
