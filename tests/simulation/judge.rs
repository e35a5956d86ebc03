//! The judge: does an answer lack a change that was committed at or before the instant that the
//! answer claims?

use std::{collections::HashMap, rc::Rc, sync::Arc};

use facility_summary::{
    cache::memory::Entry,
    domain::summary::{Bounds, Summary},
    protocol::Epoch,
};

use crate::{
    database::Database,
    mutants::Mutant,
    places::{
        BANKS, DATES, FACILITIES, KEYS, ZONES, day, facility_id, has_begun, key, told, zone_of,
    },
    replica::Replica,
    truth::{Answer, Claim},
    views::{self, HeldPage},
    world::World,
};

/// How an epoch began.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    /// The number of restores before the epoch.
    restores: usize,
    era: usize,
}

/// A restore, or a failover that lost something: the database as it was before.
struct Restore {
    at: i64,
    before: Rc<Database>,
}

/// What a change belongs to. Each facility and bank numbers its changes with bits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Facility(usize),
    Bank(usize),
}

/// The most changes that a schedule can have: each is a bit of the figures.
const CHANGES: u32 = 62;
const CHANGES_OF_A_BANK: u32 = CHANGES / BANKS as u32;

/// The bits of a bank's units.
pub fn bank_bits(bank: usize) -> i64 {
    ((1 << CHANGES_OF_A_BANK) - 1) << (CHANGES_OF_A_BANK * bank as u32)
}

/// The entry of the last answer, its zone, and the instant as of which it was exact. The same
/// answer again needs no second check.
type Asked = (Option<Arc<Entry>>, Option<usize>, i64);

/// What a live client shows of a facility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The key of the facility-day.
    pub key: usize,
    /// Its version.
    pub version: i64,
    /// Which activity it contains.
    pub activity: i64,
    /// Which units it contains.
    pub stock: Option<i64>,
}

/// Checks the answers of a schedule.
pub struct Judge {
    beginnings: HashMap<Epoch, Beginning>,
    restores: Vec<Restore>,
    /// The last instant of the clock in each era before the current one, in milliseconds.
    era_ends: Vec<i64>,
    /// The version of each key that each replica holds; 0 when it holds none.
    versions: [[i64; KEYS]; 3],
    /// How many changes there were so far, lost ones included: each has a bit of its own.
    changes: [u32; FACILITIES + BANKS],
    asked: [[Option<Asked>; KEYS]; 3],
    /// The page of each date that each replica holds from its view.
    pub pages: [[Option<HeldPage>; DATES]; 3],
    /// What a replica did wrong, even if its answers are right so far.
    pub wrong: Option<String>,
    /// Answers that were checked.
    pub answers: u64,
    /// Answers that are proven as of a later instant than that of their own read.
    pub proven: u64,
    /// Lists that were checked.
    pub lists: u64,
}

impl Judge {
    /// The judge at the begin of a schedule, in the epoch `first`.
    pub fn new(first: Epoch) -> Self {
        Judge {
            beginnings: HashMap::from([(first, Beginning { restores: 0, era: 0 })]),
            restores: Vec::new(),
            era_ends: Vec::new(),
            versions: [[0; KEYS]; 3],
            changes: Default::default(),
            asked: Default::default(),
            pages: Default::default(),
            wrong: None,
            answers: 0,
            proven: 0,
            lists: 0,
        }
    }

    /// How often the clock was set back.
    pub fn era(&self) -> usize {
        self.era_ends.len()
    }

    /// Records that an epoch begins, unless it existed before.
    pub fn begin(&mut self, epoch: Epoch) {
        let beginning = Beginning { restores: self.restores.len(), era: self.era() };
        self.beginnings.entry(epoch).or_insert(beginning);
    }

    /// A bit that no other change of this facility or bank has; `None` when all are used.
    pub fn new_bit(&mut self, of: Of) -> Option<i64> {
        let (place, first, most) = match of {
            Of::Facility(f) => (f, 0, CHANGES),
            Of::Bank(bank) => {
                (FACILITIES + bank, CHANGES_OF_A_BANK * bank as u32, CHANGES_OF_A_BANK)
            }
        };
        self.changes[place] += 1;
        let nth = self.changes[place];
        (nth <= most).then(|| 1 << (first + nth - 1))
    }

    /// Records a restore; `before` is the database before it.
    pub fn restore(&mut self, at: i64, before: &Database) {
        self.restores.push(Restore { at, before: Rc::new(before.clone()) });
    }

