//! Ranges and lists: their members, their order and their totals.

use super::{
    EAST, ELSEWHERE, Past, SOMEWHERE, WARSAW, WEST, at, day, empty, listing, no_cache, the, today,
};
use crate::directory::{
    judge::Bug,
    seen::{Entry, Item, Said},
};

/// A second facility is registered at noon.
fn two_facilities() -> Past {
    let mut past = Past::with(WARSAW);
    past.facility(0, ELSEWHERE, Some(WARSAW));
    past
}

#[test]
fn a_list_has_every_facility_registered_before_the_request() {
    two_facilities().rejects(Bug::Missing, no_cache(at(400, listing(vec![empty(SOMEWHERE)]))));
    two_facilities().accepts(no_cache(at(100, listing(vec![empty(SOMEWHERE)]))));
    two_facilities().accepts(at(1_300, listing(vec![empty(SOMEWHERE)])));
    two_facilities().rejects(Bug::Missing, at(1_500, listing(vec![empty(SOMEWHERE)])));
    two_facilities().accepts(no_cache(at(400, listing(vec![empty(SOMEWHERE), empty(ELSEWHERE)]))));
}

#[test]
fn a_list_shows_no_facility_that_was_removed_before() {
    let past = || {
        let mut past = two_facilities();
        past.facility(10_000, ELSEWHERE, None);
        past
    };
    past().rejects(Bug::Unknown, at(15_000, listing(vec![empty(SOMEWHERE), empty(ELSEWHERE)])));
    past().accepts(at(10_900, listing(vec![empty(SOMEWHERE), empty(ELSEWHERE)])));
    past().accepts(at(15_000, listing(vec![empty(SOMEWHERE)])));
}

#[test]
fn today_is_the_date_of_a_zone_that_the_facility_may_have() {
    let past = || {
        let mut past = Past::with(WEST);
        past.facility(0, SOMEWHERE, Some(EAST));
        past
    };
    past().rejects(Bug::WrongDay, no_cache(today(2_000, empty(SOMEWHERE))));
    past().rejects(Bug::WrongDay, no_cache(at(2_000, listing(vec![empty(SOMEWHERE)]))));
    past().accepts(no_cache(today(200, empty(SOMEWHERE))));
    past().accepts(no_cache(today(2_000, day(SOMEWHERE, the(15), (Some(0), 0, 0)))));
    let shown = |zone: &str, today| Entry {
        facility: SOMEWHERE,
        name: SOMEWHERE.to_string(),
        zone: zone.to_owned(),
        today: Some(today),
    };
    past().rejects(Bug::WrongDay, at(2_000, Said::Facility(shown(EAST, the(14)))));
    past().rejects(Bug::Directory, at(2_000, Said::Facility(shown(WEST, the(14)))));
    past().accepts(at(2_000, Said::Facility(shown(EAST, the(15)))));
}

#[test]
fn a_range_has_each_day_once_up_to_today() {
    let range = |days: &[i8]| {
        let items = days
            .iter()
            .map(|of| day(SOMEWHERE, the(*of), (if *of == 14 { Some(0) } else { None }, 0, 0)))
            .collect();
        at(0, Said::Range { facility: SOMEWHERE, from: the(12), to: the(16), items })
    };
    Past::with(WARSAW).accepts(range(&[14, 13, 12]));
    Past::with(WARSAW).rejects(Bug::Parts, range(&[14, 12]));
    Past::with(WARSAW).rejects(Bug::Parts, range(&[13, 12]));
}

#[test]
fn totals_are_sums() {
    let wrong =
        Said::Listing { date: None, items: vec![empty(SOMEWHERE)], totals: Some((1, 1, 0, 0)) };
    Past::with(WARSAW).rejects(Bug::Parts, at(0, wrong));
    let wrong = Item { totals: (Some(1), 0, 0), ..empty(SOMEWHERE) };
    Past::with(WARSAW).rejects(Bug::Parts, today(0, wrong));
    Past::with(WARSAW).rejects(
        Bug::Parts,
        at(0, Said::Listing { date: None, items: vec![empty(SOMEWHERE); 2], totals: None }),
    );
}
