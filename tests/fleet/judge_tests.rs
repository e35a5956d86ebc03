//! Tests of the judge: a small simulated fleet. Its history is right as long as its rules hold, and
//! wrong when a rule is broken.

use std::collections::BTreeSet;

use jiff::civil::date;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use crate::{
    history::{Answer, Fate, History, Loss, Shown, Write},
    judge::{Fault, judge},
};

const FACILITIES: usize = 2;
const LANES: usize = 4;
const REPLICAS: usize = 3;
const STEPS: usize = 600;
const SEEDS: u64 = 60;
/// For this time after a loss only the first facility is written to, so that no later write
/// corrects by chance what memories hold of the others.
const QUIET_MS: i64 = 8_000;

/// A rule of the protocol, or of a database, that a test breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    CompareVersionsAtEveryPut,
    PublishAfterTheCommit,
    DeliverEveryMessage,
    AnnounceOnlyWhatIsPublished,
    KeepToMinVersion,
    WriteAllOrNothing,
    OneBodyAVersion,
    KeepWhatWasAcknowledged,
    ApplyNothingRefused,
    ForgetTheOldHistory,
    AnswerWithinTheBound,
}

/// The row of a facility, in the table or in a memory.
#[derive(Debug, Clone, Default)]
struct Row {
    version: i64,
    lanes: Vec<Shown>,
    /// The instant that the row alone is exact as of.
    as_of_ms: i64,
}

#[derive(Clone)]
enum Message {
    Row(usize, Row),
    Watermark(i64),
}

#[derive(Default)]
struct Replica {
    rows: Vec<Row>,
    watermark_ms: i64,
    /// Messages that were sent to it and not delivered yet.
    inbox: Vec<Message>,
}

/// A fleet with one table and three memories. Each memory receives one message after another.
struct World {
    rng: StdRng,
    broken: Option<Rule>,
    now_ms: i64,
    table: Vec<Row>,
    replicas: Vec<Replica>,
    /// By replica: the greatest version of each facility that its one reader has seen. The reader
    /// passes it on.
    known: Vec<Vec<i64>>,
    session: usize,
    backup: Vec<Row>,
    saved: Vec<BTreeSet<i64>>,
    history: History,
}

impl World {
    fn new(seed: u64, broken: Option<Rule>) -> World {
        let row = |facility: usize| {
            let lanes = (0..LANES).filter(|lane| lane % FACILITIES == facility);
            Row {
                lanes: lanes.map(|lane| Shown { lane, stocks: [0, 0], requests: 0 }).collect(),
                ..Row::default()
            }
        };
        let rows: Vec<Row> = (0..FACILITIES).map(row).collect();
        let replica = || Replica { rows: rows.clone(), ..Replica::default() };
        World {
            rng: StdRng::seed_from_u64(seed),
            broken,
            now_ms: 1_000_000,
            backup: rows.clone(),
            table: rows.clone(),
            replicas: (0..REPLICAS).map(|_| replica()).collect(),
            known: vec![vec![0; FACILITIES]; REPLICAS],
            session: 0,
            saved: vec![BTreeSet::new(); LANES],
            history: History {
                writes: vec![vec![]; LANES],
                stored: vec![BTreeSet::new(); LANES],
                ..History::default()
            },
        }
    }

    /// Whether to break the rule now. Like a real bug, this does not happen each time.
    fn breaks(&mut self, rule: Rule) -> bool {
        self.broken == Some(rule) && self.rng.random_bool(0.3)
    }

    fn run(mut self, loses: bool) -> History {
        for step in 0..STEPS {
            self.now_ms += self.rng.random_range(1..120);
            match self.rng.random_range(0..10) {
                0..3 => self.write(),
                3 => self.announce(),
                4..7 => (0..7).for_each(|_| self.deliver()),
                _ => self.answer(false),
            }
            if step == STEPS / 3 {
                (self.backup, self.saved) = (self.table.clone(), self.history.stored.clone());
            }
            if loses && step == STEPS / 2 {
                self.restore();
            }
        }
        self.end();
        self.history
    }

    fn write(&mut self) {
        let mut lane = self.rng.random_range(0..LANES);
        if self.history.loss.as_ref().is_some_and(|loss| self.now_ms < loss.at_ms + QUIET_MS) {
            lane -= lane % FACILITIES;
        }
        let number = self.history.writes[lane].len() as i64 + 1;
        let sent_ms = self.now_ms;
        self.now_ms += self.rng.random_range(0..20);
        let (fate, commits) = match self.rng.random_range(0..10) {
            0 => (Fate::Refused, self.breaks(Rule::ApplyNothingRefused)),
            1 => (Fate::Unknown, self.rng.random_bool(0.5)),
            _ => (Fate::Acknowledged, !self.breaks(Rule::KeepWhatWasAcknowledged)),
        };
        if commits {
            self.commit(lane, number);
        } else if fate == Fate::Refused && self.breaks(Rule::PublishAfterTheCommit) {
            let mut row = self.table[lane % FACILITIES].clone();
            change(&mut row, lane, number);
            self.send(Message::Row(lane % FACILITIES, row));
        }
        self.now_ms += self.rng.random_range(0..20);
        self.history.writes[lane].push(Write { number, sent_ms, over_ms: self.now_ms, fate });
    }

