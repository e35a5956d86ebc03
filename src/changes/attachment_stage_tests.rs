//! Tests of `attachment_stage.rs`.

use super::*;

/// The seconds at which something is logged, with a look every second; `attached` says when the
/// replica is attached.
fn told(seconds: u64, attached: impl Fn(u64) -> bool) -> Vec<(u64, StageLog)> {
    let start = Instant::now();
    let mut watch = StageWatch::begin(start);
    let looks = (0..=seconds).map(|second| {
        let stage =
            if attached(second) { AttachmentStage::Attached } else { AttachmentStage::Connecting };
        (second, watch.observe(stage, start + Duration::from_secs(second)))
    });
    looks.filter(|(_, told)| *told != StageLog::Nothing).collect()
}

#[test]
fn who_has_not_joined_says_so_every_five_seconds() {
    let apart = |second: u64| (second, StageLog::Detached(Duration::from_secs(second)));
    assert_eq!(told(202, |_| false), (1..=40).map(|n| apart(5 * n)).collect::<Vec<_>>());
}

#[test]
fn who_joins_at_once_says_nothing_and_who_was_told_of_says_that_it_has() {
    assert_eq!(told(6, |second| second >= 1), [(6, StageLog::Settled)]);
    assert_eq!(
        told(8, |second| second >= 7),
        [
            (5, StageLog::Detached(Duration::from_secs(5))),
            (7, StageLog::AttachedAfter(Duration::from_secs(7)))
        ]
    );
    assert_eq!(told(20, |second| second % 4 != 0), [], "now and then it falls behind for a moment");
}
