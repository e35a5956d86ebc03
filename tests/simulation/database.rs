//! The simulated database: facilities, blood banks, sources, rows, marks, outboxes, and what all
//! replicas agree on. Each method is one statement or one commit.

use std::collections::HashMap;

use facility_summary::{
    domain::{
        day::Day,
        summary::{Bounds, Key, Summary, SummaryRow},
    },
    protocol::{Epoch, Watermark},
    store::{
        DrainSnapshot, FacilitiesRead, FacilityRow, Mark, MarkKind, NoticedMarks, OutboxCounters,
        TableRead, Triggers,
    },
};
use uuid::Uuid;

use crate::places::{
    BANKS, DATES, FACILITIES, KEYS, PLACES, ZONES, day, facility_id, facility_of, has_begun, key,
};
pub use crate::source_rows::{Activity, Bank, Change, Facility, Stay};

/// What a mark says has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    Activity {
        facility: usize,
        place: usize,
    },
    /// Units of a bank, with the facility that it was in when the statement ran.
    Bank {
        bank: usize,
        was_in: Option<usize>,
    },
    Stock {
        facility: usize,
    },
    Facility {
        facility: usize,
    },
}

/// The content of the database.
#[derive(Clone)]
pub struct Database {
    /// The parts of its epoch: a restore or a failover changes the timeline, a new salt the salt.
    pub timeline: u32,
    /// The other part of its epoch.
    pub salt: u32,
    /// The facilities.
    pub facilities: [Facility; FACILITIES],
    /// The blood banks.
    pub banks: [Bank; BANKS],
    /// The summary rows, by key.
    pub rows: [Option<SummaryRow>; KEYS],
    /// The marks, as (id, what it names).
    pub marks: Vec<(i64, About)>,
    /// (id, key, version)
    pub outbox: Vec<(i64, usize, i64)>,
    /// (id, facility)
    pub notes: Vec<(i64, usize)>,
    /// The last id that was given.
    pub next_id: i64,
    /// The last generation that was begun; 0 for none.
    pub generation: i64,
    /// The stored watermark, with the epoch that it is of.
    pub watermark: Option<(Watermark, (u32, u32))>,
}

/// The epoch of a timeline and a salt.
pub fn epoch((timeline, salt): (u32, u32)) -> Epoch {
    Epoch::of(&format!("{timeline}.{salt}"))
}

/// The figures of a key: which activity of its facility and which units of today they contain, and
/// until when they are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// The bits of the activity that they contain.
    pub activity: i64,
    /// The bits of the units that they contain; `None` for a day that is not today.
    pub stock: Option<i64>,
    /// The instant from which they are not right any more, in milliseconds.
    pub holds_until: Option<i64>,
}

/// The row of a key with these figures.
pub fn row(k: usize, day: &Day, figures: Figures, version: i64, as_of_ms: i64) -> SummaryRow {
    let Key { facility_id, date } = key(k);
    let empty = Summary::empty(facility_id, date, false);
    let summary = Summary {
        version,
        total_transferred: figures.activity,
        total_stock: figures.stock,
        ..empty
    };
    SummaryRow {
        summary,
        as_of_ms,
        next_expires_at_ms: figures.holds_until,
        bounds: Some(Bounds::from(day)),
    }
}

impl Database {
    /// A database at the begin of a schedule, with its facilities in these zones.
    pub fn new(zones: [usize; FACILITIES], now: i64) -> Self {
        let stay = |place| vec![Stay { at: 0, era: 0, place: Some(place), life: 1 }];
        let mut db = Database {
            timeline: 1,
            salt: 1,
            facilities: zones.map(|zone| Facility {
                stays: stay(zone),
                activity: Vec::new(),
                version: 1,
                removed_at_version: 0,
                opened: (0..DATES).find(|date| day(*date, zone).contains(now)),
            }),
            banks: std::array::from_fn(|b| Bank { stays: stay(b % FACILITIES), units: Vec::new() }),
            rows: Default::default(),
            marks: Vec::new(),
            outbox: Vec::new(),
            notes: Vec::new(),
            next_id: 0,
            generation: 0,
            watermark: None,
        };
        // The first date has no rows yet.
        for k in (0..KEYS).filter(|k| k % DATES > 0) {
            let day = day(k, zones[k / DATES]);
            let figures =
                Figures { activity: 0, stock: day.contains(now).then_some(0), holds_until: None };
            db.rows[k] = has_begun(&day, now).then(|| row(k, &day, figures, 1, now));
        }
        db
    }