    fn commit(&mut self, lane: usize, number: i64) {
        let half = self.breaks(Rule::WriteAllOrNothing);
        let row = &mut self.table[lane % FACILITIES];
        change(row, lane, number);
        if half {
            row.lanes[lane / FACILITIES].stocks[1] -= 1;
        }
        row.as_of_ms = self.now_ms;
        self.history.stored[lane].insert(number);
        let row = row.clone();
        self.send(Message::Row(lane % FACILITIES, row));
    }

    fn send(&mut self, message: Message) {
        for at in 0..REPLICAS {
            if !(matches!(message, Message::Row(..)) && self.breaks(Rule::DeliverEveryMessage)) {
                self.replicas[at].inbox.push(message.clone());
            }
        }
    }

    fn announce(&mut self) {
        let early = self.breaks(Rule::AnnounceOnlyWhatIsPublished);
        let watermark = Message::Watermark(self.now_ms);
        for replica in &mut self.replicas {
            let place = if early { 0 } else { replica.inbox.len() };
            replica.inbox.insert(place, watermark.clone());
        }
    }

    fn deliver(&mut self) {
        let at = self.rng.random_range(0..REPLICAS);
        if self.replicas[at].inbox.is_empty() {
            return;
        }
        // An older message that is delivered a second time does no harm where versions are
        // compared.
        let twice = self.rng.random_bool(0.2);
        let careless = self.breaks(Rule::CompareVersionsAtEveryPut);
        let replica = &mut self.replicas[at];
        let message = if twice { replica.inbox[0].clone() } else { replica.inbox.remove(0) };
        match message {
            Message::Row(facility, mut row) => {
                if careless {
                    row = Row { version: row.version - 1, ..self.backup[facility].clone() };
                }
                if careless || row.version > replica.rows[facility].version {
                    replica.rows[facility] = row;
                }
            }
            Message::Watermark(at_ms) if !twice => replica.watermark_ms = at_ms,
            Message::Watermark(_) => {}
        }
    }

    fn answer(&mut self, last: bool) {
        for at in 0..REPLICAS {
            for facility in 0..FACILITIES {
                self.ask(at, facility, last);
            }
        }
    }

    fn ask(&mut self, at: usize, facility: usize, last: bool) {
        let asked_ms = self.now_ms;
        self.now_ms += self.rng.random_range(0..5);
        let knows = self.rng.random_bool(0.5);
        let least = if knows { self.known[at][facility] } else { 0 };
        let ignores_it = self.breaks(Rule::KeepToMinVersion);
        let replica = &self.replicas[at];
        let (row, exact_ms) = match replica.rows[facility].clone() {
            _ if last => (self.table[facility].clone(), self.now_ms),
            _ if ignores_it => (self.backup[facility].clone(), self.backup[facility].as_of_ms),
            row if row.version < least => (self.table[facility].clone(), self.now_ms),
            row => (row.clone(), row.as_of_ms.max(replica.watermark_ms)),
        };
        let age_seconds = (self.now_ms - exact_ms).max(0) / 1000;
        let within =
            if self.breaks(Rule::AnswerWithinTheBound) { age_seconds - 1 } else { age_seconds };
        let body = if self.breaks(Rule::OneBodyAVersion) {
            self.rng.next_u64()
        } else {
            row.version as u64
        };
        self.history.answers.push(Answer {
            session: knows.then_some(self.session + at),
            replica: at,
            facility,
            date: date(2030, 1, 1),
            asked_ms,
            answered_ms: self.now_ms,
            age_seconds,
            bound_seconds: Some(within),
            min_version: knows.then_some(least),
            version: row.version,
            body,
            shown: row.lanes,
            source: String::new(),
        });
        if knows {
            self.known[at][facility] = least.max(row.version);
        }
    }

    /// Puts the database back to an earlier state.
    fn restore(&mut self) {
        self.now_ms += 500;
        self.history.loss = Some(Loss { at_ms: self.now_ms, survived: self.saved.clone() });
        self.history.stored = self.saved.clone();
        self.table = self.backup.clone();
        self.now_ms += 1;
        self.session += REPLICAS;
        let forgetful = self.broken != Some(Rule::ForgetTheOldHistory);
        for (facility, row) in self.table.iter_mut().enumerate() {
            row.as_of_ms = self.now_ms;
            for replica in self.replicas.iter_mut().filter(|_| forgetful || facility == 0) {
                replica.rows[facility] = row.clone();
            }
        }
        for (replica, known) in self.replicas.iter_mut().zip(&mut self.known) {
            replica.inbox.clear();
            replica.watermark_ms = 0;
            known.fill(0);
        }
    }

