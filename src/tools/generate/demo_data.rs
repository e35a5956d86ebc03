//! The data of `serve --demo`: 25 facilities, and events as their staff would send them.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use uuid::Uuid;

use super::{
    data_set::{DataSet, FacilitySeed, Options},
    last_day_over_everywhere,
    rows::{InventoryRow, kind},
    template::{below, fraction},
};
use crate::domain::{
    blood_type::BloodType,
    event::{Entity, EntityKind, Event, Record, Statement},
};

const FACILITIES: u32 = 25;
/// Days of deliveries and requests before the demo begins.
const DAYS: u32 = 7;
/// How many deliveries may be on their way. When there are more, the oldest one arrives first.
const MOST_UNDERWAY: usize = 60;
const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// The 25 facilities of a demo. The same seed gives the same ids and names on every day.
pub fn demo_facilities(seed: u64) -> Vec<FacilitySeed> {
    let options = Options {
        seed,
        days: DAYS,
        template: None,
        variance: 0.3,
        last_day: last_day_over_everywhere(),
    };
    DataSet::new(options).facilities(0..FACILITIES).collect()
}

impl FacilitySeed {
    /// The events that register the facility, its blood banks and its stock. Each refers only to
    /// earlier ones. All have the time `event_time_ms`.
    pub fn opening(&self, event_time_ms: i64) -> impl Iterator<Item = Event> + '_ {
        let row = self.row();
        let facility = statement(
            row.id,
            event_time_ms,
            Entity::Facility { name: row.name, timezone: row.timezone.to_owned() },
        );
        let banks = self.bank_rows().map(move |bank| {
            statement(
                bank.id,
                event_time_ms,
                Entity::BloodBank { facility_id: bank.facility_id, name: bank.name },
            )
        });
        let stock = self.inventory_rows().map(move |lot| lot_event(&lot, event_time_ms));
        std::iter::once(facility).chain(banks).chain(stock)
    }

    /// Its deliveries and requests up to its last day. They must be sent only once, to a database
    /// that does not know the facility: on another day they would have the dates of that week.
    pub fn history(&self) -> impl Iterator<Item = Event> + '_ {
        let distributions = self.distribution_rows().map(|row| {
            let entity = Entity::Distribution {
                blood_type: Some(row.blood_type),
                date_delivered_ms: row.date_delivered_ms,
                dispatched_to_id: row.dispatched_to_id,
                quantity: row.quantity,
            };
            statement(row.id, row.event_time_ms, entity)
        });
        let requests = self.request_rows().map(|row| {
            let entity = Entity::Request {
                blood_type: Some(row.blood_type),
                created_at_ms: row.created_at_ms,
                facility_id: row.facility_id,
                quantity: Some(row.quantity),
            };
            statement(row.id, row.event_time_ms, entity)
        });
        distributions.chain(requests)
    }
}

/// The stock of the demo's facilities, and the events that happen next.
#[derive(Debug)]
pub struct Demo {
    facilities: Vec<DemoFacility>,
    rng: Pcg64Mcg,
    minted: u64,
}

#[derive(Debug)]
struct DemoFacility {
    seed: FacilitySeed,
    lots: Vec<InventoryRow>,
    underway: VecDeque<(Uuid, BloodType, i32)>,
}

impl Demo {
    /// The demo of that seed, before its first event.
    pub fn new(seed: u64) -> Self {
        let facilities = demo_facilities(seed)
            .into_iter()
            .map(|seed| DemoFacility {
                lots: seed.inventory_rows().collect(),
                underway: VecDeque::new(),
                seed,
            })
            .collect();
        Demo { facilities, rng: Pcg64Mcg::seed_from_u64(seed), minted: 0 }
    }

    /// Its facilities.
    pub fn facilities(&self) -> impl Iterator<Item = &FacilitySeed> {
        self.facilities.iter().map(|facility| &facility.seed)
    }

    /// The ids of all lots that events may be about.
    pub fn lots(&self) -> Vec<Uuid> {
        self.facilities.iter().flat_map(|facility| facility.lots.iter().map(|lot| lot.id)).collect()
    }

    /// Continues with the lots as an earlier run left them, so that a restart does not fill up the
    /// stock.
    pub fn resume(&mut self, stored: &HashMap<Uuid, Record>) {
        for lot in self.facilities.iter_mut().flat_map(|facility| &mut facility.lots) {
            if let Some(Entity::Inventory {
                quantity, expires_at_ms: Some(expires_at_ms), ..
            }) = stored.get(&lot.id).and_then(|r| r.entity.as_ref())
            {
                (lot.quantity, lot.expires_at_ms) = (*quantity, *expires_at_ms);
            }
        }
    }

