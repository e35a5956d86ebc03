//! Tests of `watermark.rs`.

use super::*;
use crate::{
    cache::memory::Memory,
    jobs::drain::epoch::tests::snapshot,
    store::{Mark, OutboxCounters},
};

const LIMIT: usize = 4;

fn mark(id: i64, kind: MarkKind, facility: Option<u128>) -> Mark {
    let facility_id = facility.map(Uuid::from_u128);
    Mark { id, kind, facility_id, span: None, blood_bank_id: None }
}

fn showing(marks: &[Mark], notes: &[(i64, u128)]) -> DrainSnapshot {
    DrainSnapshot {
        marks: marks.to_vec(),
        changed_facilities: notes.iter().map(|(id, f)| (*id, Uuid::from_u128(*f))).collect(),
        ..snapshot(1, OutboxCounters::default())
    }
}

/// Whether a pass that processes `mark` proves its instant, if its second snapshot is `after`.
fn proves(first: Mark, after: &DrainSnapshot) -> bool {
    let token = Memory::new(0, 0, Position::default()).fill_token();
    let mut proof = WatermarkProof::of(&token, &showing(&[first], &[]));
    proof.confirm(after, LIMIT);
    proof.watermark().is_some()
}

#[test]
fn a_pass_proves_nothing_if_a_facility_with_marks_has_changed_meanwhile() {
    let of_one = || mark(1, MarkKind::Activity, Some(1));
    assert!(proves(of_one(), &showing(&[], &[])));
    assert!(proves(of_one(), &showing(&[mark(2, MarkKind::Facility, Some(2))], &[(1, 2)])));
    assert!(!proves(of_one(), &showing(&[mark(2, MarkKind::Facility, Some(1))], &[])));
    assert!(!proves(of_one(), &showing(&[mark(2, MarkKind::Facility, None)], &[])));
    assert!(!proves(of_one(), &showing(&[], &[(1, 1)])));
}

#[test]
fn a_pass_proves_nothing_if_the_clock_was_set_back_meanwhile() {
    let at = |at_ms| DrainSnapshot { at_ms, ..showing(&[], &[]) };
    let of_one = || mark(1, MarkKind::Activity, Some(1));
    assert!(proves(of_one(), &at(2)));
    assert!(!proves(of_one(), &at(0)));
}

#[test]
fn a_mark_of_all_facilities_counts_for_each_that_has_changed_meanwhile() {
    let of_all = || mark(1, MarkKind::Activity, None);
    assert!(proves(of_all(), &showing(&[mark(2, MarkKind::Activity, Some(2))], &[])));
    assert!(!proves(of_all(), &showing(&[mark(2, MarkKind::Facility, Some(2))], &[])));
    assert!(!proves(of_all(), &showing(&[], &[(1, 2)])));
}

#[test]
fn a_second_snapshot_that_may_hide_a_change_of_a_facility_proves_nothing() {
    let of_two = |id| mark(id, MarkKind::Activity, Some(2));
    let (fewer, full): (Vec<Mark>, Vec<Mark>) =
        ((2..5).map(of_two).collect(), (2..6).map(of_two).collect());
    assert!(proves(mark(1, MarkKind::Activity, Some(1)), &showing(&fewer, &[])));
    assert!(!proves(mark(1, MarkKind::Activity, Some(1)), &showing(&full, &[])));
    let full = [(1, 2), (2, 3), (3, 4), (4, 5)];
    assert!(proves(mark(1, MarkKind::Activity, Some(1)), &showing(&[], &full[..3])));
    assert!(!proves(mark(1, MarkKind::Activity, Some(1)), &showing(&[], &full)));
}