    /// The parts of the epoch.
    pub fn identity(&self) -> (u32, u32) {
        (self.timeline, self.salt)
    }

    /// The next number for a mark, an outbox row or a note.
    pub fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    /// Leaves a mark.
    pub fn mark(&mut self, about: About) {
        let id = self.id();
        self.marks.push((id, about));
    }

    /// The watermark of this epoch, if one is stored.
    pub fn stored_watermark(&self) -> Option<Watermark> {
        self.watermark.filter(|(_, of)| *of == self.identity()).map(|(watermark, _)| watermark)
    }

    /// The figures of a key in the zone of its facility, as a snapshot taken now shows them.
    pub fn figures(&self, k: usize, day: &Day, now: i64) -> Figures {
        let (f, facility) = (k / DATES, &self.facilities[k / DATES]);
        let of_day = |activity: &&Activity| {
            activity.life == facility.life() && day.contains(PLACES[activity.place])
        };
        let activity = facility
            .activity
            .iter()
            .filter(of_day)
            .fold(0, |seen, activity| seen | activity.change.bit);
        if !day.contains(now) {
            // The stock of a day that is over is a record.
            let closed = self.rows[k].as_ref().filter(|row| row.bounds == Some(Bounds::from(day)));
            let stock = closed.and_then(|row| row.summary.total_stock);
            return Figures { activity, stock, holds_until: None };
        }
        let units = || {
            self.banks.iter().filter(|bank| bank.facility() == Some(f)).flat_map(|bank| &bank.units)
        };
        // A snapshot shows everything that was written, at any time of the clock. What has expired
        // depends on the clock.
        let is_to_come = |change: &&Change| change.is_expiry && change.at > now;
        let stock =
            units().filter(|change| !is_to_come(change)).fold(0, |seen, change| seen | change.bit);
        Figures {
            activity,
            stock: Some(stock),
            holds_until: units().filter(is_to_come).map(|change| change.at).min(),
        }
    }

    /// The dates of a facility, in that zone, that have a row or data, and today.
    pub fn dates_with_data(&self, f: usize, zone: usize, now: i64) -> Vec<usize> {
        let facility = &self.facilities[f];
        let has_data = |day: &Day| {
            facility
                .activity
                .iter()
                .any(|a| a.life == facility.life() && day.contains(PLACES[a.place]))
        };
        let is_one = |k: &usize| {
            self.rows[*k].is_some() || day(*k, zone).contains(now) || has_data(&day(*k, zone))
        };
        (f * DATES..(f + 1) * DATES).filter(is_one).collect()
    }

    /// Reads these facilities, or all.
    pub fn read_facilities(&self, ids: Option<&[Uuid]>) -> FacilitiesRead {
        let asked = |f: &usize| ids.is_none_or(|ids| ids.contains(&facility_id(*f)));
        let row = |f: usize| {
            let zone = self.facilities[f].zone()?;
            let row = FacilityRow::new(facility_id(f), String::new(), ZONES[zone].to_owned());
            Some(FacilityRow { removed_at_version: self.facilities[f].removed_at_version, ..row })
        };
        FacilitiesRead {
            rows: (0..FACILITIES).filter(asked).filter_map(row).collect(),
            epoch: epoch(self.identity()),
            watermark: self.stored_watermark(),
            outdated: None,
            stored_ms: None,
        }
    }

    fn found(&self, keys: &[usize], of: (u32, u32)) -> TableRead {
        let rows = keys.iter().filter_map(|k| self.rows[*k].clone()).collect();
        let zone = |k: &usize| {
            Some((key(*k).facility_id, ZONES[self.facilities[*k / DATES].zone()?].to_owned()))
        };
        let zones: HashMap<Uuid, String> = keys.iter().filter_map(zone).collect();
        let changing = self.marks.iter().filter_map(|(_, about)| match about {
            About::Facility { facility } => Some(facility_id(*facility)),
            _ => None,
        });
        let changing = changing.collect();
        TableRead {
            rows,
            zones,
            changing,
            epoch: epoch(of),
            watermark: self.stored_watermark(),
            standby: None,
        }
    }

    /// Rows, zones and watermark in one statement.
    pub fn read(&self, keys: &[usize]) -> TableRead {
        self.found(keys, self.identity())
    }

