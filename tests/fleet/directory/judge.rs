//! Which answers are right, given the content of the tables over time. [`super::figures`] checks
//! the figures themselves.

mod lists;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use jiff::civil::Date;
use uuid::Uuid;

use super::{
    figures::{contradicts, date_in, possible_todays},
    seen::{Answer, Asked, Entry, Item, Said, Stated, Stating, TYPES},
    truth::{Table, Truth, Version, Window},
};
use crate::history::{CLOCK_MS, Fate};

/// Answers from the directory alone have no `Age` in the first releases of the contract. They may
/// be this old.
const DIRECTORY_MS: i64 = 60_000;

/// What must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bug {
    /// The figures of a day are not possible.
    Figures,
    /// The date is not the facility's today.
    WrongDay,
    /// A facility that certainly existed, or a day that had certainly begun, is missing.
    Missing,
    /// A facility that certainly did not exist is shown.
    Unknown,
    /// The directory shows a name or a zone that the facility cannot have had.
    Directory,
    /// An answer is older than its reader asked for.
    TooOld,
    /// A request with `only-if-cached` was not answered from memory or Redis.
    NotHeld,
    /// The version is lower than was asked for.
    WentBack,
    /// One version of a day has two bodies.
    TwoBodies,
    /// Totals are not the sums of their parts, an item comes twice, or a range lacks a day.
    Parts,
    /// The contract does not have this status, or not for this request.
    Status,
    /// An acknowledged event is not in the table, or a refused one is.
    Broken,
}

#[derive(Debug, Clone)]
pub struct Complaint {
    pub bug: Bug,
    text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.bug, self.text)
    }
}

/// What was found, and how much was judged.
#[derive(Debug, Default)]
pub struct Verdict {
    pub complaints: Vec<Complaint>,
    /// Facility-days, entries of the directory, and absences.
    pub judged: usize,
    /// Answers that were refusals, by kind. They are printed, and are not complaints.
    pub refused: BTreeMap<String, usize>,
}

/// Judges everything that was answered and stated.
pub fn judge(truth: &Truth, answers: &[Answer], stated: &[Stated]) -> Verdict {
    let mut judge = Judge { truth, verdict: Verdict::default() };
    answers.iter().for_each(|answer| judge.answer(answer));
    judge.bodies(answers);
    stated.iter().for_each(|event| judge.event(event));
    judge.verdict
}

struct Judge<'a> {
    truth: &'a Truth,
    verdict: Verdict,
}

