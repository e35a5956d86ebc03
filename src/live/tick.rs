//! What a shard does at each tick: heartbeats, pings, midnights, and what is over.

use std::rc::Rc;

use serde_json::json;

use super::{
    connection::Connection,
    shard::{Shard, stalled, ticks},
    turn::Touched,
    wire::{self, Close, Transport},
};

/// Ticks between two gatherings of the changes of all facilities: a quarter of a second.
const GATHER: u64 = 5;
/// Ticks that a loss must last before clients are told.
const LOST_FOR: u64 = 3;
/// Seconds between two pings.
const PING: u64 = 25;

impl Shard {
    /// What is due at a tick, after the turn.
    pub fn tick(self: &Rc<Self>) {
        let tick = self.tick.get() + 1;
        self.tick.set(tick);
        let mut touched = Touched::new();
        self.tell_losses(&mut touched);
        if tick.is_multiple_of(ticks(1)) {
            self.look_at_cells(&mut touched);
        }
        let gathers = tick.is_multiple_of(GATHER);
        if gathers {
            self.gather();
        }
        for connection in self.everybody() {
            if self.look_at(&connection, tick, gathers) {
                touched.push(connection);
            }
        }
        touched.iter().for_each(|connection| connection.flush(self));
    }

    /// Midnights, and what has to be read again.
    fn look_at_cells(&self, touched: &mut Touched) {
        let now_ms = self.hub.parts.server.now_ms();
        let over: Vec<_> = {
            let cells = self.cells.borrow();
            let is_over = |cell: &&Rc<super::cell::FacilityCell>| {
                cell.state.borrow().day.is_some_and(|day| !day.contains(now_ms))
            };
            cells.values().filter(is_over).map(|cell| cell.id).collect()
        };
        over.into_iter().for_each(|id| self.place(id, touched));
        self.want_all(touched);
    }

    /// Tells clients when nothing can be proven any more, and when it can be again.
    fn tell_losses(&self, touched: &mut Touched) {
        let tick = self.tick.get();
        let lost = match self.unsettled.get() {
            Some(_) => Some("epoch"),
            None => self.hub.lost(),
        };
        match (lost, self.lost.get()) {
            (None, None) => self.lost_since.set(None),
            (Some(reason), None) => {
                let since = self.lost_since.get().unwrap_or(tick);
                self.lost_since.set(Some(since));
                if tick >= since + LOST_FOR {
                    let lost = (self.proven_ms.get().or(self.hub.proven_ms()), reason);
                    self.lost.set(Some(lost));
                    self.tell_all("stalled", &stalled(lost), touched);
                }
            }
            (None, Some((since_ms, _))) => {
                self.lost.set(None);
                self.lost_since.set(None);
                let told = json!({ "since": wire::instant(since_ms), "now": self.now() });
                self.tell_all("resumed", &told, touched);
                self.everybody().iter().for_each(|one| one.state().heartbeat = true);
            }
            (Some(_), Some(_)) => {}
        }
    }

    fn tell_all(&self, name: &str, members: &serde_json::Value, touched: &mut Touched) {
        let messages = [Transport::Websocket, Transport::Sse]
            .map(|transport| transport.of(name, members.clone()));
        for connection in self.everybody() {
            connection.raw_control(messages[connection.transport as usize].clone());
            touched.push(connection);
        }
    }

    /// Whether something waits for the client by now.
    fn look_at(self: &Rc<Self>, connection: &Rc<Connection>, tick: u64, gathers: bool) -> bool {
        let number = connection.number.get() as u64;
        let mut is_touched = false;
        let (is_dead, is_late, is_old, is_silent) = {
            let mut state = connection.state();
            let every = ticks(self.hub.parts.settings.heartbeat_seconds);
            if number % every == tick % every {
                state.heartbeat = true;
                is_touched = true;
            }
            if gathers && let Some((seen, is_due)) = &mut state.all {
                *is_due = *is_due || *seen < self.feed.borrow().last();
                is_touched |= *is_due;
            }
            (
                tick >= state.dead_at,
                state.sign_in_by.is_some_and(|by| tick >= by) && !state.is_held_up,
                tick >= state.ends_at,
                !state.is_pinged && tick >= state.heard_at + ticks(PING),
            )
        };
        if is_dead {
            connection.kill();
            return false;
        }
        if is_late {
            let detail = "No credential came in time: send {\"type\":\"auth\",\"token\":…} first.";
            connection.error("unauthorized", detail);
            connection.end(Close::Refused, tick);
            return true;
        }
        if is_old && !connection.is_ending() {
            self.part(connection, "draining", 0, Close::Draining, json!({"reason": "max_age"}));
            return true;
        }
        if is_silent && connection.transport == Transport::Websocket && !connection.is_ending() {
            connection.ping(tick);
            is_touched = true;
        }
        if number % ticks(1) == tick % ticks(1) {
            self.recheck(connection);
        }
        is_touched
    }

    /// Says why a client has to go, and when it may come back.
    pub(super) fn part(
        &self,
        connection: &Rc<Connection>,
        name: &str,
        retry_ms: u64,
        close: Close,
        mut members: serde_json::Value,
    ) {
        if connection.is_ending() {
            return;
        }
        members["retry_ms"] = retry_ms.into();
        if connection.transport == Transport::Sse {
            // A browser comes back by itself after this time, and no sooner than in a second.
            let retry = format!("retry: {}\n", retry_ms.max(1_000));
            connection.raw_control(retry.into());
        }
        connection.control(name, members);
        connection.end(close, self.tick.get());
    }
}
