//! What the contract of an answer and of an event promises beside the figures.

use super::{Past, ROW, SOMEWHERE, WARSAW, at, empty, listing, noon, today};
use crate::{
    directory::{
        judge::Bug,
        seen::{Answer, Asked, Item, Said, Stated, Stating},
    },
    history::Fate,
};

#[test]
fn an_answer_is_not_older_than_was_asked_for() {
    let requested = |bound, max_stale, age_seconds| {
        let answer = at(60_000, listing(vec![empty(SOMEWHERE)]));
        let asked = Asked { bound_seconds: Some(bound), max_stale, ..answer.asked };
        Answer { asked, age_seconds: Some(age_seconds), ..answer }
    };
    Past::with(WARSAW).rejects(Bug::TooOld, requested(1, None, 5));
    Past::with(WARSAW).rejects(Bug::TooOld, requested(1, Some(Some(3)), 5));
    Past::with(WARSAW).rejects(Bug::TooOld, requested(0, None, 1));
    Past::with(WARSAW).accepts(requested(1, None, 1));
    Past::with(WARSAW).accepts(requested(1, Some(Some(4)), 5));
    Past::with(WARSAW).accepts(requested(1, Some(None), 500));
    let slow = requested(0, None, 1);
    Past::with(WARSAW).accepts(Answer {
        asked: Asked { answered_ms: slow.asked.asked_ms + 1_200, ..slow.asked },
        ..slow
    });
}

#[test]
fn only_if_cached_is_answered_from_what_is_held() {
    let held = |source: &str| {
        let answer = at(60_000, listing(vec![empty(SOMEWHERE)]));
        Answer {
            asked: Asked { only_if_cached: true, ..answer.asked },
            source: source.to_owned(),
            ..answer
        }
    };
    Past::with(WARSAW).rejects(Bug::NotHeld, held("facility-summary; fwd=request; detail=table"));
    Past::with(WARSAW).accepts(held("facility-summary; fwd=miss; detail=redis"));
    let refused = |only_if_cached| {
        let answer = at(0, Said::Refused(504, String::new()));
        Answer { asked: Asked { only_if_cached, ..answer.asked }, ..answer }
    };
    Past::with(WARSAW).rejects(Bug::Status, refused(false));
    Past::with(WARSAW).accepts(refused(true));
    Past::with(WARSAW).rejects(Bug::Status, at(0, Said::Refused(500, String::new())));
    Past::with(WARSAW).accepts(at(0, Said::Refused(503, String::new())));
}

#[test]
fn versions_are_as_asked_for_and_have_one_body() {
    let least = |least| {
        let answer = today(0, empty(SOMEWHERE));
        Answer { asked: Asked { min_version: Some(least), ..answer.asked }, ..answer }
    };
    Past::with(WARSAW).rejects(Bug::WentBack, least(4));
    Past::with(WARSAW).accepts(least(3));
    let bodies = |version| {
        [empty(SOMEWHERE), Item { body: 8, version, ..empty(SOMEWHERE) }].map(|item| today(0, item))
    };
    assert_eq!(Past::with(WARSAW).judged(&bodies(3), &[]), [Bug::TwoBodies]);
    assert_eq!(Past::with(WARSAW).judged(&bodies(4), &[]), []);
}

#[test]
fn an_acknowledged_event_is_in_the_table_and_a_refused_one_is_not() {
    let event = |stated_ms: i64, fate| Stated {
        kind: Stating::Request,
        id: ROW,
        stated_ms: noon() + stated_ms,
        over_ms: noon() + 500,
        fate,
        superseded: false,
    };
    let judged = |event: Stated| {
        let mut past = Past::with(WARSAW);
        past.request(0, Some(-1_000));
        past.judged(&[], &[event])
    };
    assert_eq!(judged(event(0, Fate::Acknowledged)), []);
    assert_eq!(judged(event(0, Fate::Unknown)), []);
    assert_eq!(judged(event(0, Fate::Refused)), [Bug::Broken]);
    assert_eq!(judged(event(1, Fate::Acknowledged)), [Bug::Broken]);
    assert_eq!(judged(event(1, Fate::Refused)), []);
    assert_eq!(judged(Stated { superseded: true, ..event(1, Fate::Acknowledged) }), []);
    assert_eq!(
        judged(Stated { over_ms: noon() - 100, ..event(0, Fate::Acknowledged) }),
        [Bug::Broken]
    );
}