impl Judge<'_> {
    fn complain(&mut self, bug: Bug, answer: &Answer, why: impl fmt::Display) {
        self.verdict.complaints.push(Complaint { bug, text: format!("{why}: {}", told(answer)) });
    }

    fn answer(&mut self, answer: &Answer) {
        let window = answer.window();
        self.directives(answer);
        match &answer.said {
            Said::Summary { date, item } => {
                self.item(answer, item, window, date.is_none());
                if let Some(least) = answer.asked.min_version.filter(|least| item.version < *least)
                {
                    self.complain(
                        Bug::WentBack,
                        answer,
                        format!("version {}, but min_version={least}", item.version),
                    );
                }
            }
            Said::Range { facility, from, to, items } => {
                self.range(answer, *facility, *from, *to, items, window)
            }
            Said::Listing { date, items, totals } => {
                self.listing(answer, *date, items, *totals, window)
            }
            Said::Directory(entries) => self.directory(answer, entries, window),
            Said::Facility(entry) => self.entry(answer, entry, window),
            Said::Missing { facility, date } => self.missing(answer, *facility, *date, window),
            Said::MissingDay(date) => self.missing_day(answer, *date, window),
            Said::Refused(status, text) => self.refused(answer, *status, text),
        }
    }

    /// Checks the age and the tier against the directives of the request.
    fn directives(&mut self, answer: &Answer) {
        let Asked { bound_seconds, max_stale, only_if_cached, asked_ms, answered_ms, .. } =
            answer.asked;
        if let (Some(age), Some(bound)) = (answer.age_seconds, bound_seconds) {
            let most = match max_stale {
                Some(None) => i64::MAX,
                stale => bound + stale.flatten().unwrap_or(0),
            };
            // `no-cache` needs a read that began after the request came. Such a read may get older
            // while it is sent.
            let is_new = bound == 0 && answered_ms - 1000 * age + CLOCK_MS >= asked_ms;
            if age > most && !is_new {
                self.complain(
                    Bug::TooOld,
                    answer,
                    format!("Age {age}, but the request accepts at most {most}"),
                );
            }
        }
        let held =
            ["detail=memory", "detail=redis"].iter().any(|tier| answer.source.contains(tier));
        let shows_figures =
            matches!(answer.said, Said::Summary { .. } | Said::Range { .. } | Said::Listing { .. });
        if only_if_cached && shows_figures && !held {
            self.complain(Bug::NotHeld, answer, "only-if-cached was asked for");
        }
    }

    /// Checks one day of a facility, in any answer.
    fn item(&mut self, answer: &Answer, item: &Item, window: Window, is_today: bool) {
        self.verdict.judged += 1;
        let days = possible_todays(self.truth, item.facility, window);
        let sum = |figures: &[i64; TYPES.len()]| figures.iter().sum::<i64>();
        let totals = (item.stock.as_ref().map(sum), sum(&item.transferred), sum(&item.requests));
        if days.is_empty() {
            self.complain(
                Bug::Unknown,
                answer,
                format!("facility {} did not exist", item.facility),
            );
        } else if is_today && !days.contains(&item.date) {
            self.complain(
                Bug::WrongDay,
                answer,
                format!("{} is not today at {}; today may be {days:?}", item.date, item.facility),
            );
        } else if item.totals != totals {
            self.complain(
                Bug::Parts,
                answer,
                format!(
                    "the sums of the types are {:?}, but the totals are {:?}",
                    totals, item.totals
                ),
            );
        } else if let Some(why) = contradicts(self.truth, item, window) {
            self.complain(
                Bug::Figures,
                answer,
                format!("{} of {}, version {}: {why}", item.date, item.facility, item.version),
            );
        }
    }

    /// The last states of the facility, for the message of a complaint.
    fn before(&self, facility: Uuid, answer: &Answer) -> String {
        let seen = |version: &&Version<super::truth::Facility>| {
            version.from_ms <= answer.asked.answered_ms
        };
        let versions = self.truth.facilities.versions(facility).iter().rev().filter(seen).take(3);
        let told: Vec<String> = versions
            .map(|version| {
                format!(
                    "{} {}",
                    version.from_ms,
                    version.row.as_ref().map_or("removed", |row| row.zone.as_str())
                )
            })
            .collect();
        format!(" ({})", told.join(", before "))
    }

    fn entry(&mut self, answer: &Answer, entry: &Entry, window: Window) {
        self.verdict.judged += 1;
        let window = directory_window(answer, window);
        let states = self.truth.facilities.possible(entry.facility, window);
        if states.iter().all(Option::is_none) {
            self.complain(
                Bug::Unknown,
                answer,
                format!("facility {} did not exist", entry.facility),
            );
        } else if !states
            .iter()
            .flatten()
            .any(|known| known.name == entry.name && known.zone == entry.zone)
        {
            self.complain(
                Bug::Directory,
                answer,
                format!("{entry:?}, but the possible states are {states:?}"),
            );
        }
        let Asked { asked_ms, answered_ms, .. } = answer.asked;
        let now = [asked_ms - CLOCK_MS, answered_ms].map(|at_ms| date_in(&entry.zone, at_ms));
        if entry.today.is_some_and(|today| !now.contains(&today)) {
            self.complain(Bug::WrongDay, answer, format!("{entry:?}, but today may be {now:?}"));
        }
    }

    fn missing(&mut self, answer: &Answer, facility: Uuid, date: Option<Date>, window: Window) {
        self.verdict.judged += 1;
        let window = if answer.asked.path.contains("/summaries") {
            window
        } else {
            directory_window(answer, window)
        };
        let states = self.truth.facilities.possible(facility, window);
        let has_not_begun = || {
            let days = possible_todays(self.truth, facility, window);
            date.is_some_and(|date| days.iter().any(|today| date > *today))
        };
        if states.iter().all(Option::is_some) && !has_not_begun() {
            self.complain(
                Bug::Missing,
                answer,
                format!("404, but it existed{}", self.before(facility, answer)),
            );
        }
    }

    fn refused(&mut self, answer: &Answer, status: u16, text: &str) {
        let Asked { only_if_cached, quiet, path, .. } = &answer.asked;
        let kind = path.split('?').next().unwrap_or_default().split('/').skip(2);
        let kind: Vec<&str> = kind
            .map(|part| {
                if part.len() == 36 {
                    "{id}"
                } else if part.parse::<Date>().is_ok() {
                    "{date}"
                } else {
                    part
                }
            })
            .collect();
        let when = if *quiet { "in quiet" } else { "under faults" };
        *self.verdict.refused.entry(format!("{status} {when} /{}", kind.join("/"))).or_default() +=
            1;
        let is_due = match status {
            503 => true,
            504 => *only_if_cached,
            400 => text.contains("cursor"), // its facility may have gone meanwhile
            _ => false,
        };
        if !is_due {
            self.complain(Bug::Status, answer, "it cannot be");
        }
    }

    /// The body is a function of facility, date and version.
    fn bodies(&mut self, answers: &[Answer]) {
        let mut bodies: HashMap<(Uuid, Date, i64), (u64, &Answer)> = HashMap::new();
        for answer in answers {
            let items: &[Item] = match &answer.said {
                Said::Summary { item, .. } => std::slice::from_ref(item.as_ref()),
                Said::Range { items, .. } | Said::Listing { items, .. } => items,
                _ => &[],
            };
            for item in items.iter().filter(|item| item.version > 0) {
                let (body, first) = bodies
                    .entry((item.facility, item.date, item.version))
                    .or_insert((item.body, answer));
                if *body != item.body {
                    let first = told(first);
                    self.complain(
                        Bug::TwoBodies,
                        answer,
                        format!("version {} of {}: {first}, and", item.version, item.facility),
                    );
                }
            }
        }
    }

    /// Checks that an acknowledged event is in the table by the time of its answer, and that a
    /// refused one never is.
    fn event(&mut self, event: &Stated) {
        let Stated { kind, id, stated_ms, over_ms, fate, superseded } = *event;
        let states = |id| match kind {
            Stating::Facility => stated(&self.truth.facilities, id),
            Stating::Bank => stated(&self.truth.banks, id),
            Stating::Unit => stated(&self.truth.units, id),
            Stating::Delivery => stated(&self.truth.deliveries, id),
            Stating::Request => stated(&self.truth.requests, id),
        };
        let at = states(id).into_iter().find(|(_, of_ms)| *of_ms == stated_ms);
        let why = match (fate, at) {
            (Fate::Acknowledged, None) if !superseded => {
                "it was acknowledged, and is not in the table"
            }
            (Fate::Acknowledged, Some((from_ms, _))) if from_ms > over_ms + CLOCK_MS => {
                "it was acknowledged before it was committed"
            }
            (Fate::Refused, Some(_)) => "it was refused, and is in the table",
            _ => return,
        };
        let text = format!("{kind:?} {id} as of {stated_ms}: {why}");
        self.verdict.complaints.push(Complaint { bug: Bug::Broken, text });
    }
}

