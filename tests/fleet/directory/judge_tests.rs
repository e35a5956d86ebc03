//! Tests of the judge: histories made by hand, each with a fault that the judge must find, and next
//! to it a similar history without a fault.

mod contract;
mod lists;

use jiff::civil::{Date, date};
use uuid::Uuid;

use super::{
    figures::start_of,
    judge::{Bug, judge},
    seen::{Answer, Asked, Item, Said, Stated, TYPES},
    truth::{Activity, Bank, Facility, Truth, Unit},
};

/// The 15th begins in Kiritimati at ten in the morning of the 14th in UTC. So at noon in UTC it is
/// the 15th there, and the 14th in Niue and Warsaw.
const EAST: &str = "Pacific/Kiritimati";
const WEST: &str = "Pacific/Niue";
const WARSAW: &str = "Europe/Warsaw";
const SOMEWHERE: Uuid = Uuid::from_u128(1);
const ELSEWHERE: Uuid = Uuid::from_u128(2);
const BANK: Uuid = Uuid::from_u128(3);
const ROW: Uuid = Uuid::from_u128(4);
const O_POSITIVE: usize = 0;

fn noon() -> i64 {
    start_of("UTC", date(2031, 3, 14)) + 12 * 3_600_000
}

fn the(day: i8) -> Date {
    date(2031, 3, day)
}

/// What was committed, in milliseconds since noon. Facilities existed long before.
#[derive(Default)]
struct Past {
    truth: Truth,
    commits: usize,
}

impl Past {
    fn with(zone: &str) -> Past {
        let mut past = Past::default();
        past.facility(-3_600_000, SOMEWHERE, Some(zone));
        past
    }

    fn commit(&mut self) -> usize {
        self.commits += 1;
        self.commits
    }

    fn facility(&mut self, at_ms: i64, id: Uuid, zone: Option<&str>) {
        let (commit, row) = (
            self.commit(),
            zone.map(|zone| Facility { name: id.to_string(), zone: zone.to_owned() }),
        );
        self.truth.facilities.put(id, noon() + at_ms, commit, noon() + at_ms, row);
    }

    fn bank(&mut self, at_ms: i64, facility: Uuid) {
        let commit = self.commit();
        self.truth.banks.put(BANK, noon() + at_ms, commit, noon() + at_ms, Some(Bank { facility }));
    }

    fn unit(&mut self, at_ms: i64, id: Uuid, quantity: i64, expires_ms: Option<i64>) {
        let (commit, expires_ms) = (self.commit(), expires_ms.map(|at_ms| noon() + at_ms));
        let row = Unit { bank: BANK, kind: O_POSITIVE, quantity, expires_ms };
        self.truth.units.put(id, noon() + at_ms, commit, noon() + at_ms, Some(row));
    }

    /// Stores a request that was made at `then_ms`, or deletes it.
    fn request(&mut self, at_ms: i64, then_ms: Option<i64>) {
        let row = |then_ms| Activity {
            facility: SOMEWHERE,
            kind: O_POSITIVE,
            quantity: 1,
            at_ms: Some(noon() + then_ms),
        };
        let commit = self.commit();
        self.truth.requests.put(ROW, noon() + at_ms, commit, noon() + at_ms, then_ms.map(row));
    }

    fn delivery(&mut self, at_ms: i64, then_ms: Option<i64>) {
        let row = |then_ms| Activity {
            facility: SOMEWHERE,
            kind: O_POSITIVE,
            quantity: 9,
            at_ms: Some(noon() + then_ms),
        };
        let commit = self.commit();
        self.truth.deliveries.put(ROW, noon() + at_ms, commit, noon() + at_ms, then_ms.map(row));
    }

    fn judged(mut self, answers: &[Answer], stated: &[Stated]) -> Vec<Bug> {
        self.truth.arrange();
        judge(&self.truth, answers, stated)
            .complaints
            .into_iter()
            .map(|complaint| complaint.bug)
            .collect()
    }

    #[track_caller]
    fn rejects(self, bug: Bug, answer: Answer) {
        assert_eq!(self.judged(&[answer], &[]), [bug]);
    }

    #[track_caller]
    fn accepts(self, answer: Answer) {
        assert_eq!(self.judged(&[answer], &[]), []);
    }
}

/// A day with a stock, with units delivered, and with requests, all of one type.
fn day(facility: Uuid, of: Date, figures: (Option<i64>, i64, i64)) -> Item {
    let by_type = |figure: i64| {
        std::array::from_fn::<i64, { TYPES.len() }, _>(
            |at| if at == O_POSITIVE { figure } else { 0 },
        )
    };
    let (stock, transferred, requests) = figures;
    Item {
        facility,
        date: of,
        stock: stock.map(by_type),
        transferred: by_type(transferred),
        requests: by_type(requests),
        totals: figures,
        version: 3,
        body: 7,
    }
}

