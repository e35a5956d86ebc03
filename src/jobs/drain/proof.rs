//! What a pass of the drain has come to know since its look, and what it may say about it.

use crate::{
    cache::memory::Vantage,
    changes::{Message, Position},
    store::{Observation, Watermark},
};

/// A proof of the instant of a look, as far as it has come.
#[derive(Debug, Clone)]
pub struct Proof {
    at_ms: i64,
    /// Taken before the look.
    position: Position,
    generation: i64,
    dealt_with: bool,
    shown: bool,
}

impl Proof {
    /// Begins with what the pass looked at first.
    pub fn of(vantage: &Vantage, seen: &Observation) -> Self {
        Proof { at_ms: seen.at_ms, position: vantage.position, generation: seen.generation, dealt_with: true, shown: true }
    }

    /// The pass has looked again. Over another connection, be the server by now an earlier state of itself, nothing of the first look is
    /// to be stored. And where another generation has begun, what is gone from the outbox may have come by in that one only, which is
    /// nothing to those who follow the other on a Redis that takes itself for the primary still.
    pub fn look_again(&mut self, after: &Observation) {
        self.dealt_with &= !after.arrived;
        self.shown &= after.generation == self.generation;
    }

    /// Whether all of the marks, or of the expiries, of that look are dealt with.
    pub fn deal_with(&mut self, all: bool) {
        self.dealt_with &= all;
    }

    /// Whether all that lay in the outbox has come by in the stream: at that look, and again after marks and expiries were dealt with,
    /// be it by another server.
    pub fn show(&mut self, all: bool) {
        self.shown &= all;
    }

    /// For those who read the table: every row of it is exact as of then.
    pub fn watermark(&self) -> Option<Watermark> {
        self.dealt_with.then_some(Watermark { at_ms: self.at_ms, position: self.position })
    }

    /// For those who follow the stream, once the watermark is stored.
    pub fn announcement(&self) -> Option<Message> {
        (self.dealt_with && self.shown).then_some(Message::Watermark { at_ms: self.at_ms })
    }
}