/// When the versions of a row were committed, and as of when they were stated.
fn stated<T>(table: &Table<T>, id: Uuid) -> Vec<(i64, i64)>
where
    T: PartialEq,
{
    table
        .versions(id)
        .iter()
        .filter(|version| version.row.is_some())
        .map(|Version { from_ms, stated_ms, .. }| (*from_ms, *stated_ms))
        .collect()
}

fn directory_window(answer: &Answer, window: Window) -> Window {
    if answer.age_seconds.is_some() {
        window
    } else {
        Window { from_ms: answer.asked.asked_ms - DIRECTORY_MS, ..window }
    }
}

fn told(answer: &Answer) -> String {
    let Asked {
        replica,
        path,
        asked_ms,
        answered_ms,
        bound_seconds,
        max_stale,
        only_if_cached,
        min_version,
        conditional,
        quiet,
        ..
    } = &answer.asked;
    let Answer { age_seconds, source, .. } = answer;
    let Window { from_ms, .. } = answer.window();
    let said = match &answer.said {
        Said::Refused(status, text) => format!(" {status} {text}"),
        Said::Missing { .. } | Said::MissingDay(_) => " 404".to_owned(),
        _ => String::new(),
    };
    format!(
        "replica {replica} answered {path}{said} from {asked_ms} to {answered_ms}, exact as of \
         {from_ms} at least (Age {age_seconds:?}, {source:?}, max-age {bound_seconds:?}, \
         max-stale {max_stale:?}, only-if-cached {only_if_cached}, min_version {min_version:?}, \
         conditional {conditional}, quiet {quiet})"
    )
}