    /// The same on a standby, which knows only the epoch of its watermark.
    pub fn read_nearby(&self, k: usize) -> Option<TableRead> {
        let (watermark, of) = self.watermark?;
        Some(TableRead { watermark: Some(watermark), ..self.found(&[k], of) })
    }

    /// A mark as a drain snapshot shows it. A mark that names a bank is about the facility that the
    /// bank is in now, or about none when the bank is in none.
    pub fn seen(&self, (id, about): &(i64, About), is_bank_resolved: bool) -> Mark {
        let at = |place: usize| Some((PLACES[place], PLACES[place]));
        let (kind, facility, span) = match *about {
            About::Activity { facility, place } => (MarkKind::Activity, Some(facility), at(place)),
            About::Bank { bank, .. } if is_bank_resolved => {
                (MarkKind::Stock, self.banks[bank].facility(), None)
            }
            About::Bank { was_in, .. } => (MarkKind::Stock, was_in, None),
            About::Stock { facility } => (MarkKind::Stock, Some(facility), None),
            About::Facility { facility } => (MarkKind::Facility, Some(facility), None),
        };
        Mark {
            id: *id,
            kind,
            facility_id: Some(facility.map_or(Uuid::nil(), facility_id)),
            span,
            blood_bank_id: None,
        }
    }

    /// A drain snapshot.
    pub fn observe(
        &self,
        now: i64,
        batch: usize,
        arrived: bool,
        is_bank_resolved: bool,
    ) -> DrainSnapshot {
        DrainSnapshot {
            noticed: NoticedMarks::default(),
            at_ms: now,
            marks: self
                .marks
                .iter()
                .take(batch)
                .map(|mark| self.seen(mark, is_bank_resolved))
                .collect(),
            strays: Vec::new(), // the marks above already name the banks' facilities
            triggers: Triggers::default(),
            outbox: self
                .outbox
                .iter()
                .take(batch)
                .map(|(id, k, version)| (*id, key(*k), *version))
                .collect(),
            changed_facilities: self
                .notes
                .iter()
                .take(batch)
                .map(|(id, f)| (*id, facility_id(*f)))
                .collect(),
            expiry_due: !self.expiring(now).is_empty(),
            epoch: epoch(self.identity()),
            generation: self.generation,
            stored_watermark: self.stored_watermark(),
            written: OutboxCounters::default(),
            verified_through_ms: None,
            servers: 3,
            off_stream: 0,
            arrived,
            leads: true,
        }
    }

    /// The keys of rows with units that expire by `until`.
    pub fn expiring(&self, until: i64) -> Vec<usize> {
        let is_due = |row: &SummaryRow| row.next_expires_at_ms.is_some_and(|at| at <= until);
        (0..KEYS).filter(|k| self.rows[*k].as_ref().is_some_and(is_due)).collect()
    }

    /// Stores a watermark, unless a later one is stored or the epoch is another. Returns whether it
    /// did.
    pub fn store_watermark(&mut self, watermark: Watermark, of: &Epoch) -> bool {
        let rises = self.stored_watermark().is_none_or(|stored| stored.at_ms < watermark.at_ms);
        let stores = rises && epoch(self.identity()) == *of;
        if stores {
            self.watermark = Some((watermark, self.identity()));
        }
        stores
    }

    /// Begins the generation after `after`; `None` when another server has begun it.
    pub fn begin_generation(&mut self, after: i64) -> Option<i64> {
        (self.generation == after).then(|| {
            self.generation += 1;
            self.generation
        })
    }

    /// Begins another epoch, unless another server has.
    pub fn begin_epoch(&mut self, old: &Epoch, salt: u32) {
        if epoch(self.identity()) == *old {
            self.salt = salt;
            self.watermark = None;
        }
    }

    /// Deletes outbox rows and notes.
    pub fn forget(&mut self, outbox: &[i64], notes: &[i64]) {
        self.outbox.retain(|(id, ..)| !outbox.contains(id));
        self.notes.retain(|(id, _)| !notes.contains(id));
    }

    /// Deletes the rows of a facility that is gone, and ends its life.
    pub fn remove_rows(&mut self, id: &Uuid) {
        let f = facility_of(id);
        self.facilities[f].removed_at_version = self.facilities[f].version;
        (f * DATES..(f + 1) * DATES).for_each(|k| self.rows[k] = None);
    }
}
