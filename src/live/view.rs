//! Somebody may see other facilities than before: the credential was renewed, or the facilities
//! that it names by the owner's keys were looked up again.

use std::{collections::BTreeSet, rc::Rc};

use serde_json::json;
use uuid::Uuid;

use super::{connection::Connection, shard::Shard, slots::Totals};
use crate::access::Visible;

/// The most facilities that one message names.
const NAMED: usize = 1_000;

impl Shard {
    /// From now on a client may see these facilities.
    pub fn show(&self, connection: &Rc<Connection>, visible: Visible) {
        let before = std::mem::replace(&mut connection.state().visible, visible);
        if before != connection.state().visible {
            self.changed_view(connection, &before);
        }
    }

    /// A client leaves the facilities that it may not see any more, and is told which; all and the
    /// totals become those of what it may see now. `before` is what it could see.
    fn changed_view(&self, connection: &Rc<Connection>, before: &Visible) {
        let (now, follows_all) = {
            let state = connection.state();
            (state.visible.clone(), state.all.is_some())
        };
        let mut hidden: BTreeSet<Uuid> = {
            let state = connection.state();
            let cells = state.slots.iter().filter_map(|slot| slot.cell.as_ref());
            cells.map(|cell| cell.id).filter(|id| !now.has(*id)).collect()
        };
        for id in &hidden {
            self.leave(connection, *id);
        }
        if follows_all {
            let is_wider = self.look_at_all(before, &now, &mut hidden);
            if is_wider {
                connection.state().all = Some((0, true));
                // What was put together before may be older than what this client has.
                self.feed.borrow_mut().gather();
            }
        }
        if let Some(totals) = &mut connection.state().totals {
            *totals = Totals::default();
            self.wants_totals.set(true);
        }
        let hidden: Vec<Uuid> = hidden.into_iter().collect();
        for some in hidden.chunks(NAMED) {
            let detail = "These facilities are not among those that you may see any more.";
            let told = json!({ "code": "forbidden", "facilities": some, "detail": detail });
            connection.raw_control(connection.transport.dropping("error", told));
        }
    }

    /// Adds what is hidden now of all facilities; returns whether others are visible now.
    fn look_at_all(&self, before: &Visible, now: &Visible, hidden: &mut BTreeSet<Uuid>) -> bool {
        let mut is_wider = false;
        for (id, cell) in &*self.cells.borrow() {
            match (before.has(*id), now.has(*id)) {
                (true, false) if cell.state.borrow().is_shown => {
                    hidden.insert(*id);
                }
                (false, true) => is_wider = true,
                _ => {}
            }
        }
        is_wider
    }
}
