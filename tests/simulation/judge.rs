//! Asks of each answer whether it lacks a change committed at or before the time that it claims.

use std::{collections::HashMap, sync::Arc};

use facility_summary::{cache::memory::Entry, store::Epoch};

use crate::{
    database::{CHANGES, Change, Database, KEYS, key},
    world::World,
};

/// How a history began.
#[derive(Debug, Clone, Copy)]
struct Beginning {
    /// Restores before it.
    restores: usize,
    era: usize,
}

/// A restore, or a failover that lost something: what the sources were like before it.
struct Restore {
    at: i64,
    sources: [Vec<Change>; KEYS],
}

/// An entry, and the instant that it was claimed to be exact as of.
type Asked = (Arc<Entry>, i64);

pub struct Judge {
    beginnings: HashMap<Epoch, Beginning>,
    restores: Vec<Restore>,
    /// The clock's last instant of each era before this one.
    era_ends: Vec<i64>,
    /// What each replica answered last, of each key, while it holds it.
    versions: [[i64; KEYS]; 3],
    /// Changes of each key so far, those that were lost included: each has a bit of its own.
    changes: [u32; KEYS],
    /// What was asked of last, and as of when: the same again gets the same verdict.
    asked: [[Option<Asked>; KEYS]; 3],
    /// What a replica should not have done, be its answers right so far.
    pub lie: Option<String>,
    pub answers: u64,
    /// Answers that were proven beyond their own reading.
    pub proven: u64,
}

impl Judge {
    pub fn new(first: Epoch) -> Self {
        Judge {
            beginnings: HashMap::from([(first, Beginning { restores: 0, era: 0 })]),
            restores: Vec::new(),
            era_ends: Vec::new(),
            versions: [[0; KEYS]; 3],
            changes: [0; KEYS],
            asked: Default::default(),
            lie: None,
            answers: 0,
            proven: 0,
        }
    }

    pub fn era(&self) -> usize {
        self.era_ends.len()
    }

    /// A history begins, unless it is one that has been before.
    pub fn begin(&mut self, epoch: Epoch) {
        let beginning = Beginning { restores: self.restores.len(), era: self.era() };
        self.beginnings.entry(epoch).or_insert(beginning);
    }

    /// A bit that no other change of the key has, if there is one left.
    pub fn new_bit(&mut self, k: usize) -> Option<i64> {
        self.changes[k] += 1;
        (self.changes[k] <= CHANGES).then(|| 1 << (self.changes[k] - 1))
    }

    pub fn restore(&mut self, at: i64, before: &Database) {
        self.restores.push(Restore { at, sources: before.sources.clone() });
    }

    /// A replica takes the database for one that has lost something: everything is dropped for it, which is to have its reason.
    pub fn ends(&mut self, epoch: &Epoch) {
        if self.beginnings[epoch].restores == self.restores.len() {
            self.lie = Some(format!("it ends the history {epoch}, which has lost nothing"));
        }
    }

    pub fn set_back(&mut self, at: i64) {
        self.era_ends.push(at);
    }

    pub fn forget(&mut self, r: usize) {
        self.versions[r] = [0; KEYS];
        self.asked[r] = Default::default();
    }

    /// A replica's answers, one for each key that it holds.
    pub fn check(world: &mut World, r: usize) -> Result<(), String> {
        let replica = &world.replicas[r];
        let judge = &mut world.judge;
        if let Some(lie) = judge.lie.take() {
            return Err(lie);
        }
        let Some(beginning) = replica.entered.as_ref().map(|epoch| judge.beginnings[epoch]) else { return Ok(()) };
        for k in 0..KEYS {
            let Some(entry) = replica.memory.get(&key(k)) else {
                judge.versions[r][k] = 0;
                continue;
            };
            let as_of = replica.memory.exact_as_of_ms(&entry);
            if judge.asked[r][k].as_ref().is_some_and(|(asked, at)| Arc::ptr_eq(asked, &entry) && *at == as_of) {
                continue;
            }
            judge.asked[r][k] = Some((entry.clone(), as_of));
            judge.answers += 1;
            judge.proven += u64::from(as_of > entry.as_of_ms);
            let said = || format!("version {} of key {k}, exact as of {as_of} ms, as of {} by itself", entry.version, entry.as_of_ms);
            if entry.version < judge.versions[r][k] {
                return Err(format!("{}: it held version {} just before", said(), judge.versions[r][k]));
            }
            if beginning.era == judge.era() && as_of > world.now {
                return Err(format!("{}: that is yet to come", said()));
            }
            judge.versions[r][k] = entry.version;
            judge.judge(&world.db, k, &entry, as_of.min(world.now), beginning).map_err(|lie| format!("{}: {lie}", said()))?;
        }
        Ok(())
    }

    /// `as_of` is never later than the clock shows: what is yet to come by it has not happened.
    fn judge(&self, db: &Database, k: usize, entry: &Entry, as_of: i64, beginning: Beginning) -> Result<(), String> {
        let seen = seen_by(entry);
        // Of what was restored since its history began a replica can know only by what it has read since then.
        let unnoticed = self.restores[beginning.restores..].iter().filter(|restore| as_of <= restore.at).map(|restore| &restore.sources);
        let verdicts = unnoticed.chain([&db.sources]).map(|sources| self.compare(&sources[k], seen, as_of));
        // By the last, the database's own, where none will do.
        verdicts.reduce(|before, this| before.or(this)).unwrap_or(Ok(()))
    }

    fn compare(&self, changes: &[Change], seen: i64, as_of: i64) -> Result<(), String> {
        if seen & !all_of(changes) != 0 {
            return Err("it shows what was lost".into());
        }
        let lacks = |change: &&Change| {
            // What the clock showed before it was set back may have been proven then: rows carry such instants still.
            let counts = self.era_ends.iter().take(change.era).all(|end| as_of > *end);
            change.at <= as_of && counts && seen & change.bit != change.bit
        };
        match changes.iter().find(lacks) {
            Some(change) => Err(format!("it lacks the change of {} ms", change.at)),
            None => Ok(()),
        }
    }
}

fn all_of(changes: &[Change]) -> i64 {
    changes.iter().fold(0, |all, change| all | change.bit)
}

/// The changes that the figures have seen, read from the body as a client would.
fn seen_by(entry: &Entry) -> i64 {
    const FIELD: &[u8] = b"\"total_transferred\":";
    let body = entry.body();
    let at = body.windows(FIELD.len()).position(|window| window == FIELD).expect("a body has all fields") + FIELD.len();
    body[at..].iter().take_while(|c| c.is_ascii_digit()).fold(0, |number, c| number * 10 + i64::from(c - b'0'))
}
