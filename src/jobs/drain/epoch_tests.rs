//! Tests of `epoch.rs`.

use super::*;
use crate::{
    protocol::Epoch,
    store::{NoticedMarks, Triggers},
};

/// A drain snapshot that shows nothing but the counters.
pub(crate) fn snapshot(at_ms: i64, written: OutboxCounters) -> DrainSnapshot {
    DrainSnapshot {
        at_ms,
        marks: Vec::new(),
        strays: Vec::new(),
        noticed: NoticedMarks::default(),
        triggers: Triggers::default(),
        outbox: Vec::new(),
        changed_facilities: Vec::new(),
        expiry_due: false,
        epoch: Epoch::of("one"),
        generation: 0,
        stored_watermark: None,
        written,
        verified_through_ms: None,
        servers: 1,
        off_stream: 0,
        arrived: false,
        leads: true,
    }
}

#[test]
fn without_watermarks_what_was_ever_written_tells_of_a_database_that_went_back() {
    let before = OutboxCounters {
        rows: 7,
        transactions: 100,
        server_since_ms: Some(1),
        ..OutboxCounters::default()
    };
    for (after, verdict) in [
        (before, Verdict::Same),
        (OutboxCounters { rows: 9, transactions: 120, ..before }, Verdict::Same),
        (OutboxCounters { rows: 6, transactions: 120, ..before }, Verdict::Lost),
        (OutboxCounters { transactions: 99, ..before }, Verdict::Lost),
        (OutboxCounters { rows: 8, has_gone_back: true, ..before }, Verdict::Lost),
        (
            OutboxCounters { rows: 9, transactions: 120, server_since_ms: Some(2), ..before },
            Verdict::Restarted,
        ),
    ] {
        let mut known = EpochTracker::default();
        assert_eq!(known.judge(&snapshot(1, before), None, i64::MIN, false), Verdict::Same);
        assert_eq!(known.judge(&snapshot(2, after), None, i64::MIN, false), verdict, "{after:?}");
    }
}
