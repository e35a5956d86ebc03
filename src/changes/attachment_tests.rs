//! Tests of `attachment.rs`.

use std::time::Duration;

use super::*;

fn attached() -> Attachment {
    let attachment = Attachment::default();
    attachment.catch_up();
    attachment.verify(attachment.caught_up().unwrap());
    attachment
}

#[test]
fn it_joins_step_by_step_and_no_step_leads_back() {
    let attachment = Attachment::default();
    assert_eq!((attachment.stage(), attachment.caught_up()), (AttachmentStage::Connecting, None));
    attachment.read_on(7);
    assert_eq!(
        (attachment.stage(), attachment.caught_up()),
        (AttachmentStage::Reading { left: 7 }, None)
    );
    attachment.catch_up();
    assert_eq!(attachment.stage(), AttachmentStage::Unverified);
    attachment.verify(attachment.caught_up().unwrap());
    attachment.catch_up();
    attachment.read_on(3);
    assert_eq!((attachment.stage(), attachment.is_attached()), (AttachmentStage::Attached, true));
    assert!(attachment.fall_behind() && !attachment.fall_behind());
    assert_eq!(attachment.stage(), AttachmentStage::Connecting);
}

#[test]
fn a_look_from_before_it_fell_behind_vouches_for_nothing_it_read_since() {
    let attachment = attached();
    let look = attachment.caught_up().unwrap();
    attachment.fall_behind();
    attachment.verify(look);
    assert_eq!(attachment.stage(), AttachmentStage::Connecting);
    attachment.catch_up();
    attachment.verify(look);
    assert_eq!(attachment.stage(), AttachmentStage::Unverified);
    attachment.verify(attachment.caught_up().unwrap());
    assert_eq!(attachment.stage(), AttachmentStage::Attached);
}

#[test]
fn errors_are_told_when_they_begin_and_when_they_change_also_where_nothing_was_ever_read() {
    let (late, down) =
        (CommandError::TimedOut(Duration::from_millis(50)), CommandError::Down("timeout"));
    let attachment = Attachment::default();
    assert_eq!(
        [&down, &late, &late, &down].map(|error| attachment.fail(error)),
        [false, true, false, false]
    );
    assert_eq!(attachment.error_at(AttachmentStage::Connecting), Some(down.to_string()));
    let attachment = attached();
    assert_eq!(
        [&down, &late, &down].map(|error| attachment.fail(error)),
        [true, true, false],
        "it had been read until then"
    );
    assert_eq!([&late, &late].map(|error| attachment.note_append_failure(error)), [true, false]);
    attachment.catch_up();
    attachment.verify(attachment.caught_up().unwrap());
    assert_eq!(
        (attachment.stage(), attachment.error_at(AttachmentStage::AppendFailing)),
        (AttachmentStage::AppendFailing, Some(late.to_string()))
    );
    attachment.note_append();
    assert_eq!(
        (attachment.stage(), attachment.error_at(AttachmentStage::AppendFailing)),
        (AttachmentStage::Attached, None)
    );
    assert!(attachment.note_append_failure(&late), "another time");
}
