//! What a subscriber shows, and what it has been told of it. Each message is checked: no version
//! goes back, nothing is shown of others, and what is claimed to be exact is.

use std::collections::HashMap;

use facility_summary::access::Visible;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::messages::Told;
use crate::{
    judge::{Judge, Shown},
    places::{FACILITIES, facility_id, facility_of, index, told},
    world::World,
};

/// A screen.
#[derive(Default)]
pub struct Screen {
    /// The epoch that it was told.
    pub epoch: Option<String>,
    /// What it shows of each facility.
    pub figures: [Option<(Shown, String)>; FACILITIES],
    /// The versions that it has seen in this epoch, by key.
    versions: HashMap<usize, i64>,
    /// What is in the totals.
    totals: Option<[Option<Shown>; FACILITIES]>,
    /// The facilities that it follows by name, as it was told.
    pub follows: [bool; FACILITIES],
    /// It follows all.
    pub follows_all: bool,
    /// It follows the totals.
    pub follows_totals: bool,
    /// Nothing can be proven, as it was told.
    pub is_stalled: bool,
    /// As of when it has everything, by the last heartbeat.
    pub exact_ms: Option<i64>,
    /// The id of the last event.
    pub last_id: Option<String>,
    /// How many claims were checked.
    pub claims: u64,
}

/// An instant of a message.
fn instant(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    Some(text.parse::<Timestamp>().expect("an instant in RFC 3339").as_millisecond())
}

fn shown(summary: &Value) -> (usize, Shown) {
    let id: Uuid = summary["facility_id"].as_str().expect("an id").parse().expect("an id");
    let date = summary["date"].as_str().expect("a date").parse().expect("a date");
    let key = facility_summary::domain::summary::Key { facility_id: id, date };
    let shown = Shown {
        key: index(&key),
        version: summary["version"].as_i64().expect("a version"),
        activity: summary["total_transferred"].as_i64().expect("a figure"),
        stock: summary["total_stock"].as_i64(),
    };
    (facility_of(&id), shown)
}

impl Screen {
    /// A connection was made: nothing is followed on it yet.
    pub fn connects(&mut self, says_what_it_has: bool) {
        if !says_what_it_has {
            self.versions.clear();
        }
        (self.follows, self.follows_all, self.follows_totals) = Default::default();
        self.totals = None;
        self.exact_ms = None;
        self.is_stalled = false;
    }

    /// Versions may go back.
    pub fn forget_versions(&mut self) {
        self.versions.clear();
    }

    /// The page was loaded anew: it has nothing.
    pub fn forget(&mut self) {
        self.begin(None);
    }

    fn begin(&mut self, epoch: Option<String>) {
        self.epoch = epoch;
        self.figures = Default::default();
        self.totals = None;
        self.versions.clear();
        self.last_id = None;
    }

    /// Whether it shows a facility because it follows it.
    pub fn follows(&self, f: usize, visible: &Visible) -> bool {
        self.follows[f] || (self.follows_all && visible.has(facility_id(f)))
    }

    /// Takes a message in. The error says what is wrong with it. `visible` is what the subscriber
    /// may see.
    pub fn take(&mut self, message: Told, visible: &Visible, world: &World) -> Result<(), String> {
        let Told { name, members, id } = message;
        match name.as_str() {
            "hello" => {
                let epoch = members["epoch"].as_str().map(str::to_owned);
                if epoch != self.epoch {
                    self.begin(epoch);
                }
            }
            "epoch" => self.begin(members["epoch"].as_str().map(str::to_owned)),
            "subscribed" => self.subscribed(&members),
            "summary" => self.summary(&members, visible, world, false)?,
            "summaries" => {
                let list = members["summaries"].as_array().expect("a list");
                list.iter().try_for_each(|item| self.summary(item, visible, world, true))?;
            }
            "totals" => self.take_totals(&members, visible, world)?,
            "heartbeat" => {
                let exact_ms = instant(&members["exact_as_of"]);
                self.exact_ms = exact_ms;
                if let Some(exact_ms) = exact_ms {
                    self.check_claim(exact_ms, visible, world)?;
                }
            }
            "stalled" => self.is_stalled = true,
            "resumed" => self.is_stalled = false,
            "error" => self.error(&members)?,
            other => return Err(format!("it is told {other}: {members}")),
        }
        if id.is_some() {
            self.last_id = id.filter(|id| !id.is_empty());
        }
        Ok(())
    }

    fn subscribed(&mut self, members: &Value) {
        for id in members["facilities"].as_array().expect("a list") {
            self.follows[facility_of(&id.as_str().expect("an id").parse().expect("an id"))] = true;
        }
        for refused in members["refused"].as_array().expect("a list") {
            let id: Uuid = refused["facility_id"].as_str().expect("an id").parse().expect("an id");
            self.figures[facility_of(&id)] = None;
        }
        match members["subject"].as_str() {
            Some("all") => {
                self.follows_all = true;
                let keeps = self.follows;
                let others = self.figures.iter_mut().zip(keeps).filter(|(_, keeps)| !keeps);
                others.for_each(|(figure, _)| *figure = None);
            }
            Some("totals") => self.follows_totals = true,
            _ => {}
        }
    }

