//! The proof rule, against random schedules of everything that happens around the memory tier, one small step at a time.

use std::collections::{HashMap, VecDeque};

use jiff::civil::date;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use uuid::Uuid;

use super::*;
use crate::domain::summary::Summary;

const KEYS: usize = 3;
/// So few that fills are often too slow for what is remembered.
const RECENT: usize = 4;

fn key(n: usize) -> Key {
    (Uuid::from_u128(n as u128 + 1), date(2026, 11, 21))
}

fn row(n: usize, version: i64, as_of_ms: i64) -> SummaryRow {
    let (facility, date) = key(n);
    SummaryRow { summary: Summary { version, ..Summary::empty(facility, date, false) }, as_of_ms, next_expires_at_ms: None }
}

fn memory(recent: usize) -> Memory {
    Memory::new(1 << 20, recent, Position { generation: 1, number: 0 })
}

fn announce(memory: &Memory, at_ms: i64) {
    memory.consume_next(&Message::Watermark { at_ms });
}

/// A stored row: its version, how many changes of its sources it has seen, and when.
#[derive(Clone, Copy, Default)]
struct Stored {
    version: i64,
    seen: usize,
    as_of: i64,
}

/// The steps of one actor still to come; each happens at an instant of its own, with other actors' steps between.
enum Step {
    /// A refresh, or an event's transaction if it brings a change: takes its position…
    Begin {
        key: usize,
        brings_change: bool,
        mark: bool,
    },
    /// …commits…
    Commit {
        key: usize,
        brings_change: bool,
        mark: bool,
        vantage: Vantage,
    },
    /// …and publishes what it found, changed or not.
    Publish {
        row: SummaryRow,
        vantage: Vantage,
    },
    /// A command beside the process: commits and publishes nothing.
    Silent {
        key: usize,
    },
    /// A reader's way past memory.
    Look {
        key: usize,
    },
    Read {
        key: usize,
        vantage: Vantage,
        watermark: i64,
    },
    Fill {
        row: SummaryRow,
        vantage: Vantage,
        as_of: i64,
    },
    /// A pass of the drain.
    Drain,
    Observe {
        vantage: Vantage,
    },
    ReadLeftovers {
        vantage: Vantage,
        keys: Vec<usize>,
        ids: Vec<u64>,
    },
    PublishLeftovers {
        vantage: Vantage,
        rows: Vec<SummaryRow>,
        ids: Vec<u64>,
    },
    Announce {
        at: i64,
    },
}

struct World {
    memory: Memory,
    now: i64,
    /// When each key's sources changed.
    changes: Vec<Vec<i64>>,
    rows: Vec<Stored>,
    /// What each version of a key had seen.
    seen: HashMap<(Key, i64), usize>,
    marks: Vec<usize>,
    outbox: Vec<(u64, usize, i64)>,
    next_id: u64,
}

impl World {
    fn new() -> World {
        World {
            memory: memory(RECENT),
            now: 0,
            changes: vec![Vec::new(); KEYS],
            rows: vec![Stored { version: 1, ..Stored::default() }; KEYS],
            seen: (0..KEYS).map(|n| ((key(n), 1), 0)).collect(),
            marks: Vec::new(),
            outbox: Vec::new(),
            next_id: 0,
        }
    }

    /// One transaction: a change of the sources if it brings one, the marks, the row, the outbox. Answers the row.
    fn commit(&mut self, n: usize, brings_change: bool, takes_mark: bool) -> SummaryRow {
        if brings_change {
            self.changes[n].push(self.now);
        }
        if takes_mark {
            self.marks.retain(|marked| *marked != n);
        }
        let stored = &mut self.rows[n];
        if stored.seen != self.changes[n].len() {
            *stored = Stored { version: stored.version + 1, seen: self.changes[n].len(), as_of: self.now };
            self.seen.insert((key(n), stored.version), stored.seen);
            self.next_id += 1;
            self.outbox.push((self.next_id, n, stored.version));
        }
        row(n, stored.version, self.now)
    }

    fn stored(&self, n: usize) -> SummaryRow {
        row(n, self.rows[n].version, self.rows[n].as_of)
    }

