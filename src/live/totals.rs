//! The totals of all facilities, for clients that follow them. They are those of the list, so that
//! both are the same, and so is the instant as of which they are exact. They are read when
//! something has changed, and each second, so that heartbeats can prove them as they stay: they may
//! change also where memory takes nothing in, at a midnight or with a facility.

use std::{collections::HashMap, rc::Rc};

use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use super::{connection::Connection, server::FoundTotals, shard::Shard, wire};
use crate::access::Visible;

/// A count of states that is never reached, so that totals are looked at again.
const LOOK_AGAIN: u64 = u64::MAX;

/// The same text for the same facilities, and another one for others.
pub(super) fn name_of(visible: &Visible) -> &str {
    match visible {
        Visible::All => "",
        Visible::Only(only) => &only.name,
    }
}

impl Shard {
    /// Has a client follow the totals.
    pub fn follow_totals(self: &Rc<Self>, connection: &Rc<Connection>) {
        let visible = {
            let mut state = connection.state();
            state.totals.get_or_insert_default().are_asked = true;
            state.visible.clone()
        };
        self.send_totals(visible, vec![connection.clone()]);
    }

    /// Reads the totals for all that follow them, where something has changed or `is_due`, and for
    /// those that have none yet of what they may see.
    pub(super) fn look_at_totals(self: &Rc<Self>, is_due: bool) {
        let taken = self.hub.taken();
        let has_changed = self.totals_of.replace(taken) != taken;
        let are_wanted = self.wants_totals.take();
        if !has_changed && !is_due && !are_wanted {
            return;
        }
        let mut groups: HashMap<String, (Visible, Vec<Rc<Connection>>)> = HashMap::new();
        for connection in self.everybody() {
            let visible = {
                let mut state = connection.state();
                let Some(totals) = &mut state.totals else { continue };
                let lacks_some = totals.as_of_ms.is_none() || is_due;
                if !has_changed && (totals.are_asked || !lacks_some) {
                    continue;
                }
                totals.are_asked = true;
                state.visible.clone()
            };
            let group = groups.entry(name_of(&visible).to_owned());
            group.or_insert_with(|| (visible, Vec::new())).1.push(connection);
        }
        for (visible, connections) in groups.into_values() {
            self.send_totals(visible, connections);
        }
    }

    fn send_totals(self: &Rc<Self>, visible: Visible, to: Vec<Rc<Connection>>) {
        let shard = self.clone();
        let epoch = shard.count.get();
        tokio::task::spawn_local(async move {
            let found = shard.hub.parts.server.clone().read_totals(visible.clone()).await;
            if found.as_ref().is_some_and(|found| found.may_lag) {
                shard.totals_of.set(LOOK_AGAIN);
            }
            let counts = epoch == shard.count.get() && shard.unsettled.get().is_none();
            let found = found.filter(|_| counts);
            for connection in to {
                shard.take_totals(&connection, &visible, found.as_ref());
                connection.flush(&shard);
            }
        });
    }

    /// Gives a client the totals of what it could see when they were asked for; `None` where they
    /// could not be had.
    fn take_totals(&self, connection: &Connection, of: &Visible, found: Option<&FoundTotals>) {
        let mut state = connection.state();
        if name_of(&state.visible) != name_of(of) {
            return; // it may see something else by now, and that was asked for
        }
        let Some(totals) = &mut state.totals else { return };
        totals.are_asked = false;
        let Some(found) = found else {
            if totals.as_of_ms.is_none() {
                self.wants_totals.set(true);
            }
            return;
        };
        if totals.as_of_ms.is_some_and(|as_of_ms| as_of_ms > found.as_of_ms) {
            return; // they were asked for before those that are there
        }
        let number = xxh3_64(found.totals.to_string().as_bytes());
        if totals.as_of_ms.is_none() || totals.last != number {
            let as_of = wire::instant(Some(found.as_of_ms));
            let message = json!({ "totals": found.totals, "as_of": as_of });
            totals.waiting = Some(connection.transport.of("totals", message));
        }
        (totals.as_of_ms, totals.last) = (Some(found.as_of_ms), number);
    }
}