    fn end(&mut self) {
        self.now_ms += 10;
        self.history.ended_ms = self.now_ms;
        self.now_ms += 5_000;
        self.table.iter_mut().for_each(|row| row.as_of_ms = self.now_ms);
        self.answer(true);
    }
}

/// Applies a write of a lane to the row of its facility.
fn change(row: &mut Row, lane: usize, number: i64) {
    row.version += 1;
    let shown = &mut row.lanes[lane / FACILITIES];
    shown.stocks = [number, number];
    shown.requests += 1;
}

fn faults(seed: u64, broken: Option<Rule>, loses: bool) -> BTreeSet<Fault> {
    judge(&World::new(seed, broken).run(loses))
        .into_iter()
        .map(|complaint| complaint.fault)
        .collect()
}

#[test]
fn the_judge_finds_nothing_in_a_right_history() {
    for seed in 0..SEEDS {
        for loses in [false, true] {
            let complaints = judge(&World::new(seed, None).run(loses));
            assert!(complaints.is_empty(), "seed {seed}, loses: {loses}: {}", complaints[0]);
        }
    }
}

#[test]
fn every_broken_rule_is_found() {
    let rules = [
        (Rule::CompareVersionsAtEveryPut, Fault::Stale),
        (Rule::PublishAfterTheCommit, Fault::Unwritten),
        (Rule::DeliverEveryMessage, Fault::Stale),
        (Rule::AnnounceOnlyWhatIsPublished, Fault::Stale),
        (Rule::KeepToMinVersion, Fault::WentBack),
        (Rule::WriteAllOrNothing, Fault::Unwritten),
        (Rule::OneBodyAVersion, Fault::TwoBodies),
        (Rule::KeepWhatWasAcknowledged, Fault::Broken),
        (Rule::ApplyNothingRefused, Fault::Broken),
        (Rule::AnswerWithinTheBound, Fault::TooOld),
    ];
    for (rule, fault) in rules {
        let found = (0..SEEDS)
            .filter(|seed| faults(*seed, Some(rule), false).contains(&fault))
            .count() as u64;
        assert!(
            found > SEEDS / 2,
            "{rule:?} is broken, but {fault:?} is found in only {found} of {SEEDS} histories"
        );
    }
}

#[test]
fn a_cache_kept_across_epochs_is_found() {
    let found = (0..SEEDS)
        .filter(|seed| {
            faults(*seed, Some(Rule::ForgetTheOldHistory), true).contains(&Fault::Resurrected)
        })
        .count() as u64;
    assert!(found > SEEDS / 2, "the loss is found in only {found} of {SEEDS} histories");
}

#[test]
fn figures_of_the_new_epoch_need_not_hold_what_was_lost() {
    // Of the writes 1 and 2 the database loses the second. An answer after that claims an instant
    // before the loss at which 2 was over.
    let (at_ms, fate) = (16_000, Fate::Acknowledged);
    let write = |number, over_ms| Write { number, sent_ms: over_ms - 10, over_ms, fate };
    let is_stale = |number, requests| {
        let mut history = World::new(3, None).run(false);
        history.writes[0] = vec![write(1, 10_000), write(2, 14_000), write(3, 16_200)];
        history.loss = Some(Loss { at_ms, survived: vec![BTreeSet::from([1]); LANES] });
        let shown = vec![Shown { lane: 0, stocks: [number, number], requests }];
        let answer = Answer { shown, asked_ms: 16_300, ..history.answers[0].clone() };
        history.answers = vec![Answer { answered_ms: 16_300, age_seconds: 1, ..answer }];
        judge(&history).iter().any(|complaint| complaint.fault == Fault::Stale)
    };
    assert!(!is_stale(1, 1), "what the new epoch began with");
    assert!(!is_stale(3, 2), "and a write since");
    assert!(!is_stale(2, 2), "all of the old epoch");
    for (number, requests) in [(0, 0), (2, 1), (3, 0)] {
        assert!(is_stale(number, requests), "{number}, {requests} in all");
    }
}

#[test]
fn a_history_without_final_answers_is_wrong() {
    let mut history = World::new(1, None).run(false);
    history.ended_ms += 60_000;
    assert_eq!(
        judge(&history).into_iter().map(|complaint| complaint.fault).collect::<BTreeSet<_>>(),
        BTreeSet::from([Fault::WrongEnd])
    );
}

#[test]
fn final_figures_are_compared_with_the_table() {
    let mut history = World::new(2, None).run(false);
    let lane =
        (0..LANES).find(|lane| !history.stored[*lane].is_empty()).expect("something was written");
    let unknown = *history.stored[lane].first().expect("it is not empty");
    history.writes[lane][unknown as usize - 1].fate = Fate::Unknown;
    history.stored[lane].remove(&unknown);
    assert!(judge(&history).iter().all(|complaint| complaint.fault == Fault::WrongEnd));
    assert!(!judge(&history).is_empty());
}
