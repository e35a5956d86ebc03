//! Tests of `page.rs`.

use jiff::civil::date;

use super::*;
use crate::{
    domain::summary::{KnownFigures, Summary, SummaryRow},
    protocol::{Message, Position},
};

fn facility(zone: &str) -> Facility {
    let zone = Arc::new(Zone::named(zone).unwrap());
    Facility { id: Uuid::nil(), name: "North".into(), zone, key: None }
}

fn row(facility: &Facility, date: Date, version: i64, as_of_ms: i64) -> SummaryRow {
    let summary = Summary { version, ..Summary::empty(facility.id, date, true) };
    let day = Day::named(&facility.zone.tz, date).unwrap();
    SummaryRow { summary, as_of_ms, next_expires_at_ms: None, bounds: Some((&day).into()) }
}

const NOW_MS: i64 = 1_800_000_000_000;

#[test]
fn a_page_is_the_bodies_of_its_days_and_as_old_as_the_oldest() {
    let memory = Memory::new(1 << 20, 16, Position { generation: 1, number: 0 });
    let (pages, facility) = (Pages::new(1 << 20), facility("Europe/Warsaw"));
    let span = Span { newest: date(2026, 11, 3), oldest: date(2026, 10, 1), limit: 3 };
    let token = memory.fill_token();
    let rows: Vec<SummaryRow> =
        (1..=3).map(|n| row(&facility, date(2026, 11, n), n.into(), NOW_MS)).collect();
    memory.publish(&token, rows[..2].iter());
    assert!(pages.held(&memory, &facility, &span).is_none(), "a day is not held");
    memory.publish(&token, rows[2..].iter());
    let page = pages.held(&memory, &facility, &span).unwrap();
    let bodies =
        rows.iter().rev().map(|row| row.summary.to_json(KnownFigures::ALL)).collect::<Vec<_>>();
    let want = [b"{\"items\":[", &bodies.join(&b","[..])[..], b"],\"next_cursor\":\"2026-10-31\"}"]
        .concat();
    assert_eq!(page.body(), &want);
    assert!(Arc::ptr_eq(&page, &pages.held(&memory, &facility, &span).unwrap()));
    memory.consume_next(&Message::Watermark { at_ms: NOW_MS + 50 });
    assert_eq!(memory.page_exactness(&page, i64::MAX).as_of_ms, NOW_MS + 50);
    assert_eq!(memory.page_exactness(&page, NOW_MS + 20).as_of_ms, NOW_MS + 20);
    // A day of another session than the others: the oldest counts.
    memory.start_new_session(None);
    memory
        .publish(&memory.fill_token(), [row(&facility, date(2026, 11, 3), 9, NOW_MS + 60)].iter());
    let later = pages.held(&memory, &facility, &span).unwrap();
    assert_ne!(later.forms.etag(), page.forms.etag());
    memory.consume_next(&Message::Watermark { at_ms: NOW_MS + 90 });
    assert_eq!(
        memory.page_exactness(&later, i64::MAX),
        PageExactness { as_of_ms: NOW_MS + 50, detached_ms: NOW_MS + 50 }
    );
    assert_eq!((later.reached_ms(9), later.reached_ms(10)), (Some(NOW_MS + 60), None));
}

#[test]
fn a_page_ends_to_hold_with_the_first_of_its_days() {
    let memory = Memory::new(1 << 20, 16, Position { generation: 1, number: 0 });
    let (pages, facility) = (Pages::new(1 << 20), facility("UTC"));
    let span = Span { newest: date(2026, 11, 2), oldest: date(2026, 11, 1), limit: 9 };
    let expiring = SummaryRow {
        next_expires_at_ms: Some(NOW_MS + 7),
        ..row(&facility, date(2026, 11, 2), 2, NOW_MS)
    };
    let other = row(&facility, date(2026, 11, 1), 1, NOW_MS);
    memory.publish(&memory.fill_token(), [&expiring, &other].into_iter());
    memory.consume_next(&Message::Watermark { at_ms: NOW_MS + 50 });
    let page = pages.held(&memory, &facility, &span).unwrap();
    assert_eq!(memory.page_exactness(&page, i64::MAX).as_of_ms, NOW_MS + 6);
}

#[test]
fn a_page_of_another_zone_is_not_used_and_dates_that_were_skipped_are_not_missing() {
    let memory = Memory::new(1 << 20, 16, Position { generation: 1, number: 0 });
    let pages = Pages::new(1 << 20);
    let (apia, utc) = (facility("Pacific/Apia"), facility("UTC"));
    let span = Span { newest: date(2011, 12, 31), oldest: date(2011, 12, 29), limit: 9 };
    let days = [date(2011, 12, 29), date(2011, 12, 31)];
    let rows = days.map(|date| row(&apia, date, 1, NOW_MS));
    memory.publish(&memory.fill_token(), rows.iter());
    let page = pages.held(&memory, &apia, &span).expect("there was no 30th");
    assert_eq!(page.span_days.days.len(), 2);
    assert!(pages.held(&memory, &utc, &span).is_none());
}
