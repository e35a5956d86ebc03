//! What clients follow.

use std::rc::Rc;

use uuid::Uuid;

use super::{
    cell::FacilityCell,
    connection::Connection,
    pushed::{Pushed, tag_of},
    server::Least,
    shard::{Shard, ticks},
    turn::Touched,
};

/// The most facilities that one client may name. Who wants more follows all.
pub const MOST_FACILITIES: usize = 2_000;

/// What a client has of a facility already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The tag of what it has.
    pub tag: Option<u64>,
    /// The version that it has of today.
    pub least: i64,
}

impl Known {
    /// By an entity tag, with or without its coding: `"<date>.<version>.<hash>"`.
    pub fn of(etag: &str, today: jiff::civil::Date) -> Self {
        let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
        let etag = etag.trim_end_matches("-gzip").trim_end_matches("-br");
        let mut parts = etag.splitn(3, '.');
        let (date, version) = (parts.next(), parts.next().and_then(|text| text.parse().ok()));
        let is_today = date.is_some_and(|date| date == today.to_string());
        // The greatest number has a meaning of its own.
        let version = version.map(|version: i64| version.min(i64::MAX - 1));
        Known {
            tag: Some(tag_of(format!("\"{etag}\"").as_bytes())),
            least: version.filter(|_| is_today).unwrap_or(0),
        }
    }
}

impl Shard {
    /// Has a client follow a facility. It gets what is there, unless it has that already. From this
    /// call on no change is missed.
    pub fn follow(&self, connection: &Rc<Connection>, id: Uuid, known: &Known) {
        let mut touched = Touched::new();
        let followed = connection.state().slot_of(id);
        if let Some(at) = followed {
            if let Some(slot) = connection.state().slots.get_mut(at as usize) {
                slot.sent = known.tag;
            }
            connection.mark(at);
            return;
        }
        self.inbox.follow(id);
        let cell =
            self.cells.borrow_mut().entry(id).or_insert_with(|| FacilityCell::new(id)).clone();
        let slot = connection.state().add(cell.clone(), known.tag, known.least);
        {
            let mut state = cell.state.borrow_mut();
            state.viewers.push((connection.number.get(), slot));
            // It is told, too, where the facility is not there.
            state.is_gone = false;
        }
        let version = cell.newest().map(|newest| newest.entry.version);
        let least = if known.least == i64::MAX { 0 } else { known.least };
        if version.is_none_or(|version| version < least) {
            {
                let mut state = cell.state.borrow_mut();
                state.least = state.least.max(least);
            }
            self.want(&cell, &mut touched);
        }
        connection.mark(slot);
        touched.iter().for_each(|connection| connection.flush(self));
    }

    /// Has a client leave a facility. Returns whether it followed it.
    pub fn leave(&self, connection: &Rc<Connection>, id: Uuid) -> bool {
        let left = {
            let mut state = connection.state();
            let mut slots = state.slots.iter_mut();
            slots
                .find(|slot| slot.cell.as_ref().is_some_and(|cell| cell.id == id))
                .and_then(|slot| slot.cell.take())
        };
        left.is_some_and(|cell| {
            self.let_go(connection, &cell);
            true
        })
    }

    fn let_go(&self, connection: &Rc<Connection>, cell: &Rc<FacilityCell>) {
        let number = connection.number.get();
        let is_empty = {
            let mut state = cell.state.borrow_mut();
            if let Some(at) = state.viewers.iter().position(|(viewer, _)| *viewer == number) {
                state.viewers.swap_remove(at);
            }
            state.viewers.is_empty()
        };
        self.inbox.leave(cell.id);
        if is_empty && self.follow_all.get() == 0 {
            self.cells.borrow_mut().remove(&cell.id);
        }
    }

    /// Has a client follow all facilities that it may see.
    pub fn follow_all(&self, connection: &Rc<Connection>) {
        let before = connection.state().all.replace((0, true));
        if before.is_some() {
            return connection.flush(self); // it gets all of it again
        }
        self.follow_all.set(self.inbox.follow_all(true));
        if self.follow_all.get() > 1 {
            return connection.flush(self);
        }
        let mut touched = vec![connection.clone()];
        for facility in self.hub.parts.directory.by_name().iter() {
            let known = self.cells.borrow().get(&facility.id).cloned();
            match known {
                Some(cell) if cell.newest().is_some() => {
                    self.feed.borrow_mut().note(facility.id);
                }
                Some(_) => {}
                None => {
                    let cell = FacilityCell::new(facility.id);
                    self.cells.borrow_mut().insert(facility.id, cell.clone());
                    self.want(&cell, &mut touched);
                }
            }
        }
        touched.iter().for_each(|connection| connection.flush(self));
    }