    /// Takes an actor's next step, and puts what follows from it before the rest.
    fn step(&mut self, step: Step, rest: &mut VecDeque<Step>) {
        match step {
            Step::Begin { key, brings_change, mark } => {
                rest.push_front(Step::Commit { key, brings_change, mark, vantage: self.memory.vantage() });
            }
            Step::Commit { key, brings_change, mark, vantage } => {
                let row = self.commit(key, brings_change, mark);
                rest.push_front(Step::Publish { row, vantage });
            }
            Step::Publish { row, vantage } => self.memory.publish(&vantage, [&row].into_iter()),
            Step::Silent { key } => drop(self.commit(key, true, false)),
            Step::Look { key } => {
                rest.push_front(Step::Read { key, vantage: self.memory.vantage(), watermark: self.memory.watermark_ms() });
            }
            Step::Read { key, vantage, watermark } => {
                let row = self.stored(key);
                rest.push_front(Step::Fill { as_of: row.as_of_ms.max(watermark), row, vantage });
            }
            Step::Fill { row, vantage, as_of } => drop(self.memory.fill(&vantage, vantage.position, &row, as_of)),
            Step::Drain => rest.push_front(Step::Observe { vantage: self.memory.vantage() }),
            Step::Observe { vantage } => {
                rest.push_front(Step::Announce { at: self.now });
                self.marks.iter().for_each(|n| rest.push_front(Step::Begin { key: *n, brings_change: false, mark: true }));
                let keys = self.outbox.iter().filter(|(_, n, v)| !self.memory.has_seen(None, &key(*n), *v)).map(|(_, n, _)| *n).collect();
                let ids = self.outbox.iter().map(|(id, ..)| *id).collect();
                rest.push_front(Step::ReadLeftovers { vantage, keys, ids });
            }
            Step::ReadLeftovers { vantage, keys, ids } => {
                let rows = keys.iter().map(|n| self.stored(*n)).collect();
                rest.push_front(Step::PublishLeftovers { vantage, rows, ids });
            }
            Step::PublishLeftovers { vantage, rows, ids } => {
                self.memory.publish(&vantage, rows.iter());
                self.outbox.retain(|(id, ..)| !ids.contains(id));
            }
            Step::Announce { at } => announce(&self.memory, at),
        }
    }

    /// No entry claims to be exact as of an instant by which a change had been committed that it has not seen.
    fn check(&self, seed: u64) {
        for n in 0..KEYS {
            let Some(entry) = self.memory.get(&key(n)) else { continue };
            let exact_as_of = self.memory.exact_as_of_ms(&entry);
            let committed = self.changes[n].iter().filter(|at| **at <= exact_as_of).count();
            let seen = self.seen[&(key(n), entry.version)];
            assert!(seen >= committed, "seed {seed}: exact as of {exact_as_of}, it has seen {seen} of {committed} changes");
        }
    }
}

fn run(seed: u64, steps: usize) -> usize {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut world = World::new();
    let mut actors: Vec<VecDeque<Step>> = Vec::new();
    let mut drain: VecDeque<Step> = VecDeque::new();
    let mut proven = 0;
    for _ in 0..steps {
        world.now += 1;
        let n = rng.random_range(0..KEYS);
        match rng.random_range(0..24) {
            0 => actors.push([Step::Begin { key: n, brings_change: true, mark: false }].into()),
            1 => actors.push([Step::Begin { key: n, brings_change: false, mark: false }].into()),
            2..5 => actors.push([Step::Look { key: n }].into()),
            5 => actors.push([Step::Silent { key: n }].into()),
            6 => {
                world.changes[n].push(world.now);
                world.marks.push(n);
            }
            7 => world.memory.forget_facility(key(n).0),
            8..14 => {
                // One pass at a time.
                let step = drain.pop_front().unwrap_or(Step::Drain);
                proven += usize::from(matches!(step, Step::Announce { .. }));
                world.step(step, &mut drain);
            }
            _ if actors.is_empty() => {}
            _ => {
                let actor = rng.random_range(0..actors.len());
                if let Some(step) = actors[actor].pop_front() {
                    world.step(step, &mut actors[actor]);
                }
                actors.retain(|steps| !steps.is_empty());
            }
        }
        world.check(seed);
    }
    proven
}

