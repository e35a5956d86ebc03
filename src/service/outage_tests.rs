//! Tests of `outage.rs`.

use super::*;
use crate::store::Cause;

fn unreachable() -> StoreError {
    StoreError::Unavailable(Cause::NoAnswer)
}

#[test]
fn while_it_lasts_one_in_a_second_may_try() {
    let outage = Outage::default();
    assert!((0..10).all(|_| outage.may_try()));
    outage.failed(&unreachable());
    assert_eq!((outage.is_on(), outage.last_error()), (true, Some("unavailable")));
    assert!(!(0..10).any(|_| outage.may_try()));
    outage.back_off.end_pause();
    assert_eq!((0..10).filter(|_| outage.may_try()).count(), 1);
    outage.over();
    assert_eq!((outage.is_on(), outage.may_try(), outage.last_error()), (false, true, None));
}

#[test]
fn a_lock_is_no_outage() {
    let outage = Outage::default();
    outage.failed(&StoreError::Locked(Cause::NoAnswer));
    outage.failed(&StoreError::Conflict);
    assert!(!outage.is_on());
}

#[tokio::test]
async fn waiting_in_vain_tells_of_the_database_only_if_that_has_answered_nobody_else() {
    let outage = Outage::default();
    let asked = Instant::now();
    outage.over();
    outage.got_no_answer(asked);
    assert!(!outage.is_on(), "somebody had an answer since");
    let mut waiting = std::pin::pin!(outage.stops_answering());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    outage.got_no_answer(Instant::now());
    assert_eq!(outage.last_error(), Some("timeout"));
    waiting.await;
    let mut probing = std::pin::pin!(outage.stops_answering());
    assert!(futures_util::poll!(probing.as_mut()).is_pending());
    outage.got_no_answer(Instant::now());
    assert!(futures_util::poll!(probing).is_pending(), "who tries has its own time for it");
}
