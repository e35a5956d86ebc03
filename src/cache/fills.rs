//! How rows get into memory: what was read, and what a message brought. The rule is in `memory`.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    memory::{Entry, Fill, FillToken, Memory},
    recent_changes::RecentChanges,
    watcher::Taken,
};
use crate::{
    domain::summary::SummaryRow,
    protocol::{Position, StoredEntry},
};

/// Whether a row does not count: a newer version was consumed since the token was taken, or another
/// epoch or life began.
fn lost_race(recent: &RecentChanges, token: &FillToken, row: &SummaryRow) -> bool {
    let (key, version) = (row.key(), row.summary.version);
    recent.epoch != token.epoch
        || recent.version(&key) > version
        || recent.is_of_former_life(key.facility_id, version)
}

/// The position of a row that was read, and whether its message may be yet to come.
fn read_at(recent: &RecentChanges, row: &SummaryRow) -> (Position, bool) {
    let version = row.summary.version;
    (recent.after(), version == 0 || recent.version(&row.key()) < version)
}

/// Whether an answer changes: that of the day, or the lists and totals, which show no figures of a
/// day that cannot be counted.
fn differs(held: Option<&Arc<Entry>>, entry: &Entry) -> bool {
    held.is_none_or(|held| held.etag() != entry.etag() || held.is_still != entry.is_still)
}

impl Memory {
    /// Puts a row that was read after the token was taken and is exact as of `as_of_ms`. Every
    /// change committed after that instant stands behind `since`. That is the token's own position
    /// for a row that the primary answered, and the position stored with the row where it comes
    /// from elsewhere.
    pub fn fill(
        &self,
        token: &FillToken,
        since: Position,
        row: &SummaryRow,
        as_of_ms: i64,
    ) -> Fill {
        let recent = self.recent();
        if lost_race(&recent, token, row) {
            return Fill::LostRace;
        }
        Fill::Kept(self.keep(&recent, read_at(&recent, row), since, row, as_of_ms))
    }

    /// Keeps the better one of this row and the entry held, and answers it. `at` is the position of
    /// the message that brought it, as `Taken` has it.
    pub(super) fn keep(
        &self,
        recent: &RecentChanges,
        (at, is_ahead): (Position, bool),
        since: Position,
        row: &SummaryRow,
        as_of_ms: i64,
    ) -> Arc<Entry> {
        let key = row.key();
        let session = self.session_of(recent, since, row);
        let held = self.get(&key);
        if let Some(held) = &held
            && self.is_as_good(held, row, as_of_ms, session)
        {
            self.views.take(&key, held, None, self.session());
            return held.clone();
        }
        let entry = Arc::new(self.entry_of(row, as_of_ms, session));
        self.put(key, entry.clone());
        self.views.take(&key, &entry, Some(&row.summary), self.session());
        let is_change = differs(held.as_ref(), &entry);
        let epoch = recent.epoch;
        let taken = Taken { key, entry: &entry, is_change, at, is_ahead, epoch };
        self.tell(|watcher| watcher.took(&taken));
        entry
    }

    /// The stream session whose watermarks count for the row; `None` where none do.
    fn session_of(&self, recent: &RecentChanges, since: Position, row: &SummaryRow) -> Option<u32> {
        // That a day has no row is proven only for the zone that the facility was in. Where the
        // facility moves to another zone and back, no message names this day; but a message
        // names each facility that moves. So later watermarks count only until then.
        let is_proven = row.summary.version != 0
            || !recent.facility_changed(row.summary.facility_id, since.number);
        (is_proven && recent.joins(since)).then(|| self.session())
    }

    /// Whether the entry held is as good as this row, which would be put with this session.
    fn is_as_good(
        &self,
        held: &Entry,
        row: &SummaryRow,
        as_of_ms: i64,
        session: Option<u32>,
    ) -> bool {
        let version = row.summary.version;
        held.version > version
            || (held.version == version
                // Rows of one version may be of two zones' days of one date: the later row says
                // which day is the facility's now.
                && (held.bounds == row.bounds || held.as_of_ms > as_of_ms)
                && self.exact_as_of_ms(held) >= as_of_ms
                && (self.is_attached(held) || session.is_none()))
    }

    /// Puts rows of several days of one facility, each as `fill` does, and replaces the facility's
    /// list once. The answers are in the order of the rows.
    pub fn fill_days(
        &self,
        token: &FillToken,
        facility: Uuid,
        rows: &[(Position, &SummaryRow, i64)],
    ) -> Vec<Fill> {
        // Rendered before the lock is taken, which each message of the stream needs.
        let rendered: Vec<Entry> =
            rows.iter().map(|(_, row, as_of_ms)| self.entry_of(row, *as_of_ms, None)).collect();
        let recent = self.recent();
        let held = self.days(facility).unwrap_or_default();
        let mut new = Vec::new();
        let mut fill_one = |(since, row, as_of_ms): &(Position, &SummaryRow, i64),
                            mut entry: Entry| {
            if lost_race(&recent, token, row) {
                return Fill::LostRace;
            }
            let session = self.session_of(&recent, *since, row);
            let date = row.summary.date;
            if let Some(held) = held.get(date)
                && self.is_as_good(held, row, *as_of_ms, session)
            {
                self.views.take(&row.key(), held, None, self.session());
                return Fill::Kept(held.clone());
            }
            entry.session = session;
            let entry = Arc::new(entry);
            self.views.take(&row.key(), &entry, Some(&row.summary), self.session());
            let is_change = differs(held.get(date), &entry);
            let (key, (at, is_ahead)) = (row.key(), read_at(&recent, row));
            let epoch = recent.epoch;
            let taken = Taken { key, entry: &entry, is_change, at, is_ahead, epoch };
            self.tell(|watcher| watcher.took(&taken));
            new.push((date, entry.clone()));
            Fill::Kept(entry)
        };
        let fills = rows.iter().zip(rendered).map(|(row, entry)| fill_one(row, entry)).collect();
        if !new.is_empty() {
            self.put_days(facility, held.with_all(new));
        }
        fills
    }

    /// Drops the facility's days without a row: it may have been in another zone for a while. The
    /// caller holds `recent`.
    pub(super) fn drop_empty_days(&self, facility: Uuid) {
        if let Some(rest) = self.days(facility).and_then(|days| days.without_empty()) {
            self.put_days(facility, rest);
        }
    }

    /// Puts rows that a transaction or read brought which began after the token, where the stream
    /// is between processes. Answers them as they are to be published; none where another epoch has
    /// begun since.
    pub fn take_own<'a>(
        &self,
        token: &FillToken,
        rows: impl Iterator<Item = &'a SummaryRow>,
    ) -> Vec<StoredEntry> {
        let entries: Vec<StoredEntry> =
            rows.map(|row| StoredEntry { row: row.clone(), since: token.position }).collect();
        for entry in &entries {
            // A row that lost a race to a newer one is published all the same: other replicas may
            // hold an older one.
            let _ = self.fill(token, entry.since, &entry.row, entry.row.as_of_ms);
        }
        if self.is_current(token) { entries } else { Vec::new() }
    }
}
