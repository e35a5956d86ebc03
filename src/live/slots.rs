//! What is known of a client, and what waits for it.

use std::{collections::VecDeque, rc::Rc, sync::Arc, task::Waker};

use bytes::{Buf, Bytes};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::{cell::FacilityCell, hub::Seat, wire::Close};
use crate::access::{SignedIn, Visible};

/// A facility that the client follows.
pub struct Slot {
    /// What the shard has of it; `None` where the client has left it.
    pub cell: Option<Rc<FacilityCell>>,
    /// The tag of what the client has.
    pub sent: Option<u64>,
    /// The client has this version already: nothing older is shown.
    pub least: i64,
    /// A newer state waits.
    pub(super) is_waiting: bool,
}

impl Slot {
    /// Whether the client has a version of the day that this server has not.
    pub(super) fn is_ahead(&self) -> bool {
        let newest = self.cell.as_ref().and_then(|cell| cell.newest());
        newest.is_some_and(|newest| newest.entry.version < self.least)
    }
}

/// The totals that a client follows.
#[derive(Default)]
pub struct Totals {
    /// Those that wait.
    pub waiting: Option<Bytes>,
    /// The instant as of which the last ones are exact, in milliseconds. `None` before there are
    /// any, in this epoch, of the facilities that it may see now: then nothing is proven.
    pub as_of_ms: Option<i64>,
    /// The last ones, as a number: the same again are not sent.
    pub last: u64,
    /// They are being read.
    pub are_asked: bool,
}

/// What is known of a client.
pub struct State {
    /// The facilities that it follows.
    pub slots: Vec<Slot>,
    /// The slots in which something waits.
    pub(super) ready: VecDeque<u32>,
    /// Slots that wait until it is known what the client has.
    pub held: usize,
    pub(super) control: VecDeque<Bytes>,
    /// What is being sent.
    pub(super) unsent: VecDeque<Bytes>,
    /// A heartbeat is due.
    pub heartbeat: bool,
    /// It follows all facilities: up to where it has the feed, and whether more may be sent now.
    pub all: Option<(u64, bool)>,
    /// It follows the totals.
    pub totals: Option<Totals>,
    pub(super) close: Option<Close>,
    /// The last bytes are written.
    pub(super) is_over: bool,
    /// The socket takes no bytes now.
    pub is_blocked: bool,
    /// Who it is; `None` without sign-in, or before it has signed in.
    pub who: Option<Arc<SignedIn>>,
    /// The credential by which it signed in.
    pub credential: Box<str>,
    /// Which facilities it may see.
    pub visible: Visible,
    /// Its credential is being verified, or facilities that it named are looked up: what it has
    /// sent behind that waits.
    pub is_held_up: bool,
    /// By this tick it must have signed in.
    pub sign_in_by: Option<u64>,
    /// The tick at which it is closed, so that replicas even out.
    pub ends_at: u64,
    /// The tick of the last sign of life.
    pub heard_at: u64,
    /// Whether a ping waits for its pong.
    pub is_pinged: bool,
    /// The tick by which it must be gone.
    pub dead_at: u64,
    /// What is left of its messages, and the tick as of which.
    pub budget: (f64, u64),
    /// Its place among all clients.
    pub seat: Seat,
    pub(super) waker: Option<Waker>,
}

impl State {
    pub(super) fn new(seat: Seat, visible: Visible) -> Self {
        State {
            slots: Vec::new(),
            ready: VecDeque::new(),
            held: 0,
            control: VecDeque::new(),
            unsent: VecDeque::new(),
            heartbeat: false,
            all: None,
            totals: None,
            close: None,
            is_over: false,
            is_blocked: false,
            who: None,
            credential: Box::default(),
            visible,
            is_held_up: false,
            sign_in_by: None,
            ends_at: u64::MAX,
            heard_at: 0,
            is_pinged: false,
            dead_at: u64::MAX,
            budget: (0.0, 0),
            seat,
            waker: None,
        }
    }

    /// Whether the client has everything, of all facilities up to `last`.
    pub(super) fn nothing_waits(&self, last: u64) -> bool {
        self.held == 0 && self.nothing_is_ready(last)
    }

    /// Whether nothing is there to be sent, of all facilities up to `last`.
    pub(super) fn nothing_is_ready(&self, last: u64) -> bool {
        self.ready.is_empty() && self.all.is_none_or(|(seen, _)| seen >= last)
    }

    /// Whether the newest state of each facility that it follows was sent, as far as it has one.
    pub(super) fn has_newest(&self) -> bool {
        let mut slots = self.slots.iter().filter_map(|slot| Some((slot.sent, slot.cell.as_ref()?)));
        slots.all(|(sent, cell)| {
            let cell = cell.state.borrow();
            cell.is_gone || cell.newest.as_ref().is_some_and(|newest| sent == Some(newest.tag))
        })
    }

    /// The facilities that it follows, as a number: another one for others.
    pub(super) fn followed(&self) -> u64 {
        number_of(self.slots.iter().filter_map(|slot| Some(slot.cell.as_ref()?.id)))
    }

    pub(super) fn written(&mut self, mut count: usize) {
        while let Some(first) = self.unsent.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.unsent.pop_front();
        }
        self.unsent = VecDeque::new();
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The slot of a facility that it follows.
    pub(super) fn slot_of(&self, facility: Uuid) -> Option<u32> {
        let is_it = |slot: &Slot| slot.cell.as_ref().is_some_and(|cell| cell.id == facility);
        self.slots.iter().position(is_it).and_then(|at| u32::try_from(at).ok())
    }

    /// A new slot. Returns its number.
    pub fn add(&mut self, cell: Rc<FacilityCell>, known: Option<u64>, least: i64) -> u32 {
        self.held += usize::from(least == i64::MAX);
        let slot = Slot { cell: Some(cell), sent: known, least, is_waiting: false };
        let free = self.slots.iter().position(|slot| slot.cell.is_none() && !slot.is_waiting);
        let at = free.unwrap_or_else(|| {
            self.slots.push(Slot { cell: None, sent: None, least: 0, is_waiting: false });
            self.slots.len() - 1
        });
        self.slots[at] = slot;
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

/// A number for some facilities, each named once. The same one on every server, in any order.
pub fn number_of(facilities: impl Iterator<Item = Uuid>) -> u64 {
    facilities.fold(0, |number, id| number.wrapping_add(xxh3_64(id.as_bytes())))
}
