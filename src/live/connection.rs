//! One client: what waits for it, and in which order it is sent.

use std::{
    cell::{Cell, RefCell, RefMut},
    io::{ErrorKind, IoSlice, Result as IoResult},
    rc::Rc,
    task::Waker,
};

use bytes::Bytes;
use serde_json::Value;

use super::{
    hub::Seat,
    shard::Shard,
    slots::{State, Totals},
    wire::{self, Close, Transport},
};
use crate::access::Visible;

/// Writes bytes as far as that is possible at once.
pub trait Wire {
    /// Returns how many were written; `WouldBlock` where none can be now.
    ///
    /// # Errors
    /// The connection is lost.
    fn try_write(&self, parts: &[IoSlice<'_>]) -> IoResult<usize>;
}

/// A client.
pub struct Connection {
    /// How it is connected.
    pub transport: Transport,
    /// Its place in the shard.
    pub number: Cell<usize>,
    wire: Option<Box<dyn Wire>>,
    state: RefCell<State>,
}

/// What goes before what. Alerts have their place: they come before figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Control,
    Figures,
    All,
    Totals,
    /// Last: it says that nothing is missing.
    Proof,
}

const ORDER: [Rank; 5] = [Rank::Control, Rank::Figures, Rank::All, Rank::Totals, Rank::Proof];
/// The most bytes, and messages, that are put together for one write.
const WRITE: usize = 16 << 10;
const PARTS: usize = 32;
/// The most control messages that wait: a client that makes more of them reads nothing.
const MOST_CONTROL: usize = 128;

impl Connection {
    /// A client that follows nothing yet. `wire` writes to its socket; `None` where its body is
    /// asked for the bytes.
    pub fn new(
        transport: Transport,
        wire: Option<Box<dyn Wire>>,
        seat: Seat,
        visible: Visible,
    ) -> Rc<Self> {
        Rc::new(Connection {
            transport,
            number: Cell::new(usize::MAX),
            wire,
            state: RefCell::new(State::new(seat, visible)),
        })
    }

    /// What is known of it.
    pub fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// A message that goes before all figures.
    pub fn control(&self, name: &str, members: Value) {
        self.raw_control(self.transport.of(name, members));
    }

    /// The same, encoded.
    pub fn raw_control(&self, message: Bytes) {
        let mut state = self.state();
        if state.close.is_none() {
            state.control.push_back(message);
            if state.control.len() > MOST_CONTROL {
                state.is_over = true;
            }
        }
    }

    /// Says that something is wrong.
    pub fn error(&self, code: &str, detail: &str) {
        self.control("error", serde_json::json!({ "code": code, "detail": detail }));
    }

    /// Ends it, once what it is told before is written.
    pub fn end(&self, close: Close, tick: u64) {
        let mut state = self.state();
        if state.close.is_none() {
            state.close = Some(close);
            state.ready.clear();
            state.totals = None;
            state.dead_at = tick + super::shard::ticks(3);
            if self.transport == Transport::Websocket {
                state.control.push_back(close.frame());
            }
        }
    }

    /// Ends it at once.
    pub fn kill(&self) {
        let mut state = self.state();
        state.is_over = true;
        state.dead_at = 0;
        state.wake();
    }

    /// Whether it ends.
    pub fn is_ending(&self) -> bool {
        let state = self.state();
        state.close.is_some() || state.is_over
    }

    /// Whether its last bytes are written, or it was killed.
    pub fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// What it has sent since it was held up goes on.
    pub fn goes_on(&self) {
        let mut state = self.state();
        state.is_held_up = false;
        state.wake();
    }

    /// Wakes whoever writes, later.
    pub fn wait(&self, waker: &Waker) {
        let mut state = self.state();
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
    }

    /// A newer state waits in a slot. Returns whether it takes the place of one that waited.
    pub fn mark(&self, slot: u32) -> bool {
        let mut state = self.state();
        let Some(at) = state.slots.get_mut(slot as usize) else { return false };
        let Some(newest) = at.cell.as_ref().and_then(|cell| cell.newest()) else { return false };
        if at.sent == Some(newest.tag) || newest.entry.version < at.least {
            return false;
        }
        if std::mem::replace(&mut at.is_waiting, true) {
            return true;
        }
        state.ready.push_back(slot);
        false
    }