    fn error(&mut self, members: &Value) -> Result<(), String> {
        let ids = members["facilities"].as_array().cloned().unwrap_or_default();
        let ids = ids.into_iter().chain([members["facility_id"].clone()]);
        let is_hidden = match members["code"].as_str() {
            Some("forbidden") => true,
            Some("unknown_facility") => false,
            _ => return Err(format!("it is told an error: {members}")),
        };
        for id in ids.filter_map(|id| id.as_str().map(str::to_owned)) {
            let f = facility_of(&id.parse().expect("an id"));
            self.figures[f] = None;
            self.follows[f] &= !is_hidden;
            // Versions of another life begin anew, and what is hidden is not compared.
            self.versions.retain(|k, _| k / crate::places::DATES != f);
        }
        Ok(())
    }

    fn summary(
        &mut self,
        item: &Value,
        visible: &Visible,
        world: &World,
        is_of_all: bool,
    ) -> Result<(), String> {
        let (f, shown) = shown(&item["summary"]);
        let is_followed = if is_of_all { self.follows_all } else { self.follows[f] };
        if !is_followed {
            return Err(format!("it gets facility {f}, which it does not follow"));
        }
        if !visible.has(facility_id(f)) {
            return Err(format!("it gets facility {f}, which it may not see"));
        }
        let seen = self.versions.entry(shown.key).or_insert(shown.version);
        if shown.version < *seen {
            return Err(format!(
                "it gets version {} of key {}, and has seen version {seen} in epoch {:?}",
                shown.version, shown.key, self.epoch
            ));
        }
        *seen = shown.version;
        let as_of = instant(&item["as_of"]).expect("a summary is exact as of an instant");
        self.check(f, Some(&shown), as_of, world).map_err(|lie| format!("a summary: {lie}"))?;
        let etag = item["etag"].as_str().expect("a tag").to_owned();
        self.figures[f] = Some((shown, etag));
        Ok(())
    }

    fn take_totals(
        &mut self,
        members: &Value,
        visible: &Visible,
        world: &World,
    ) -> Result<(), String> {
        let mut totals = [None; FACILITIES];
        for row in members["totals"].as_array().expect("a list") {
            let f = row["facility"].as_u64().expect("a number") as usize;
            totals[f] = Some(Shown {
                key: row["key"].as_u64().expect("a number") as usize,
                version: 0,
                activity: row["activity"].as_i64().expect("a figure"),
                stock: row["stock"].as_i64(),
            });
            if !visible.has(facility_id(f)) {
                return Err(format!("it gets totals with facility {f}, which it may not see"));
            }
        }
        let as_of = instant(&members["as_of"]).expect("totals are exact as of an instant");
        self.totals = Some(totals);
        self.check_totals(as_of, visible, world)
    }

    fn check_totals(&self, as_of: i64, visible: &Visible, world: &World) -> Result<(), String> {
        let Some(totals) = &self.totals else { return Err("it has no totals".into()) };
        (0..FACILITIES).filter(|f| visible.has(facility_id(*f))).try_for_each(|f| {
            self.check(f, totals[f].as_ref(), as_of, world).map_err(|lie| format!("totals: {lie}"))
        })
    }

    /// A heartbeat claims that the subscriber has everything up to an instant.
    fn check_claim(&mut self, as_of: i64, visible: &Visible, world: &World) -> Result<(), String> {
        self.claims += 1;
        for f in (0..FACILITIES).filter(|f| self.follows(*f, visible)) {
            let figures = self.figures[f].as_ref().map(|(shown, _)| shown);
            self.check(f, figures, as_of, world)
                .map_err(|lie| format!("a heartbeat as of {} ms: {lie}", told(as_of)))?;
        }
        if self.follows_totals {
            self.check_totals(as_of, visible, world)
                .map_err(|lie| format!("a heartbeat as of {} ms: {lie}", told(as_of)))?;
        }
        Ok(())
    }

    /// Whether it is true that this is what there is of a facility as of an instant.
    pub fn check(
        &self,
        f: usize,
        shown: Option<&Shown>,
        as_of: i64,
        world: &World,
    ) -> Result<(), String> {
        let Some(epoch) = &self.epoch else {
            return Err("something is claimed of no epoch".into());
        };
        Judge::check_shown(world, f, shown, as_of, epoch)
            .map_err(|lie| format!("{shown:?} of facility {f} as of {} ms: {lie}", told(as_of)))
    }
}
