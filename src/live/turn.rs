//! What a shard does when something has come: it hands it to the clients that follow it.

use std::{collections::HashSet, rc::Rc, sync::Arc};

use serde_json::json;
use uuid::Uuid;

use super::{
    cell::{FacilityCell, Taken},
    connection::Connection,
    loader::Loaded,
    pushed::Pushed,
    server::NotFound,
    shard::{Shard, ticks},
    wire::Close,
};

/// The clients for which something new waits.
pub(super) type Touched = Vec<Rc<Connection>>;

impl Shard {
    /// Takes what has come, and writes it.
    pub fn turn(&self) {
        // Both are loaded before what they are said of is taken.
        let proven_ms = self.hub.proven_ms();
        let position = self.hub.parts.memory.fill_token().position;
        let got = self.inbox.take();
        let mut touched = Touched::new();
        if got.drains {
            self.farewell();
        }
        let is_settled = self.look_at_epoch(&mut touched);
        if got.broke && is_settled {
            self.want_all(&mut touched);
        }
        for facility in got.facilities {
            self.place(facility, &mut touched);
        }
        if is_settled {
            let now_ms = self.hub.parts.server.now_ms();
            for pushed in got.changes.into_values() {
                self.change(&pushed, now_ms, &mut touched);
            }
        }
        for loaded in got.loaded {
            self.loaded(loaded, &mut touched);
        }
        self.position.set(position);
        self.proven_ms.set(proven_ms.filter(|_| is_settled));
        touched.iter().for_each(|connection| connection.flush(self));
        self.turned.notify_waiters();
    }

    /// Whether it is known which epoch is served. Another one begins here: clients are told, and
    /// nothing of the one before counts.
    fn look_at_epoch(&self, touched: &mut Touched) -> bool {
        let count = self.hub.parts.memory.epoch_count();
        let served = self.hub.parts.directory.served().load_full();
        let is_other = served != *self.epoch.borrow();
        let tick = self.tick.get();
        if count != self.count.get() || (is_other && self.unsettled.get().is_none()) {
            self.count.set(count);
            self.unsettled.set(Some(tick));
            self.cells.borrow().values().for_each(|cell| cell.state.borrow_mut().clear(true));
            self.feed.borrow_mut().clear();
        }
        let Some(since) = self.unsettled.get() else { return true };
        if is_other && tick > since + 1 {
            *self.epoch.borrow_mut() = served;
            self.cells.borrow().values().for_each(|cell| cell.state.borrow_mut().clear(false));
            for connection in self.everybody() {
                connection.forget_sent();
                let detail = "The database has failed over or was restored: what was shown before \
                              does not count.";
                let epoch = json!({ "epoch": self.epoch_name(), "detail": detail });
                connection.control("epoch", epoch);
                touched.push(connection);
            }
        } else if is_other || tick < since + ticks(3) {
            return false;
        }
        self.unsettled.set(None);
        self.wants_totals.set(true);
        self.want_all(touched);
        true
    }

    pub(super) fn want_all(&self, touched: &mut Touched) {
        let memory = &self.hub.parts.memory;
        let is_attached = self.hub.parts.server.is_attached();
        let tick = self.tick.get();
        let cells: Vec<_> = self.cells.borrow().values().cloned().collect();
        for cell in cells {
            if cell.state.borrow().wants_read(memory, is_attached, tick) {
                self.want(&cell, touched);
            }
        }
    }

    /// Has a facility read, unless it is being read.
    pub(super) fn want(&self, cell: &Rc<FacilityCell>, touched: &mut Touched) {
        if self.unsettled.get().is_some() || cell.state.borrow().loading {
            return;
        }
        let least = {
            let state = cell.state.borrow();
            // Others get what is there, while a version is waited for that one client names.
            if state.newest.is_some() { state.least } else { 0 }
        };
        match self.hub.load_from_memory(cell.id, least) {
            Some(loaded) => self.loaded(loaded, touched),
            None => {
                cell.state.borrow_mut().loading = true;
                self.hub.load(cell.id, least, self.inbox.clone());
            }
        }
    }

    fn loaded(&self, loaded: Loaded, touched: &mut Touched) {
        let Some(cell) = self.cells.borrow().get(&loaded.facility).cloned() else { return };
        let retry_tick = self.tick.get() + ticks(1);
        let mut state = cell.state.borrow_mut();
        state.loading = false;
        state.retry_tick = retry_tick;
        if loaded.epoch != self.count.get() || self.unsettled.get().is_some() {
            return;
        }
        let facility = self.hub.parts.directory.get(cell.id);
        let (day, pushed) = match loaded.result {
            Ok(read) => read,
            Err(NotFound::Unavailable) => return,
            Err(NotFound::Gone) if facility.is_some() => return, // it is back; it is read again
            Err(NotFound::Gone) => {
                drop(state);
                return self.gone(&cell, touched);
            }
        };
        let now_ms = self.hub.parts.server.now_ms();
        if facility.is_none_or(|facility| facility.zone.today(now_ms) != day) {
            return; // it is read again
        }
        let mut up_to = loaded.least;
        if state.day != Some(day) {
            if state.begin(day) {
                up_to = i64::MAX;
            }
            state.retry_tick = retry_tick;
        }
        state.is_doubtful = false;
        let taken = state.take(&pushed);
        if state.least <= up_to {
            state.least = 0;
        }
        drop(state);
        self.forget_least(&cell, up_to);
        if taken != Taken::Old || up_to > 0 {
            self.hand_out(&cell, taken == Taken::New, touched);
        }
    }