/// A request at this time, answered at once with Age 0.
fn at(asked_ms: i64, said: Said) -> Answer {
    let path = "/v1/summaries/today".to_owned();
    let asked = Asked {
        path,
        asked_ms: noon() + asked_ms,
        answered_ms: noon() + asked_ms + 5,
        ..Asked::default()
    };
    Answer {
        asked,
        age_seconds: Some(0),
        source: "facility-summary; hit; detail=memory".to_owned(),
        said,
    }
}

fn named(asked_ms: i64, item: Item) -> Answer {
    at(asked_ms, Said::Summary { date: Some(item.date), item: Box::new(item) })
}

fn today(asked_ms: i64, item: Item) -> Answer {
    at(asked_ms, Said::Summary { date: None, item: Box::new(item) })
}

fn no_cache(answer: Answer) -> Answer {
    Answer { asked: Asked { bound_seconds: Some(0), ..answer.asked }, ..answer }
}

fn aged(answer: Answer, age_seconds: i64) -> Answer {
    Answer { age_seconds: Some(age_seconds), ..answer }
}

/// The facility moves east at noon. Ten seconds later a request is made with a time one minute
/// before noon, which is of the 15th there.
fn moved_before_a_request() -> Past {
    let mut past = Past::with(WEST);
    past.facility(0, SOMEWHERE, Some(EAST));
    past.request(10_000, Some(-60_000));
    past
}

#[test]
fn a_request_that_is_missing_on_the_day_of_the_new_zone_is_rejected() {
    moved_before_a_request()
        .rejects(Bug::Figures, named(13_000, day(SOMEWHERE, the(15), (Some(0), 0, 0))));
    moved_before_a_request()
        .rejects(Bug::Figures, named(13_000, day(SOMEWHERE, the(14), (None, 0, 1))));
    moved_before_a_request().accepts(named(10_900, day(SOMEWHERE, the(15), (Some(0), 0, 0))));
    moved_before_a_request().accepts(named(13_000, day(SOMEWHERE, the(15), (Some(0), 0, 1))));
}

#[test]
fn a_request_from_just_before_a_change_of_zone_moves_with_it() {
    let past = || {
        let mut past = Past::with(WEST);
        past.request(-50, Some(-60_000));
        past.facility(0, SOMEWHERE, Some(EAST));
        past
    };
    past().rejects(Bug::Figures, named(5_000, day(SOMEWHERE, the(15), (Some(0), 0, 0))));
    past().accepts(named(5_000, day(SOMEWHERE, the(15), (Some(0), 0, 1))));
    past().accepts(named(500, day(SOMEWHERE, the(14), (Some(0), 0, 1))));
}

#[test]
fn a_unit_whose_bank_moved_before_its_commit_is_in_the_new_facility() {
    let past = || {
        let mut past = Past::with(WARSAW);
        past.facility(-3_600_000, ELSEWHERE, Some(WARSAW));
        past.bank(-3_600_000, SOMEWHERE);
        past.unit(-3_000_000, ROW, 5, None);
        past.bank(0, ELSEWHERE);
        past.unit(2_000, ROW, 8, None);
        past
    };
    past().rejects(Bug::Figures, today(5_000, day(ELSEWHERE, the(14), (Some(5), 0, 0))));
    past().rejects(Bug::Figures, today(5_000, day(SOMEWHERE, the(14), (Some(8), 0, 0))));
    past().accepts(today(3_000, day(ELSEWHERE, the(14), (Some(5), 0, 0))));
    past().accepts(today(5_000, day(ELSEWHERE, the(14), (Some(8), 0, 0))));
}

/// The facility is removed at noon, and registered again 400 ms later.
fn removed_and_registered_again() -> Past {
    let mut past = Past::with(WARSAW);
    past.delivery(-2_000_000, Some(-86_400_000));
    past.delivery(0, None);
    past.facility(0, SOMEWHERE, None);
    past.facility(400, SOMEWHERE, Some(WARSAW));
    past
}

fn missing(asked_ms: i64) -> Answer {
    Answer { age_seconds: None, ..at(asked_ms, Said::Missing { facility: SOMEWHERE, date: None }) }
}

#[test]
fn a_facility_registered_again_is_shown_without_its_former_figures() {
    removed_and_registered_again().rejects(Bug::Missing, no_cache(missing(2_000)));
    removed_and_registered_again().accepts(no_cache(missing(300)));
    let mut past = removed_and_registered_again();
    past.bank(500, SOMEWHERE);
    past.unit(600, BANK, 5, None);
    past.rejects(Bug::Figures, today(5_000, day(SOMEWHERE, the(14), (Some(0), 0, 0))));
}

#[test]
fn a_figure_of_a_removed_facility_is_rejected() {
    removed_and_registered_again()
        .rejects(Bug::Figures, named(38_000, day(SOMEWHERE, the(13), (None, 9, 0))));
    removed_and_registered_again().accepts(named(38_000, day(SOMEWHERE, the(13), (None, 0, 0))));
    removed_and_registered_again()
        .accepts(aged(named(38_000, day(SOMEWHERE, the(13), (None, 9, 0))), 38));
}

