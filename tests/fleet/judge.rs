//! Which answers of a fleet are right, given what was written. An answer claims to be exact as of
//! an instant. It must contain each write that was over before that instant, and cannot contain a
//! write that was sent after the answer came. It may contain a write in between, but only all of
//! it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use jiff::civil::Date;

use crate::history::{Answer, CLOCK_MS, Fate, History, Loss, Shown, Write};

/// How long a replica may still hold something of the old epoch after it has shown that it knows
/// the new one.
const GRACE_MS: i64 = 2_000;

/// What must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// An answer lacks a change older than its `Age`.
    Stale,
    /// A figure that no write explains: of a refused write, of one not sent yet, or of half a
    /// write.
    Unwritten,
    /// A reader was answered with an older version than it asked for.
    WentBack,
    /// One version of a facility-day has two bodies.
    TwoBodies,
    /// An answer was older than its reader's own bound when the reader asked.
    TooOld,
    /// A write that the database has lost is shown after the replica knew the new epoch.
    Resurrected,
    /// An acknowledged write is missing in the table, or a refused one is in it.
    Broken,
    /// The final figures are not what the table holds, or no reader read them.
    WrongEnd,
}

/// A fault, with the facts that are needed to find its cause.
#[derive(Debug, Clone)]
pub struct Complaint {
    pub fault: Fault,
    text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.fault, self.text)
    }
}

/// Everything that is wrong in a history; empty if nothing is.
pub fn judge(history: &History) -> Vec<Complaint> {
    let lanes: Vec<Lane> = history
        .writes
        .iter()
        .enumerate()
        .map(|(at, writes)| Lane::new(at, writes, history.loss.as_ref()))
        .collect();
    let mut judge = Judge { history, lanes, knows: BTreeMap::new(), complaints: Vec::new() };
    judge.learn_who_knows_of_the_loss();
    for answer in &history.answers {
        judge.answer(answer);
    }
    judge.sessions();
    judge.bodies();
    judge.end();
    judge.complaints
}

/// The writes of a lane, in the form that the checks need.
struct Lane<'a> {
    writes: &'a [Write],
    /// The writes that were acknowledged before the loss, if there was one: when each was over, and
    /// its number, both rising. `since` has those after the loss.
    before: Vec<(i64, i64)>,
    since: Vec<(i64, i64)>,
    /// The numbers that the new epoch began with.
    survived: BTreeSet<i64>,
    /// The numbers that were certainly committed to the old epoch and are not in the new one.
    lost: BTreeSet<i64>,
}

impl<'a> Lane<'a> {
    fn new(at: usize, writes: &'a [Write], loss: Option<&Loss>) -> Self {
        let acknowledged = || writes.iter().filter(|write| write.fate == Fate::Acknowledged);
        let pair = |write: &Write| (write.over_ms, write.number);
        let Some(loss) = loss else {
            return Lane {
                writes,
                before: acknowledged().map(pair).collect(),
                since: vec![],
                survived: BTreeSet::new(),
                lost: BTreeSet::new(),
            };
        };
        let before: Vec<_> =
            acknowledged().filter(|write| write.over_ms <= loss.at_ms).map(pair).collect();
        // A write that was in progress at the loss may have been committed to either epoch. So
        // nothing is certain of it.
        let since = acknowledged().filter(|write| write.sent_ms > loss.at_ms).map(pair).collect();
        let survived = loss.survived[at].clone();
        let lost = before
            .iter()
            .map(|(_, number)| *number)
            .filter(|number| !survived.contains(number))
            .collect();
        Lane { writes, before, since, survived, lost }
    }

    /// Whether these figures are certainly of the epoch after the loss: exactly what it began with,
    /// or a write that was sent since.
    fn is_of_new_epoch(&self, shown: &Shown, loss: &Loss) -> bool {
        let began_with = (self.survived.last().copied().unwrap_or(0), self.survived.len() as i64);
        (shown.stocks[0], shown.requests) == began_with
            || self.get(shown.stocks[0]).is_some_and(|write| write.sent_ms > loss.at_ms)
    }

    /// The newest number, and the count of numbers, that the answer must hold for these figures.
    fn due(&self, answer: &Answer, shown: &Shown, loss: Option<&Loss>) -> (i64, i64) {
        let exact_ms = answer.claims_ms();
        let over = |acknowledged: &[(i64, i64)]| {
            let count = acknowledged.partition_point(|(over_ms, _)| *over_ms <= exact_ms);
            (acknowledged[..count].last().map_or(0, |(_, number)| *number), count as i64)
        };
        let (old, since) = (over(&self.before), over(&self.since));
        let new = (
            since.0.max(self.survived.last().copied().unwrap_or(0)),
            since.1 + self.survived.len() as i64,
        );
        match loss {
            Some(loss) if exact_ms >= loss.at_ms => new,
            // What the new epoch began with is all that there was at any instant before the loss.
            Some(loss) if answer.answered_ms >= loss.at_ms && self.is_of_new_epoch(shown, loss) => {
                new
            }
            // The claim is rounded, so it may be of either epoch.
            Some(loss) if answer.answered_ms - 1000 * answer.age_seconds >= loss.at_ms => {
                (old.0.min(new.0), old.1.min(new.1))
            }
            _ => old,
        }
    }