    /// A replica finds that the database has lost something, and drops everything. It is wrong when
    /// the database has lost nothing.
    pub fn ends(&mut self, epoch: &Epoch) {
        if self.beginnings[epoch].restores == self.restores.len() {
            self.wrong = Some(format!("it ends the epoch {epoch}, which has lost nothing"));
        }
    }

    /// Records that the clock is set back; `at` is its last instant.
    pub fn set_back(&mut self, at: i64) {
        self.era_ends.push(at);
    }

    /// Forgets the versions that a replica held: it holds nothing now.
    pub fn forget(&mut self, r: usize) {
        self.versions[r] = [0; KEYS];
        self.asked[r] = Default::default();
        self.pages[r] = Default::default();
    }

    /// How the epoch began that a replica serves; `None` when it serves none.
    pub fn beginning(world: &World, r: usize) -> Option<Beginning> {
        world.replicas[r].entered.as_ref().map(|epoch| world.judge.beginnings[epoch])
    }

    /// Checks what a replica answers from memory and directory, for each key. One of the keys is
    /// today.
    pub fn check(world: &mut World, r: usize) -> Result<(), String> {
        if let Some(wrong) = world.judge.wrong.take() {
            return Err(wrong);
        }
        let Some(beginning) =
            Judge::beginning(world, r).filter(|_| world.replicas[r].directory.is_loaded())
        else {
            return Ok(());
        };
        (0..KEYS).try_for_each(|k| Judge::check_key(world, r, k, beginning))?;
        views::check(world, r)
    }

    fn check_key(
        world: &mut World,
        r: usize,
        k: usize,
        beginning: Beginning,
    ) -> Result<(), String> {
        let (replica, mutant) = (&world.replicas[r], world.mutant);
        let held = replica.memory.get(&key(k));
        let version = held.as_ref().map_or(0, |held| held.version);
        if held.is_some() && version < world.judge.versions[r][k] {
            return Err(format!(
                "it holds version {version} of key {k}, and held version {} just before",
                world.judge.versions[r][k]
            ));
        }
        world.judge.versions[r][k] = version;
        let directory_ms = match mutant {
            Some(Mutant::DirectoryCountsUnread) => replica.memory.watermark_ms(),
            _ => replica.directory.exact_as_of_ms(),
        };
        let located = replica.directory.locate(facility_id(k / DATES));
        let zone = located.map(|located| zone_of(&located.facility.zone.name));
        let (now, replica) = (world.clock(r), &world.replicas[r]);
        let found = answer_of(replica, mutant, (k, zone), (held, directory_ms), now);
        let Some((answer, entry, as_of)) = found else { return Ok(()) };
        if as_of == i64::MIN {
            return Ok(()); // nothing is proven yet
        }
        let judge = &mut world.judge;
        let is_same = |(of, in_zone, at): &Asked| {
            let is_of = of.as_ref().map(Arc::as_ptr) == entry.as_ref().map(Arc::as_ptr);
            is_of && *in_zone == zone && *at == as_of
        };
        if judge.asked[r][k].as_ref().is_some_and(is_same) {
            return Ok(());
        }
        judge.answers += 1;
        judge.proven += u64::from(entry.as_ref().is_some_and(|entry| as_of > entry.as_of_ms));
        if beginning.era == judge.era() && as_of > world.now {
            return Err(format!(
                "{answer:?} of key {k} as of {} ms, which is in the future",
                told(as_of)
            ));
        }
        judge.judge(&world.db, k, answer, (as_of, world.now), beginning).map_err(|wrong| {
            let itself = entry.as_ref().map_or(String::new(), |entry| {
                format!("version {}, as of {} ms by itself, ", entry.version, told(entry.as_of_ms))
            });
            format!("{answer:?} of key {k}, {itself}exact as of {} ms: {wrong}", told(as_of))
        })?;
        judge.asked[r][k] = Some((entry, zone, as_of));
        Ok(())
    }

    /// `at`: the instant that the answer claims, and the clock's time.
    fn judge(
        &self,
        db: &Database,
        k: usize,
        answer: Answer,
        at: (i64, i64),
        beginning: Beginning,
    ) -> Result<(), String> {
        self.in_one_of_its_worlds(db, at, beginning, |claim, db| claim.judge(db, k, answer))
    }