#[test]
fn another_zones_row_of_the_same_date_is_rejected() {
    let past = || {
        let mut past = Past::with(WARSAW);
        past.request(-2_000_000, Some(-4_000_000));
        past.facility(0, SOMEWHERE, Some(EAST)); // where it counts for the 15th
        past.facility(5_000, SOMEWHERE, Some(WARSAW));
        past
    };
    past().rejects(Bug::Figures, named(8_000, day(SOMEWHERE, the(14), (Some(0), 0, 0))));
    past().accepts(named(8_000, day(SOMEWHERE, the(14), (Some(0), 0, 1))));
    past().accepts(aged(named(8_000, day(SOMEWHERE, the(14), (Some(0), 0, 0))), 2));
}

fn listing(items: Vec<Item>) -> Said {
    let totals = items.iter().map(|item| item.totals);
    let sums = totals.fold((0, 0, 0, 0), |sums, of| {
        (sums.0 + 1, sums.1 + of.0.unwrap_or(0), sums.2 + of.1, sums.3 + of.2)
    });
    Said::Listing { date: None, items, totals: Some(sums) }
}

fn empty(facility: Uuid) -> Item {
    day(facility, the(14), (Some(0), 0, 0))
}

#[test]
fn a_commit_from_before_the_claim_is_in_the_answer_in_every_way_of_reading() {
    let past = || {
        let mut past = Past::with(WARSAW);
        past.request(0, Some(-1_000));
        past
    };
    past().rejects(Bug::Figures, today(1_500, empty(SOMEWHERE)));
    past().accepts(today(1_300, empty(SOMEWHERE)));
    past().accepts(aged(today(1_500, empty(SOMEWHERE)), 1));
    past().rejects(Bug::Figures, today(-100, day(SOMEWHERE, the(14), (Some(0), 0, 1))));
}

/// The row of an event is a snapshot and the event's own changes. What is younger than the snapshot
/// may be missing, what is older may not.
#[test]
fn the_row_of_an_event_may_lack_what_is_younger_than_its_as_of() {
    let past = |other_ms| {
        let mut past = Past::with(WARSAW);
        past.bank(-3_600_000, SOMEWHERE);
        past.unit(other_ms, ROW, 5, None);
        past.unit(10_000, BANK, 100, None);
        past
    };
    past(9_900).accepts(today(10_100, day(SOMEWHERE, the(14), (Some(100), 0, 0))));
    past(8_000).rejects(Bug::Figures, today(10_100, day(SOMEWHERE, the(14), (Some(100), 0, 0))));
}

#[test]
fn a_unit_leaves_when_it_expires() {
    let past = || {
        let mut past = Past::with(WARSAW);
        past.bank(-3_600_000, SOMEWHERE);
        past.unit(-3_000_000, ROW, 5, Some(0));
        past
    };
    past().rejects(Bug::Figures, today(1_500, day(SOMEWHERE, the(14), (Some(5), 0, 0))));
    past().accepts(today(1_000, day(SOMEWHERE, the(14), (Some(5), 0, 0))));
    past().rejects(Bug::Figures, today(-1_000, empty(SOMEWHERE)));
}

/// In Kiritimati the 14th closed at ten. One unit came a minute before that, and another two
/// seconds before.
#[test]
fn a_day_keeps_the_stock_that_it_closed_with() {
    let closed_ms = start_of(EAST, the(15)) - noon();
    let past = || {
        let mut past = Past::default();
        past.facility(closed_ms - 7_200_000, SOMEWHERE, Some(EAST));
        past.bank(closed_ms - 7_200_000, SOMEWHERE);
        past.unit(closed_ms - 60_000, ROW, 5, None);
        past.unit(closed_ms - 2_000, ELSEWHERE, 20, None);
        past.unit(closed_ms + 60_000, BANK, 300, None);
        past
    };
    let closed = |stock| named(0, day(SOMEWHERE, the(14), (stock, 0, 0)));
    past().accepts(closed(Some(25)));
    past().accepts(closed(Some(5)));
    past().rejects(Bug::Figures, closed(Some(0)));
    past().rejects(Bug::Figures, closed(Some(325)));
    past().rejects(Bug::Figures, closed(None));
    past().rejects(Bug::Figures, named(0, day(SOMEWHERE, the(13), (Some(0), 0, 0))));
    past().accepts(named(0, day(SOMEWHERE, the(13), (None, 0, 0))));
    // The facility is removed, and registered again after the 14th: at once, or after all replicas
    // had time to notice the removal.
    for (away_ms, may_stay) in [(2_000, true), (60_000, false)] {
        let again = || {
            let mut past = past();
            past.facility(closed_ms + 70_000, SOMEWHERE, None);
            past.facility(closed_ms + 70_000 + away_ms, SOMEWHERE, Some(EAST));
            past
        };
        again().accepts(closed(None));
        match may_stay {
            true => again().accepts(closed(Some(25))),
            false => again().rejects(Bug::Figures, closed(Some(25))),
        }
    }
}
