//! Tests of `freshness_request.rs`.

use jiff::civil::date;
use uuid::Uuid;

use super::*;
use crate::domain::summary::Summary;

fn within(max_age_ms: i64) -> FreshnessRequest {
    FreshnessRequest {
        max_age_ms,
        explicit: true,
        max_stale_ms: None,
        only_if_cached: false,
        min_version: 0,
    }
}

#[test]
fn figures_as_old_as_the_bound_will_do_and_a_millisecond_older_will_not() {
    for bound_ms in [1, 999, 1_000, 120_000, i64::MAX - 1] {
        assert!(
            [0, bound_ms - 1, bound_ms].into_iter().all(|age_ms| within(bound_ms).accepts(age_ms)),
            "{bound_ms}"
        );
        assert!(!within(bound_ms).accepts(bound_ms + 1), "{bound_ms}");
    }
    assert!(!within(0).accepts(0), "something may have been written in the same millisecond");
}

#[test]
fn anothers_refresh_will_do_as_of_the_bound_and_not_a_millisecond_before() {
    let asked = FreshnessRequest { min_version: 7, ..within(2_000) }.min_freshness(50_000);
    let brought = |as_of_ms, version| {
        let summary = Summary { version, ..Summary::empty(Uuid::nil(), date(2026, 11, 21), false) };
        asked.is_met_by(&SummaryRow { summary, as_of_ms, next_expires_at_ms: None, bounds: None })
    };
    assert!(brought(48_000, 7) && brought(50_001, 8));
    assert!(!brought(47_999, 7) && !brought(48_000, 6));
    let (mine, theirs) =
        (MinFreshness { as_of_ms: 1, version: 9 }, MinFreshness { as_of_ms: 2, version: 8 });
    assert_eq!(mine.and(theirs), MinFreshness { as_of_ms: 2, version: 9 }, "the stricter of each");
}