    /// The time to the next event when `per_second` events happen on average. The pauses are
    /// random.
    pub fn next_pause(&mut self, per_second: f64) -> Duration {
        Duration::from_secs_f64(-(1.0 - fraction(&mut self.rng)).ln() / per_second.max(1e-3))
    }

    /// The next event, at `now_ms`: stock is taken or filled up, a request is made, a delivery is
    /// sent or arrives. Large facilities have more events, and each has its busy hours.
    pub fn next_event(&mut self, now_ms: i64) -> Event {
        self.minted += 1;
        let unique = 1 << 55 | (now_ms as u64) << 12 | self.minted & 0xfff;
        let place = self.busy_facility(now_ms);
        let (facility, rng) = (&mut self.facilities[place], &mut self.rng);
        match below(rng, 10) {
            0..5 => facility.stock_moves(now_ms, rng),
            5..8 => facility.asks(now_ms, unique, rng),
            _ => facility.delivers(now_ms, unique, rng),
        }
    }

    fn busy_facility(&mut self, now_ms: i64) -> usize {
        let busy: Vec<u32> =
            self.facilities.iter().map(|facility| facility.busyness(now_ms)).collect();
        let mut at = below(&mut self.rng, busy.iter().sum());
        for (place, busyness) in busy.iter().enumerate() {
            match at.checked_sub(*busyness) {
                Some(left) => at = left,
                None => return place,
            }
        }
        0
    }
}

impl DemoFacility {
    /// The weight of this facility among the others at its local hour; at least 1.
    fn busyness(&self, now_ms: i64) -> u32 {
        let profile = self.seed.template.profile();
        // Hours since its last midnight at the start. After a clock change they are wrong by an
        // hour until the next start. For a demo that does not matter.
        let hour = (now_ms - self.seed.calendar.end_ms()).rem_euclid(DAY_MS) / HOUR_MS;
        1 + profile.request_hours[hour as usize] * profile.requests_per_day as u32
    }

    fn stock_moves(&mut self, now_ms: i64, rng: &mut impl Rng) -> Event {
        let chosen = below(rng, self.lots.len() as u32) as usize;
        let fresh_days = 5 + below(rng, 37);
        let units = 1 + below(rng, 12) as i32;
        let lot = &mut self.lots[chosen];
        if lot.quantity == 0 {
            lot.quantity = units;
            lot.expires_at_ms = now_ms + i64::from(fresh_days) * DAY_MS;
        } else if lot.expires_at_ms <= now_ms {
            lot.quantity = 0;
        } else {
            lot.quantity = (lot.quantity - units.min(3)).max(0);
        }
        lot_event(lot, now_ms)
    }

    fn asks(&mut self, now_ms: i64, unique: u64, rng: &mut impl Rng) -> Event {
        let entity = Entity::Request {
            blood_type: Some(self.drawn_type(rng)),
            created_at_ms: now_ms,
            facility_id: self.seed.id,
            quantity: Some(1 + below(rng, 6) as i32),
        };
        statement(self.seed.row_id(kind::REQUEST, unique), now_ms, entity)
    }

    fn delivers(&mut self, now_ms: i64, unique: u64, rng: &mut impl Rng) -> Event {
        let arrives = below(rng, 2) == 0 || self.underway.len() >= MOST_UNDERWAY;
        let (arrived, (id, blood_type, quantity)) = match self.underway.pop_front() {
            Some(oldest) if arrives => (true, oldest),
            kept => {
                let sent = (
                    self.seed.row_id(kind::DISTRIBUTION, unique),
                    self.drawn_type(rng),
                    1 + below(rng, 15) as i32,
                );
                kept.into_iter().for_each(|kept| self.underway.push_front(kept));
                self.underway.push_back(sent);
                (false, sent)
            }
        };
        let entity = Entity::Distribution {
            blood_type: Some(blood_type),
            date_delivered_ms: arrived.then_some(now_ms),
            dispatched_to_id: self.seed.id,
            quantity,
        };
        statement(id, now_ms, entity)
    }

    fn drawn_type(&self, rng: &mut impl Rng) -> BloodType {
        BloodType::NAMED[self.seed.blood_types.draw(rng)]
    }
}

fn lot_event(lot: &InventoryRow, event_time_ms: i64) -> Event {
    let entity = Entity::Inventory {
        blood_bank_id: lot.blood_bank_id,
        blood_type: Some(lot.blood_type),
        expires_at_ms: Some(lot.expires_at_ms),
        quantity: lot.quantity,
    };
    statement(lot.id, event_time_ms, entity)
}

fn statement(id: Uuid, event_time_ms: i64, entity: Entity) -> Event {
    let kind: EntityKind = entity.kind();
    Event::Statement(Statement { kind, id, record: Record { event_time_ms, entity: Some(entity) } })
}

#[cfg(test)]
#[path = "demo_data_tests.rs"]
mod tests;