    /// Clients that have a version up to this one are shown older ones, too: it is of another day,
    /// or of another history, as it was waited for in vain.
    fn forget_least(&self, cell: &FacilityCell, up_to: i64) {
        if up_to == 0 {
            return;
        }
        for (number, slot) in &cell.state.borrow().viewers {
            let Some(connection) = self.connection(*number) else { continue };
            let mut state = connection.state();
            let slot = state.slots.get_mut(*slot as usize);
            if let Some(slot) = slot.filter(|slot| slot.least <= up_to && slot.least != i64::MAX) {
                slot.least = 0;
            }
        }
    }

    /// A state that memory has taken in.
    fn change(&self, pushed: &Arc<Pushed>, now_ms: i64, touched: &mut Touched) {
        if pushed.epoch != self.count.get() {
            return;
        }
        let Some(cell) = self.cells.borrow().get(&pushed.facility).cloned() else { return };
        let facility = self.hub.parts.directory.get(cell.id);
        let today = facility.map(|facility| facility.zone.today(now_ms));
        let is_as_noted = || today.is_some() && cell.state.borrow().day == today;
        // Also before it was read: what is read then may be older.
        if !is_as_noted() {
            self.place(cell.id, touched);
        }
        if !is_as_noted() {
            return; // a late change of a facility that was removed
        }
        let taken = cell.state.borrow_mut().take(pushed);
        if taken == Taken::New {
            self.hand_out(&cell, true, touched);
        }
    }

    fn hand_out(&self, cell: &Rc<FacilityCell>, is_new: bool, touched: &mut Touched) {
        if is_new && self.follow_all.get() > 0 {
            self.feed.borrow_mut().note(cell.id);
        }
        let mut dropped = 0;
        for (number, slot) in &cell.state.borrow().viewers {
            if let Some(connection) = self.connection(*number) {
                dropped += u64::from(connection.mark(*slot));
                touched.push(connection);
            }
        }
        self.hub.parts.metrics.live_dropped.inc_by(dropped);
    }

    /// A facility was registered, changed or removed, or its day is over.
    pub(super) fn place(&self, id: Uuid, touched: &mut Touched) {
        let known = self.cells.borrow().get(&id).cloned();
        let cell = match known {
            Some(cell) => cell,
            None if self.follow_all.get() > 0 => {
                self.cells.borrow_mut().entry(id).or_insert_with(|| FacilityCell::new(id)).clone()
            }
            None => return,
        };
        let now_ms = self.hub.parts.server.now_ms();
        let today = self.hub.parts.directory.get(id).map(|facility| facility.zone.today(now_ms));
        if today.is_none() && cell.state.borrow().is_gone {
            return; // it is still gone: to read it would tell of it again
        }
        let is_other_day = {
            let mut state = cell.state.borrow_mut();
            state.is_gone = false;
            match today {
                Some(day) if state.day != Some(day) => state.begin(day),
                // That a day has no row holds only until the facility is named.
                _ => {
                    state.is_doubtful = true;
                    false
                }
            }
        };
        if is_other_day {
            self.forget_least(&cell, i64::MAX);
        }
        self.want(&cell, touched);
    }

    /// A facility was removed.
    fn gone(&self, cell: &Rc<FacilityCell>, touched: &mut Touched) {
        let (viewers, was_shown) = {
            let mut state = cell.state.borrow_mut();
            let was_shown = state.is_shown;
            state.clear(false);
            state.is_gone = true;
            let viewers: HashSet<usize> = state.viewers.iter().map(|(viewer, _)| *viewer).collect();
            (viewers, was_shown)
        };
        let shows_it = |connection: &Rc<Connection>| {
            let state = connection.state();
            viewers.contains(&connection.number.get())
                || (was_shown && state.all.is_some() && state.visible.has(cell.id))
        };
        for connection in self.everybody().into_iter().filter(shows_it) {
            let detail = "There is no such facility, or it was removed.";
            let told = json!({
                "code": "unknown_facility", "facility_id": cell.id, "detail": detail,
            });
            connection.control("error", told);
            touched.push(connection);
        }
    }

    /// Tells all clients to come back later, each at a time of its own.
    fn farewell(&self) {
        for connection in self.everybody() {
            self.send_away(&connection);
            connection.flush(self);
        }
    }

    /// Tells a client to come back later.
    pub fn send_away(&self, connection: &Rc<Connection>) {
        let spread_ms = self.hub.parts.settings.drain_spread_seconds * 1_000;
        let retry_ms = rand::random_range(0..=spread_ms);
        self.part(connection, "draining", retry_ms, Close::Draining, json!({}));
    }
}
