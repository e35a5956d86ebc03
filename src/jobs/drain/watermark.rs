//! What a pass of the drain has come to know since its look, and what it may say about it.

use std::collections::HashSet;

use uuid::Uuid;

use crate::{
    cache::memory::FillToken,
    protocol::{Message, Position, Watermark},
    store::{DrainSnapshot, MarkKind},
};

/// A proof of the instant of a look, as far as it has come.
#[derive(Debug, Clone)]
pub struct WatermarkProof {
    at_ms: i64,
    /// Taken before the look.
    position: Position,
    generation: i64,
    dealt_with: bool,
    shown: bool,
    /// Facilities of which the look saw marks; and those marks of them, and notes, that tell of a
    /// change of the facility itself.
    marked: HashSet<Uuid>,
    told: HashSet<i64>,
    noted: HashSet<i64>,
    changed: HashSet<Uuid>,
}

impl WatermarkProof {
    /// Begins with what the pass looked at first.
    pub fn of(token: &FillToken, seen: &DrainSnapshot) -> Self {
        let of_facilities = || seen.marks.iter().filter(|mark| mark.kind == MarkKind::Facility);
        WatermarkProof {
            at_ms: seen.at_ms,
            position: token.position,
            generation: seen.generation,
            dealt_with: true,
            shown: true,
            marked: seen.marks.iter().filter_map(|mark| mark.facility_id).collect(),
            told: of_facilities().map(|mark| mark.id).collect(),
            noted: seen.changed_facilities.iter().map(|(id, _)| *id).collect(),
            changed: of_facilities().filter_map(|mark| mark.facility_id).collect(),
        }
    }

    /// The pass has looked again. Over another connection, be the server by now an earlier state of
    /// itself, nothing of the first look is to be stored. And where another generation has
    /// begun, what is gone from the outbox may have come by in that one only, which is
    /// nothing to those who follow the other on a Redis that takes itself for the primary still.
    pub fn look_again(&mut self, after: &DrainSnapshot) {
        self.dealt_with &= !after.arrived && !self.has_moved(after);
        self.shown &= after.generation == self.generation;
    }

    /// Whether one of the facilities that marks were about was changed between the looks. It may be
    /// in another zone by now, or gone: its marks were taken for what they mean there. As of
    /// the first look they meant another day, whose figures lack what they told.
    fn has_moved(&self, after: &DrainSnapshot) -> bool {
        let is_new = |id: &i64, known: &HashSet<i64>, facility: &Uuid| {
            self.marked.contains(facility) && !known.contains(id)
        };
        let by_mark =
            after.marks.iter().filter(|mark| mark.kind == MarkKind::Facility).any(|mark| {
                mark.facility_id.is_none_or(|facility| is_new(&mark.id, &self.told, &facility))
            });
        // Of those whose change the first look saw, this pass has left a note itself.
        by_mark
            || after.changed_facilities.iter().any(|(id, facility)| {
                !self.changed.contains(facility) && is_new(id, &self.noted, facility)
            })
    }

    /// Whether all of the marks, or of the expiries, of that look are dealt with.
    pub fn deal_with(&mut self, all: bool) {
        self.dealt_with &= all;
    }

    /// Whether all that lay in the outbox has come by in the stream: at that look, and again after
    /// marks and expiries were dealt with, be it by another server.
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