#[test]
fn no_schedule_makes_an_entry_claim_to_be_fresher_than_it_is() {
    let proven: usize = (0..120).map(|seed| run(seed, 1_000)).sum();
    assert!(proven > 500, "only {proven} watermarks were announced: the schedules prove nothing");
}

#[test]
fn a_slow_fill_that_lost_the_race_is_thrown_away() {
    let memory = memory(16);
    let before = memory.vantage();
    memory.publish(&before, [&row(0, 2, 20)].into_iter());
    assert!(matches!(memory.fill(&before, before.position, &row(0, 1, 10), 10), Fill::LostRace));
    assert_eq!(memory.get(&key(0)).unwrap().version, 2);
}

#[test]
fn a_fill_too_slow_for_what_is_remembered_keeps_its_own_instant() {
    let memory = memory(1);
    let before = memory.vantage();
    memory.publish(&before, [&row(0, 2, 20), &row(1, 1, 20)].into_iter());
    memory.forget_facility(key(0).0);
    let Fill::Kept(entry) = memory.fill(&before, before.position, &row(0, 1, 10), 10) else {
        panic!("nothing remembered speaks against it")
    };
    announce(&memory, 30);
    assert_eq!(memory.exact_as_of_ms(&entry), 10);
}

#[test]
fn a_watermark_does_not_reach_past_the_next_expiry() {
    let memory = memory(16);
    let expiring = SummaryRow { next_expires_at_ms: Some(25), ..row(0, 1, 20) };
    memory.publish(&memory.vantage(), [&expiring].into_iter());
    announce(&memory, 30);
    assert_eq!(memory.exact_as_of_ms(&memory.get(&key(0)).unwrap()), 24);
}

#[test]
fn what_was_read_before_continuity_was_lost_keeps_its_own_instant() {
    let memory = memory(16);
    let before = memory.vantage();
    memory.publish(&before, [&row(0, 1, 10)].into_iter());
    memory.lose_continuity(None);
    // A refresh and a slow fill that were under way.
    memory.publish(&before, [&row(0, 1, 10)].into_iter());
    let Fill::Kept(slow) = memory.fill(&before, before.position, &row(1, 1, 10), 10) else { panic!("nothing newer is known") };
    let Fill::Kept(after) = memory.fill(&memory.vantage(), memory.vantage().position, &row(2, 1, 10), 10) else {
        panic!("nothing newer is known")
    };
    announce(&memory, 30);
    assert_eq!([&memory.get(&key(0)).unwrap(), &slow, &after].map(|entry| memory.exact_as_of_ms(entry)), [10, 10, 30]);
}

#[test]
fn what_is_read_again_after_a_gap_waits_for_the_watermarks_behind_it() {
    let memory = memory(16);
    let at = |number| Position { generation: 1, number };
    let old = Message::Summaries(vec![StoredEntry { row: row(0, 1, 10), since: at(0) }]);
    announce(&memory, 30);
    memory.lose_continuity(Some(Position::default()));
    assert_eq!(memory.consume(&memory.vantage(), at(1), &old), Consumed::Gap);
    let exact_as_of = || memory.exact_as_of_ms(&memory.get(&key(0)).unwrap());
    assert_eq!(exact_as_of(), 10, "a newer version may stand between it and that watermark");
    memory.consume(&memory.vantage(), at(2), &Message::Watermark { at_ms: 20 });
    assert_eq!(exact_as_of(), 20);
}

#[test]
fn a_clock_set_back_leaves_nothing_proven() {
    let memory = memory(RECENT);
    let position = memory.vantage();
    memory.publish(&position, [row(0, 1, 5_000)].iter());
    announce(&memory, 9_000);
    memory.advance_table(9_000);
    memory.start_over(None);
    assert!(memory.get(&key(0)).is_none());
    assert_eq!((memory.watermark_ms(), memory.table_ms()), (i64::MIN, i64::MIN));
    announce(&memory, 2_000);
    assert_eq!(memory.watermark_ms(), 2_000, "the earlier clock counts from here");
}
