//! Tests of `unread.rs`.

use super::*;

fn ids(from: u128, count: usize) -> Vec<Uuid> {
    (from..).take(count).map(Uuid::from_u128).collect()
}

#[tokio::test]
async fn what_comes_while_it_is_being_read_is_read_again() {
    let unread = Unread::default();
    unread.note_message(Some(ids(1, 2)));
    let before = unread.messages();
    unread.note_message(Some(ids(2, 1)));
    unread.read(Some(&ids(1, 2)), before);
    assert_eq!(unread.next().await, ReadTask::These(ids(2, 1)));
    unread.read(Some(&ids(2, 1)), unread.messages());
    assert!(futures_util::poll!(std::pin::pin!(unread.next())).is_pending());
}

#[tokio::test]
async fn any_number_of_messages_is_one_set_and_a_large_one_is_all() {
    let unread = Unread::default();
    (0..1_000).for_each(|_| unread.note_message(Some(ids(1, 3))));
    let ReadTask::These(mut found) = unread.next().await else { panic!("not all") };
    found.sort_unstable();
    assert_eq!(found, ids(1, 3));
    unread.note_message(Some(ids(1, MOST + 1)));
    assert_eq!(unread.next().await, ReadTask::All);
    assert!(unread.state().ids.is_empty());
}

#[tokio::test]
async fn what_failed_is_still_there_and_all_includes_each() {
    let unread = Unread::default();
    unread.note_message(Some(ids(1, 1)));
    unread.note_message(None);
    for _ in 0..2 {
        assert_eq!(unread.next().await, ReadTask::All);
    }
    unread.read(None, 2);
    let mut waiting = std::pin::pin!(unread.next());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    unread.note_message(Some(ids(7, 1)));
    assert_eq!(waiting.await, ReadTask::These(ids(7, 1)));
}

#[test]
fn a_watermark_counts_once_all_that_was_heard_of_before_it_is_read() {
    let unread = Unread::default();
    unread.prove(0, 10);
    assert_eq!(unread.exact_as_of_ms(), 10, "nothing is unread");
    unread.note_message(Some(ids(1, 1)));
    unread.prove(0, 20);
    assert_eq!(unread.exact_as_of_ms(), 10);
    let before = unread.messages();
    // A second message about it does not matter: what was told before the watermark is read.
    unread.note_message(Some(ids(1, 1)));
    assert_eq!(unread.exact_as_of_ms(), 10, "and not sooner");
    unread.read(Some(&ids(1, 1)), before);
    assert_eq!(unread.exact_as_of_ms(), 20);
    unread.prove(0, 30);
    assert_eq!(unread.exact_as_of_ms(), 20);
}

#[test]
fn many_watermarks_do_not_keep_each_other_from_counting() {
    let unread = Unread::default();
    for at_ms in 1..100 {
        unread.note_message(Some(ids(1, 1)));
        let before = unread.messages();
        unread.prove(0, at_ms);
        unread.note_message(Some(ids(1, 1)));
        unread.read(Some(&ids(1, 1)), before);
    }
    assert!(unread.exact_as_of_ms() >= 98, "{}", unread.exact_as_of_ms());
}

#[test]
fn nothing_of_one_epoch_is_proven_in_the_next() {
    let unread = Unread::default();
    unread.prove(0, 10);
    unread.start_over();
    assert_eq!(unread.exact_as_of_ms(), i64::MIN);
    unread.prove(0, 20);
    unread.read(None, unread.messages());
    assert_eq!(unread.exact_as_of_ms(), i64::MIN, "it was announced in the epoch before");
    unread.prove(1, 5);
    assert_eq!(unread.exact_as_of_ms(), 5);
}