    /// Has a client leave the subject of all facilities.
    pub fn leave_all(&self, connection: &Connection) -> bool {
        if connection.state().all.take().is_none() {
            return false;
        }
        self.follow_all.set(self.inbox.follow_all(false));
        if self.follow_all.get() == 0 {
            self.feed.borrow_mut().clear();
            self.cells.borrow_mut().retain(|_, cell| !cell.state.borrow().viewers.is_empty());
        }
        true
    }

    /// Has a client leave everything.
    pub(super) fn leave_everything(&self, connection: &Rc<Connection>) {
        self.leave_all(connection);
        let cells: Vec<_> = {
            let mut state = connection.state();
            state.totals = None;
            state.slots.iter_mut().filter_map(|slot| slot.cell.take()).collect()
        };
        cells.iter().for_each(|cell| self.let_go(connection, cell));
    }

    /// Puts together what has gathered.
    pub(super) fn gather(self: &Rc<Self>) {
        self.feed.borrow_mut().gather();
        self.look_at_totals(self.tick.get().is_multiple_of(ticks(1)));
    }

    /// What a client has that knows this entity tag.
    pub fn known(&self, id: Uuid, etag: &str) -> Known {
        let now_ms = self.hub.parts.server.now_ms();
        let facility = self.hub.parts.directory.get(id);
        let today = facility.map(|facility| facility.zone.today(now_ms).date);
        today.map_or_else(Known::default, |today| Known::of(etag, today))
    }

    /// Whether this is the name of the epoch that clients were told.
    pub fn is_in_epoch(&self, name: &str) -> bool {
        self.epoch.borrow().as_ref().is_some_and(|epoch| epoch.name() == name)
    }

    /// The present tick.
    pub fn ticks_now(&self) -> u64 {
        self.tick.get()
    }

    /// Whether the newest state of each of these facilities is exact as of an instant or later.
    pub fn are_exact(&self, facilities: &[Uuid], at_ms: i64) -> bool {
        let Some(proven_ms) = self.proven_ms.get().filter(|proven_ms| *proven_ms >= at_ms) else {
            return false;
        };
        let (cells, memory) = (self.cells.borrow(), &self.hub.parts.memory);
        facilities.iter().filter_map(|id| cells.get(id)).all(|cell| {
            let cell = cell.state.borrow();
            cell.is_gone || cell.exact_ms(memory, proven_ms).is_some_and(|exact| exact >= at_ms)
        })
    }

    /// Reads all that is committed of a facility by now. Returns whether it could be read; the next
    /// turn has it.
    pub async fn read_anew(&self, facility: Uuid) -> bool {
        let is_known = self.hub.read(facility, Least::Now, &self.inbox).await;
        self.turned.notified().await;
        is_known
    }

    /// Waits until this is so, for so many seconds at most, and looks after each turn. Returns
    /// whether it is.
    pub async fn wait_until(&self, seconds: u64, is_so: impl Fn() -> bool) -> bool {
        let until = self.tick.get() + ticks(seconds);
        loop {
            let turned = self.turned.notified();
            if is_so() {
                return true;
            }
            if self.tick.get() >= until {
                return false;
            }
            turned.await;
        }
    }
}

impl Connection {
    /// Ends the wait of a client that came back. `known` gives the tag of what it has, by the
    /// newest state and the beginning of its day; `None`: it gets the newest one.
    pub fn release(&self, known: impl Fn(&Pushed, i64) -> Option<u64>) {
        let mut held = Vec::new();
        for (at, slot) in self.state().slots.iter_mut().enumerate() {
            if slot.least != i64::MAX {
                continue;
            }
            slot.least = 0;
            held.push(at as u32);
            let Some(cell) = &slot.cell else { continue };
            let cell = cell.state.borrow();
            if let (Some(newest), Some(day)) = (&cell.newest, cell.day) {
                slot.sent = known(newest, day.start_ms);
            }
        }
        self.state().held = 0;
        for slot in held {
            self.mark(slot);
        }
    }
}
