//! A small world for the tests of views: facilities, their rows, and a memory that hears of them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::civil::Date;
use proptest::prelude::*;
use uuid::Uuid;

use super::super::{Placed, Unplaced, View, ViewBounds};
use crate::{
    cache::memory::{Fill, Memory},
    domain::{
        blood_type::BloodType,
        facility::{Facility, Zone},
        summary::{Bounds, DayKey, Figures, Summary, SummaryRow},
    },
    protocol::{Message, Position},
};

/// 2026-11-21T20:00:00Z: it is the next day in Kathmandu.
const BEGIN_MS: i64 = 1_795_291_200_000;
pub const HOUR_MS: i64 = 3_600_000;
pub const FACILITIES: usize = 6;
const ZONES: [&str; 3] = ["UTC", "Asia/Kathmandu", "America/Sao_Paulo"];
const NAMES: [&str; 4] = ["North", "Ho\u{302}pital", "east", ""];

/// What may happen.
#[derive(Debug, Clone)]
pub enum Step {
    /// New figures of a facility: its stock, its requests, and whether a unit expires.
    Change(usize, Option<i64>, i64),
    /// A row of the same version, read again.
    ReadAgain(usize),
    /// The facility is in this zone, under this name; a new one is registered.
    Place(usize, usize, usize),
    Remove(usize),
    /// Hours go by.
    Wait(i64),
    Watermark,
    Gap,
    Evict(usize),
    /// A message says that the facility has changed.
    Tell(usize),
}

/// A step.
pub fn step() -> impl Strategy<Value = Step> {
    let facility = 0..FACILITIES;
    prop_oneof![
        6 => (facility.clone(), prop::option::of(0i64..4), 0i64..3)
            .prop_map(|(f, stock, requests)| Step::Change(f, stock, requests)),
        2 => facility.clone().prop_map(Step::ReadAgain),
        2 => (facility.clone(), 0..ZONES.len(), 0..NAMES.len())
            .prop_map(|(f, zone, name)| Step::Place(f, zone, name)),
        1 => facility.clone().prop_map(Step::Remove),
        1 => (1i64..14).prop_map(Step::Wait),
        1 => Just(Step::Watermark),
        1 => Just(Step::Gap),
        1 => facility.clone().prop_map(Step::Evict),
        1 => facility.prop_map(Step::Tell),
    ]
}

/// The id of a facility.
pub fn id(f: usize) -> Uuid {
    Uuid::from_u128(f as u128 + 1)
}

/// The database and a replica, as far as a view sees them.
pub struct World {
    pub memory: Memory,
    pub now_ms: i64,
    facilities: BTreeMap<Uuid, Arc<Facility>>,
    pub rows: BTreeMap<(Uuid, Date), SummaryRow>,
    zones: Vec<Arc<Zone>>,
    version: i64,
}

impl World {
    pub fn new() -> Self {
        let at = Position { generation: 1, number: 0 };
        let bounds = ViewBounds { idle_ms: i64::MAX, ..ViewBounds::default() };
        World {
            // Hours go by in a test, and its view must stay.
            memory: Memory::new(1 << 20, 64, at).with_views(bounds, None),
            now_ms: BEGIN_MS,
            facilities: BTreeMap::new(),
            rows: BTreeMap::new(),
            zones: ZONES.map(|name| Arc::new(Zone::named(name).unwrap())).to_vec(),
            version: 0,
        }
    }