    /// Checks a list of one date: the answer for each facility, `None` for those that are not in
    /// the list.
    pub fn check_list(
        world: &mut World,
        date: usize,
        answers: &[Option<Answer>],
        as_of: i64,
        beginning: Beginning,
    ) -> Result<(), String> {
        world.judge.lists += 1;
        let (judge, at) = (&world.judge, (as_of, world.now));
        answers.iter().enumerate().try_for_each(|(f, answer)| {
            let k = f * DATES + date;
            let judged =
                judge.in_one_of_its_worlds(&world.db, at, beginning, |claim, db| match answer {
                    Some(answer) => claim.judge(db, k, *answer),
                    None => claim.judge_absence(db, k),
                });
            judged.map_err(|wrong| {
                format!(
                    "a list of date {date} as of {} ms, {answer:?} of facility {f}: {wrong}",
                    told(as_of)
                )
            })
        })
    }

    /// Checks what a live client shows as today of a facility, `None` where there is no such
    /// facility, as of an instant. It was told that this epoch is served.
    pub fn check_shown(
        world: &World,
        f: usize,
        shown: Option<&Shown>,
        as_of: i64,
        epoch: &str,
    ) -> Result<(), String> {
        let judge = &world.judge;
        let mut beginnings = judge.beginnings.iter();
        let found = beginnings.find(|(known, _)| known.name() == epoch);
        let Some((_, beginning)) = found else { return Err(format!("no epoch is {epoch}")) };
        if beginning.era == judge.era() && as_of > world.now {
            return Err("that is in the future".into());
        }
        judge.in_one_of_its_worlds(&world.db, (as_of, world.now), *beginning, |claim, db| {
            let Some(Shown { key, activity, stock, .. }) = shown.copied() else {
                return claim.judge(db, f * DATES, Answer::Gone);
            };
            let in_zone = |zone: usize| match as_of < day(key, zone).end_ms {
                true => {
                    let answer = Answer::Figures { zone, activity, stock, has_row: true };
                    claim.judge(db, key, answer)
                }
                false => Err(format!("it is not today in {}", ZONES[zone])),
            };
            let both = |a: Result<(), String>, b: Result<(), String>| match (a, b) {
                (Err(a), Err(b)) => Err(format!("{a}; else {b}")),
                (a, b) => a.and(b).or(Ok(())),
            };
            (0..ZONES.len()).map(in_zone).reduce(both).unwrap_or(Ok(()))
        })
    }

    /// Whether the claim is true of the database, or of a state before a restore that the replica
    /// cannot know of. It is not later than the clock's time, since later changes do not exist yet.
    fn in_one_of_its_worlds(
        &self,
        db: &Database,
        (as_of, now): (i64, i64),
        beginning: Beginning,
        is_true: impl Fn(&Claim, &Database) -> Result<(), String>,
    ) -> Result<(), String> {
        let as_of = as_of.min(now);
        let claim = Claim { as_of, era_ends: &self.era_ends, now };
        // A replica notices a restore only by what it reads after it.
        let unnoticed = self.restores[beginning.restores..]
            .iter()
            .filter(|restore| as_of <= restore.at)
            .map(|restore| &*restore.before);
        let verdicts = unnoticed.chain([db]).map(|db| is_true(&claim, db));
        // If no verdict is good, the last one counts: the one about the database itself.
        verdicts.reduce(|before, this| before.or(this)).unwrap_or(Ok(()))
    }
}

/// The answer that a replica would give about a key, the entry it comes from, and as of when it is
/// exact. `None` where memory holds nothing of that day.
fn answer_of(
    replica: &Replica,
    mutant: Option<Mutant>,
    (k, zone): (usize, Option<usize>),
    (held, directory_ms): (Option<Arc<Entry>>, i64),
    now: i64,
) -> Option<(Answer, Option<Arc<Entry>>, i64)> {
    Some(match zone {
        None => (Answer::Gone, None, directory_ms),
        Some(zone) if !has_begun(&day(k, zone), now) => {
            (Answer::NotBegun { zone }, None, directory_ms)
        }
        Some(zone) => {
            let is_of = |entry: &Arc<Entry>| match mutant {
                Some(Mutant::AnyDayOfThatName) => {
                    Bounds::are_of(None, entry.as_of_ms, &day(k, zone))
                }
                _ => entry.is_of(&day(k, zone)),
            };
            let entry = held.filter(is_of)?;
            let as_of = match mutant {
                Some(Mutant::HitsWithoutDirectory) => replica.memory.exact_as_of_ms(&entry),
                _ => replica.memory.exact_as_of_ms_within(&entry, directory_ms),
            };
            let summary: Summary =
                serde_json::from_slice(&entry.body()).expect("a body is a summary");
            let (activity, stock) = (summary.total_transferred, summary.total_stock);
            let has_row = summary.version > 0;
            (Answer::Figures { zone, activity, stock, has_row }, Some(entry), as_of)
        }
    })
}
