//! What a pass of the drain has proven since its drain snapshot, and what it may announce.

use std::collections::HashSet;

use uuid::Uuid;

use crate::{
    cache::memory::FillToken,
    protocol::{Message, Position, Watermark},
    store::{DrainSnapshot, MarkKind},
};

/// The proof for the instant of a drain snapshot, as far as the pass has come.
#[derive(Debug, Clone)]
pub struct WatermarkProof {
    at_ms: i64,
    /// This server's position in the stream before the snapshot.
    position: Position,
    generation: i64,
    /// Everything that the snapshot shows is refreshed.
    dealt_with: bool,
    /// Everything in the outbox has come by in the stream.
    shown: bool,
    /// The facilities that the snapshot shows marks of.
    marked: HashSet<Uuid>,
    /// The marks in the snapshot that say that a facility itself changed.
    told: HashSet<i64>,
    /// The notes in the snapshot, which say the same.
    noted: HashSet<i64>,
    /// The facilities of those marks.
    changed: HashSet<Uuid>,
}

impl WatermarkProof {
    /// Begins the proof with the first drain snapshot of a pass.
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

    /// Takes the second drain snapshot of the pass into account. When it came over a new
    /// connection, the server may be an earlier state of the database, so nothing of the first
    /// snapshot may be stored. When another generation has begun, what is gone from the outbox may
    /// have come by in that generation only. It then does not count for the followers of the
    /// earlier generation: their Redis may still take itself for the primary.
    pub fn look_again(&mut self, after: &DrainSnapshot) {
        self.dealt_with &= !after.arrived && !self.has_moved(after);
        self.shown &= after.generation == self.generation;
    }

    /// Whether a facility that marks named has changed between the snapshots. It may now be in
    /// another zone, or gone. Its marks were then processed as days of the new zone. At the first
    /// snapshot they meant other days, and the figures of those days lack the changes.
    fn has_moved(&self, after: &DrainSnapshot) -> bool {
        let is_new = |id: &i64, known: &HashSet<i64>, facility: &Uuid| {
            self.marked.contains(facility) && !known.contains(id)
        };
        let by_mark =
            after.marks.iter().filter(|mark| mark.kind == MarkKind::Facility).any(|mark| {
                mark.facility_id.is_none_or(|facility| is_new(&mark.id, &self.told, &facility))
            });
        // When the first snapshot showed the change of a facility, its note may be one that this
        // pass has left itself.
        by_mark
            || after.changed_facilities.iter().any(|(id, facility)| {
                !self.changed.contains(facility) && is_new(id, &self.noted, facility)
            })
    }

    /// Records whether all marks, or all expiries, of the snapshot are processed.
    pub fn deal_with(&mut self, all: bool) {
        self.dealt_with &= all;
    }

    /// Records whether everything in the outbox has come by in the stream: once for the first
    /// snapshot, and again after marks and expiries were processed, by this server or another.
    pub fn show(&mut self, all: bool) {
        self.shown &= all;
    }

    /// The watermark for readers of the table: every row is exact as of then.
    pub fn watermark(&self) -> Option<Watermark> {
        self.dealt_with.then_some(Watermark { at_ms: self.at_ms, position: self.position })
    }

    /// The message for followers of the stream; it is sent after the watermark is stored.
    pub fn announcement(&self) -> Option<Message> {
        (self.dealt_with && self.shown).then_some(Message::Watermark { at_ms: self.at_ms })
    }
}