    /// The next bytes, as they are to be written; `None`: nothing waits.
    pub fn fill(&self, shard: &Shard) {
        let (mut bytes, mut messages) = (0, 0u64);
        for rank in ORDER {
            while bytes < WRITE && self.state.borrow().unsent.len() < PARTS {
                let Some(more) = self.next(rank, shard) else { break };
                messages += 1;
                bytes += more.len();
                self.state().unsent.push_back(more);
            }
        }
        if messages == 0 {
            let mut state = self.state();
            if state.close.is_some() && state.unsent.is_empty() {
                state.is_over = true;
            }
            return;
        }
        let metrics = shard.cells_of(self.transport);
        metrics.messages.inc_by(messages);
        metrics.bytes.inc_by(bytes as u64);
    }

    fn next(&self, rank: Rank, shard: &Shard) -> Option<Bytes> {
        match rank {
            Rank::Control => self.state().control.pop_front(),
            Rank::Figures => self.next_figure(shard),
            Rank::All => shard.next_of_all(self),
            Rank::Totals => self.state().totals.as_mut()?.waiting.take(),
            Rank::Proof => {
                let mut state = self.state();
                // What is ready might be older than what it says. Of facilities that are held it
                // proves nothing.
                let is_due = state.heartbeat
                    && state.nothing_is_ready(shard.last_of_all())
                    && state.close.is_none();
                if !is_due {
                    return None;
                }
                state.heartbeat = false;
                Some(shard.heartbeat(self.transport, &state))
            }
        }
    }

    fn next_figure(&self, shard: &Shard) -> Option<Bytes> {
        let mut state = self.state();
        loop {
            let at = state.ready.pop_front()?;
            let slot = state.slots.get_mut(at as usize)?;
            slot.is_waiting = false;
            let Some(newest) = slot.cell.as_ref().and_then(|cell| cell.newest()) else { continue };
            let before = slot.sent.replace(newest.tag);
            if before == Some(newest.tag) {
                continue;
            }
            let message = newest.message(self.transport);
            if before.is_some() {
                let delay = newest.taken.elapsed().as_secs_f64();
                shard.cells_of(self.transport).delay.observe(delay);
            }
            return Some(match self.transport {
                Transport::Websocket => message,
                Transport::Sse => shard.with_id(message, &state),
            });
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&self, shard: &Shard) {
        let Some(wire) = &self.wire else {
            return self.state().wake();
        };
        if self.state.borrow().is_blocked {
            return;
        }
        loop {
            if self.state.borrow().unsent.is_empty() {
                self.fill(shard);
            }
            let mut state = self.state();
            if state.is_over || state.unsent.is_empty() {
                if state.is_over {
                    state.wake();
                }
                return;
            }
            let parts: Vec<IoSlice<'_>> = state.unsent.iter().map(|b| IoSlice::new(b)).collect();
            match wire.try_write(&parts) {
                Ok(count) => state.written(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.is_blocked = true;
                    return state.wake();
                }
                Err(_) => {
                    state.is_over = true;
                    state.dead_at = 0;
                    return state.wake();
                }
            }
        }
    }

    /// All bytes that wait, for a body that is asked for them.
    pub fn pull(&self, shard: &Shard) -> Option<Bytes> {
        self.fill(shard);
        let mut state = self.state();
        let parts = std::mem::take(&mut state.unsent);
        (!parts.is_empty()).then(|| match parts.len() {
            1 => parts[0].clone(),
            _ => parts.iter().flatten().copied().collect(),
        })
    }

    /// Sends a ping, or finds the client dead: it has not answered the last one.
    pub fn ping(&self, tick: u64) {
        let mut state = self.state();
        state.is_pinged = true;
        state.dead_at = state.dead_at.min(tick + super::shard::ticks(10));
        state.control.push_back(wire::ping());
    }

    /// Another epoch: nothing that was sent counts.
    pub fn forget_sent(&self) {
        let mut state = self.state();
        state.ready.clear();
        for slot in &mut state.slots {
            (slot.sent, slot.is_waiting, slot.least) = (None, false, 0);
        }
        if let Some(all) = &mut state.all {
            all.0 = 0;
        }
        if let Some(totals) = &mut state.totals {
            *totals = Totals::default();
        }
    }
}