    /// How many numbers may have taken effect by then at most.
    fn possible(&self, answered_ms: i64) -> i64 {
        let sent = self.writes.partition_point(|write| write.sent_ms <= answered_ms);
        self.writes[..sent].iter().filter(|write| write.fate != Fate::Refused).count() as i64
    }

    fn get(&self, number: i64) -> Option<&Write> {
        self.writes.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }
}

struct Judge<'a> {
    history: &'a History,
    lanes: Vec<Lane<'a>>,
    /// By replica: the time from which it knows of the loss.
    knows: BTreeMap<usize, i64>,
    complaints: Vec<Complaint>,
}

impl Judge<'_> {
    fn complain(&mut self, fault: Fault, text: String) {
        self.complaints.push(Complaint { fault, text });
    }

    /// A replica knows the new epoch once it claims exactness as of an instant of it.
    fn learn_who_knows_of_the_loss(&mut self) {
        let Some(loss) = &self.history.loss else { return };
        for answer in self.history.answers.iter().filter(|answer| answer.claims_ms() >= loss.at_ms)
        {
            let known_ms = self.knows.entry(answer.replica).or_insert(i64::MAX);
            *known_ms = (*known_ms).min(answer.answered_ms);
        }
    }

    /// Whether the answer is certainly of the epoch after the loss, or certainly of the one before;
    /// `None` if neither is certain.
    fn is_new(&self, answer: &Answer) -> Option<bool> {
        let Some(loss) = &self.history.loss else { return Some(true) };
        let known = self
            .knows
            .get(&answer.replica)
            .is_some_and(|known_ms| answer.asked_ms > known_ms + GRACE_MS);
        match answer {
            _ if known || answer.claims_ms() >= loss.at_ms => Some(true),
            _ if answer.answered_ms < loss.at_ms => Some(false),
            _ => None,
        }
    }

    fn answer(&mut self, answer: &Answer) {
        // Figures that were within the bound at the request may be older when the answer arrives.
        let latest_ms = answer.answered_ms - 1000 * answer.age_seconds;
        if let Some(bound) = answer
            .bound_seconds
            .filter(|bound| latest_ms + CLOCK_MS < answer.asked_ms - 1000 * bound)
        {
            self.complain(
                Fault::TooOld,
                format!("the request has max-age={bound}: {}", told(answer)),
            );
        }
        for shown in &answer.shown {
            if let Some((fault, why)) = self.explain(answer, shown) {
                self.complain(fault, format!("lane {}: {why}: {}", shown.lane, told(answer)));
            }
        }
    }

    /// Why these figures are not possible.
    fn explain(&self, answer: &Answer, shown: &Shown) -> Option<(Fault, String)> {
        let lane = &self.lanes[shown.lane];
        let [number, other] = shown.stocks;
        if number != other {
            return Some((
                Fault::Unwritten,
                format!("{number} and {other} differ, but one transaction writes both"),
            ));
        }
        let write = lane.get(number);
        if number != 0 && write.is_none_or(|write| write.sent_ms > answer.answered_ms) {
            return Some((Fault::Unwritten, format!("{number} was not sent yet")));
        }
        if write.is_some_and(|write| write.fate == Fate::Refused) {
            return Some((Fault::Unwritten, format!("{number} was refused")));
        }
        let (requests, possible) = (shown.requests, lane.possible(answer.answered_ms));
        if requests > possible {
            return Some((
                Fault::Unwritten,
                format!("{requests} requests, but at most {possible} were made"),
            ));
        }
        let (newest, count) = lane.due(answer, shown, self.history.loss.as_ref());
        if number < newest || requests < count {
            let over_ms = lane.get(newest).map_or(0, |write| write.over_ms);
            let (late_ms, why) = (
                answer.claims_ms() - over_ms,
                "was over before the instant that it claims to be exact as of",
            );
            return Some((
                Fault::Stale,
                format!(
                    "{number} ({requests} in all) where {newest} ({count} in all) {why}, by \
                     {late_ms} ms or more"
                ),
            ));
        }
        if lane.lost.contains(&number)
            && self.is_new(answer) == Some(true)
            && self.history.loss.is_some()
        {
            return Some((Fault::Resurrected, format!("{number} was lost")));
        }
        None
    }

    /// Checks that a version is at least what was asked for, and that the versions of each reader
    /// rise.
    fn sessions(&mut self) {
        let mut seen: HashMap<(usize, usize, Date), (i64, i64)> = HashMap::new();
        let mut in_order: Vec<&Answer> = self.history.answers.iter().collect();
        in_order.sort_by_key(|answer| answer.asked_ms);
        for answer in in_order {
            if let Some(least) = answer.min_version.filter(|least| answer.version < *least) {
                self.complain(
                    Fault::WentBack,
                    format!("the request has min_version={least}: {}", told(answer)),
                );
            }
            let Some(session) = answer.session else { continue };
            let (version, answered_ms) =
                seen.entry((session, answer.facility, answer.date)).or_insert((0, i64::MIN));
            if answer.version < *version && *answered_ms <= answer.asked_ms {
                let text = format!("the reader had seen version {version}: {}", told(answer));
                self.complaints.push(Complaint { fault: Fault::WentBack, text });
            }
            if answer.version >= *version {
                (*version, *answered_ms) = (answer.version, answer.answered_ms);
            }
        }
    }

    /// Checks that the body is a function of facility, date and version, within one epoch.
    fn bodies(&mut self) {
        let mut bodies: HashMap<(bool, usize, Date, i64), (u64, &Answer)> = HashMap::new();
        let mut found = Vec::new();
        for answer in &self.history.answers {
            let Some(new) = self.is_new(answer) else { continue };
            let (body, first) = bodies
                .entry((new, answer.facility, answer.date, answer.version))
                .or_insert((answer.body, answer));
            if *body != answer.body {
                found.push(format!("{}, and {}", told(first), told(answer)));
            }
        }
        found.into_iter().for_each(|text| self.complain(Fault::TwoBodies, text));
    }

    /// Checks the end: every acknowledged write is in the table, no refused one is, and the figures
    /// are those of the table.
    fn end(&mut self) {
        for at in 0..self.lanes.len() {
            let (lane, stored) = (&self.lanes[at], &self.history.stored[at]);
            let mut wrong = Vec::new();
            for write in lane.writes {
                let (there, number) = (stored.contains(&write.number), write.number);
                let is_lost = lane.lost.contains(&number);
                let in_two_minds =
                    self.history.loss.as_ref().is_some_and(|loss| {
                        write.sent_ms <= loss.at_ms && write.over_ms > loss.at_ms
                    });
                match write.fate {
                    Fate::Acknowledged if !there && !is_lost && !in_two_minds => {
                        wrong.push(format!("{number} was acknowledged, but is not stored"))
                    }
                    Fate::Acknowledged if there && is_lost => {
                        wrong.push(format!("{number} was lost, but is stored again"))
                    }
                    Fate::Refused if there => {
                        wrong.push(format!("{number} was refused, but is stored"))
                    }
                    _ => {}
                }
            }
            wrong
                .into_iter()
                .for_each(|what| self.complain(Fault::Broken, format!("lane {at}: {what}")));
            self.final_figures(at);
        }
    }

    fn final_figures(&mut self, at: usize) {
        let stored = &self.history.stored[at];
        let want = (stored.last().copied().unwrap_or(0), stored.len() as i64);
        let last = self
            .history
            .answers
            .iter()
            .filter(|answer| answer.claims_ms() >= self.history.ended_ms);
        let shown: Vec<_> = last
            .flat_map(|answer| {
                answer.shown.iter().filter(|shown| shown.lane == at).map(move |s| (answer, *s))
            })
            .collect();
        if shown.is_empty() {
            self.complain(Fault::WrongEnd, format!("lane {at}: no answer is exact as of the end"));
        }
        for (answer, shown) in shown {
            if (shown.stocks[0], shown.requests) != want {
                let (newest, count) = want;
                self.complain(
                    Fault::WrongEnd,
                    format!(
                        "lane {at}: the table holds {count}, the newest {newest}: {}",
                        told(answer)
                    ),
                );
            }
        }
    }
}

fn told(answer: &Answer) -> String {
    let Answer {
        replica,
        facility,
        date,
        asked_ms,
        answered_ms,
        age_seconds,
        version,
        source,
        shown,
        ..
    } = answer;
    let took_ms = answered_ms - asked_ms;
    let figures: Vec<_> =
        shown.iter().map(|shown| (shown.lane, shown.stocks, shown.requests)).collect();
    format!(
        "replica {replica}, asked at {asked_ms} and answered within {took_ms} ms, shows version \
         {version} of facility {facility} on {date} with Age {age_seconds} from {source:?}: \
         {figures:?}"
    )
}