    pub fn take(&mut self, step: &Step) {
        match *step {
            Step::Change(f, stock, requests) => {
                let Some(facility) = self.facilities.get(&id(f)).cloned() else { return };
                self.write(&facility, stock, requests);
            }
            Step::ReadAgain(f) => {
                let token = self.memory.fill_token();
                let rows = self.rows.range((id(f), Date::MIN)..=(id(f), Date::MAX));
                for (_, row) in rows {
                    let _ = self.memory.fill(&token, token.position, row, row.as_of_ms);
                }
            }
            Step::Place(f, zone, name) => {
                let name = format!("{} {}", NAMES[name], f / 2);
                let zone = self.zones[zone].clone();
                let facility = Arc::new(Facility { id: id(f), name, zone, key: None });
                self.facilities.insert(id(f), facility.clone());
                // A change of zone gives the day other figures, or none.
                self.write(&facility, Some(0), 0);
                self.memory.views().note_changed(&[id(f)]);
                self.memory.consume_next(&Message::Facilities(vec![id(f)]));
            }
            Step::Remove(f) => {
                if self.facilities.remove(&id(f)).is_some() {
                    self.rows.retain(|(of, _), _| *of != id(f));
                    self.memory.forget_facility(id(f));
                    self.memory.views().note_changed(&[id(f)]);
                    self.memory.begin_life(id(f), self.version);
                }
            }
            Step::Wait(hours) => self.now_ms += hours * HOUR_MS,
            Step::Watermark => {
                self.memory.consume_next(&Message::Watermark { at_ms: self.now_ms });
            }
            Step::Gap => self.memory.start_new_session(None),
            Step::Evict(f) => self.memory.evict(id(f)),
            Step::Tell(f) => self.memory.consume_next(&Message::Facilities(vec![id(f)])),
        }
        self.now_ms += 10;
    }

    fn write(&mut self, facility: &Facility, stock: Option<i64>, requests: i64) {
        let day = facility.zone.today(self.now_ms);
        self.version += 1;
        let by_type = Figures { stock, transferred: 0, requests };
        let types = [BloodType::ONegative, BloodType::APositive];
        let summary = Summary {
            total_stock: stock,
            total_requests: requests,
            by_blood_type: BTreeMap::from([(types[facility.id.as_u128() as usize % 2], by_type)]),
            version: self.version,
            ..Summary::empty(facility.id, day.date, false)
        };
        let row = SummaryRow {
            summary,
            as_of_ms: self.now_ms,
            next_expires_at_ms: (requests == 1).then_some(self.now_ms + HOUR_MS),
            bounds: Some(Bounds::from(&day)),
        };
        self.rows.insert((facility.id, day.date), row.clone());
        self.memory.publish(&self.memory.fill_token(), [row].iter());
    }

    /// Brings the view up to date, as the service does: places what was told, reads what is
    /// missing.
    pub fn fill(&mut self, view: &View) {
        let (now_ms, facilities) = (self.now_ms, &self.facilities);
        view.place_changed(now_ms, |unplaced| {
            let placed = |id: Uuid, facility: Option<&Arc<Facility>>| -> Placed {
                (id, facility.map(|f| (f.clone(), f.zone.today(now_ms))))
            };
            let (places, is_all): (Vec<Placed>, bool) = match unplaced {
                Unplaced::All => {
                    (facilities.iter().map(|(id, f)| placed(*id, Some(f))).collect(), true)
                }
                Unplaced::These(ids) => {
                    (ids.into_iter().map(|id| placed(id, facilities.get(&id))).collect(), false)
                }
            };
            self.memory.place(view, &places, is_all);
            let ends = facilities.values().map(|f| f.zone.today(now_ms).end_ms);
            view.set_until_ms(ends.min().unwrap_or(i64::MAX));
        });
        for DayKey { facility, .. } in self.memory.unattached_keys(view) {
            let day = facility.zone.today(self.now_ms);
            if self.rows.get(&(facility.id, day.date)).is_none_or(|row| !row.is_of(&day)) {
                self.write(&facility, Some(0), 0);
            }
            let row = self.rows[&(facility.id, day.date)].clone();
            let token = self.memory.fill_token();
            let kept = self.memory.fill(&token, token.position, &row, row.as_of_ms);
            assert!(matches!(kept, Fill::Kept(_)), "{row:?}");
        }
    }

    /// The summaries that the day has by the rows, by name.
    pub fn expected(&self) -> Vec<(Arc<Facility>, Summary)> {
        let mut facilities: Vec<_> = self.facilities.values().cloned().collect();
        facilities.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        facilities
            .into_iter()
            .map(|facility| {
                let day = facility.zone.today(self.now_ms);
                let row = &self.rows[&(facility.id, day.date)];
                (facility, row.summary.clone())
            })
            .collect()
    }
}
