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
    is_processed: bool,
    /// Everything in the outbox is published.
    is_published: bool,
    /// The facilities that the snapshot shows marks of.
    marked: HashSet<Uuid>,
    /// The snapshot shows a mark of all facilities.
    are_all_marked: bool,
    /// The marks in the snapshot that say that a facility itself changed.
    facility_marks: HashSet<i64>,
    /// The notes in the snapshot, which also say that a facility changed.
    notes: HashSet<i64>,
    /// The facilities that `facility_marks` name.
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
            is_processed: true,
            is_published: true,
            marked: seen.marks.iter().filter_map(|mark| mark.facility_id).collect(),
            are_all_marked: seen.marks.iter().any(|mark| mark.facility_id.is_none()),
            facility_marks: of_facilities().map(|mark| mark.id).collect(),
            notes: seen.changed_facilities.iter().map(|(id, _)| *id).collect(),
            changed: of_facilities().filter_map(|mark| mark.facility_id).collect(),
        }
    }

    /// Compares the second drain snapshot of the pass with the first one, and drops what no longer
    /// holds. A snapshot shows at most `limit` marks, and as many notes.
    ///
    /// - The second one came over a new connection: that server may have an earlier state of the
    ///   database. The pass then proves nothing, and no watermark is stored.
    /// - The second one is of an earlier instant: the database's clock was set back, and changes at
    ///   the first instant are yet to come.
    /// - A facility has moved between the two (see `has_moved`), or the second one shows so many
    ///   marks or notes that it may not show such a move: the same.
    /// - Another generation has begun between the two: rows that are gone from the outbox may be
    ///   published in the new generation only. The watermark is then stored but not announced,
    ///   because followers of the earlier generation may lack these rows. Their Redis may still
    ///   count itself as the primary.
    pub fn confirm(&mut self, after: &DrainSnapshot, limit: usize) {
        let is_whole = after.marks_visible() < limit && after.changed_facilities.len() < limit;
        let is_later = after.at_ms >= self.at_ms;
        self.is_processed &= !after.arrived && is_later && is_whole && !self.has_moved(after);
        self.is_published &= after.generation == self.generation;
    }

    /// Whether a facility with marks in the first snapshot has changed between the two snapshots:
    /// the second one shows a new mark, or a new note, of the facility itself. A mark that names no
    /// facility counts too. The facility may now be in another zone, or gone. Its marks were then
    /// processed as days of the new zone. At the first snapshot they named days of the old zone,
    /// and the figures of those days lack the changes.
    fn has_moved(&self, after: &DrainSnapshot) -> bool {
        let is_new = |id: &i64, known: &HashSet<i64>, facility: &Uuid| {
            (self.are_all_marked || self.marked.contains(facility)) && !known.contains(id)
        };
        let by_mark =
            after.marks.iter().filter(|mark| mark.kind == MarkKind::Facility).any(|mark| {
                mark.facility_id
                    .is_none_or(|facility| is_new(&mark.id, &self.facility_marks, &facility))
            });
        // This pass may have written a note itself, when it processed the mark of a facility. So a
        // note counts only if the first snapshot had no such mark.
        by_mark
            || !after.noticed.of_facilities.is_empty()
            || after.changed_facilities.iter().any(|(id, facility)| {
                !self.changed.contains(facility) && is_new(id, &self.notes, facility)
            })
    }

    /// Records whether all marks, or all expiries, of the snapshot are processed.
    pub fn record_processed(&mut self, all: bool) {
        self.is_processed &= all;
    }

    /// Records whether everything in the outbox is published, by this server or another. Called for
    /// the first snapshot, and again after marks and expiries were processed.
    pub fn record_published(&mut self, all: bool) {
        self.is_published &= all;
    }

    /// The watermark for readers of the table: every row is exact as of then.
    pub fn watermark(&self) -> Option<Watermark> {
        self.is_processed.then_some(Watermark { at_ms: self.at_ms, position: self.position })
    }

    /// The message for followers of the stream; it is sent after the watermark is stored.
    pub fn announcement(&self) -> Option<Message> {
        (self.is_processed && self.is_published).then_some(Message::Watermark { at_ms: self.at_ms })
    }
}

#[cfg(test)]
#[path = "watermark_tests.rs"]
mod tests;
