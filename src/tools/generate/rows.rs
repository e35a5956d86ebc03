//! The rows of a facility in the five source tables. They come from iterators that hold one row at
//! a time.

use std::iter::repeat_n;

use uuid::Uuid;

use super::{
    calendar::LocalDay,
    data_set::{FacilitySeed, RandomStream},
    template::{Weights, below, fraction},
};
use crate::domain::blood_type::BloodType;

/// A row that knows its table, and can be written field by field in the order of its columns.
pub trait GeneratedRow {
    /// The name of its table.
    const TABLE: &'static str;
    /// The names of its columns.
    const COLUMNS: &'static [&'static str];
    /// Writes its fields.
    fn write(&self, to: &mut impl CopyFields);
}

/// Receives the fields of a row, and writes them in the format of a database. Instants are in
/// milliseconds since 1970.
pub trait CopyFields {
    fn uuid(&mut self, value: Uuid);
    fn text(&mut self, value: &str);
    fn number(&mut self, value: i32);
    fn instant(&mut self, value_ms: Option<i64>);
}

/// A row of `facilities`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFacility {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The IANA name of its zone.
    pub timezone: &'static str,
    /// Midnight (UTC) of the last generated day, in milliseconds since 1970.
    pub event_time_ms: i64,
}

/// A row of `blood_banks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BloodBankRow {
    /// Its id.
    pub id: Uuid,
    /// The facility that it belongs to.
    pub facility_id: Uuid,
    /// Its name.
    pub name: String,
    /// The same as its facility's, in milliseconds since 1970.
    pub event_time_ms: i64,
}

/// A row of `blood_inventory`: one lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventoryRow {
    /// Its id.
    pub id: Uuid,
    /// The blood bank that holds it.
    pub blood_bank_id: Uuid,
    /// Its blood type, never `Unknown`.
    pub blood_type: BloodType,
    /// Units, 1 or 2.
    pub quantity: i32,
    /// When it expires, in milliseconds since 1970; a full hour.
    pub expires_at_ms: i64,
    /// The last millisecond of the facility's last day, in milliseconds since 1970.
    pub event_time_ms: i64,
}

/// A row of `blood_distributions`: one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DistributionRow {
    /// Its id.
    pub id: Uuid,
    /// The facility that receives it.
    pub dispatched_to_id: Uuid,
    /// Its blood type, never `Unknown`.
    pub blood_type: BloodType,
    /// Units, 1 to 4.
    pub quantity: i32,
    /// `None`: it is on its way.
    pub date_delivered_ms: Option<i64>,
    /// When it was delivered, or the last millisecond of the last day; in milliseconds since 1970.
    pub event_time_ms: i64,
}

/// A row of `blood_requests`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRow {
    /// Its id.
    pub id: Uuid,
    /// The facility that sent it.
    pub facility_id: Uuid,
    /// Its blood type, never `Unknown`.
    pub blood_type: BloodType,
    /// Units, 1 to 4.
    pub quantity: i32,
    /// When it was sent, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// The same as `created_at_ms`.
    pub event_time_ms: i64,
}

/// The kinds of rows, which are part of their ids.
pub(super) mod kind {
    /// A blood bank.
    pub const BLOOD_BANK: u8 = 1;
    /// A lot in stock.
    pub const INVENTORY: u8 = 2;
    /// A delivery.
    pub const DISTRIBUTION: u8 = 3;
    /// A request.
    pub const REQUEST: u8 = 4;
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The components of lots: how frequent each is, and for how many days it keeps. Red cells keep 42
/// days, platelets 5, frozen plasma a year.
const COMPONENTS: [(f64, i64); 3] = [(0.70, 42), (0.12, 5), (0.18, 365)];
/// Per cent of lots that have expired and were not removed yet.
const EXPIRED_PERCENT: u32 = 3;

impl FacilitySeed {
    /// The row of the facility itself.
    pub fn row(&self) -> GeneratedFacility {
        GeneratedFacility {
            id: self.id,
            name: self.name.clone(),
            timezone: self.calendar.timezone,
            event_time_ms: self.registered_ms,
        }
    }

    /// Its blood banks, at least one.
    pub fn bank_rows(&self) -> impl Iterator<Item = BloodBankRow> + '_ {
        (0..self.blood_banks).map(|number| BloodBankRow {
            id: self.bank_id(number),
            facility_id: self.id,
            name: if number == 0 {
                format!("{} Blood Bank", self.name)
            } else {
                format!("{} Blood Bank {}", self.name, number + 1)
            },
            event_time_ms: self.registered_ms,
        })
    }

    /// The stock at the end of the last day.
    pub fn inventory_rows(&self) -> impl Iterator<Item = InventoryRow> + '_ {
        let mut rng = self.stream(RandomStream::Inventory);
        let components = Weights::new(COMPONENTS.map(|(share, _)| share));
        let now_ms = self.calendar.end_ms();
        (0..self.lots).map(move |number| {
            let keeps_ms = COMPONENTS[components.draw(&mut rng)].1 * DAY_MS;
            let blood_type = BloodType::NAMED[self.blood_types.draw(&mut rng)];
            let part = fraction(&mut rng);
            let from_now_ms = if below(&mut rng, 100) < EXPIRED_PERCENT {
                -part * (2 * DAY_MS) as f64
            } else {
                part * keeps_ms as f64
            };
            let expires_at_ms = (now_ms + from_now_ms as i64).div_euclid(HOUR_MS) * HOUR_MS;
            InventoryRow {
                id: self.row_id(kind::INVENTORY, number.into()),
                blood_bank_id: self.bank_id(number % self.blood_banks),
                blood_type,
                // A lot is a bag, or two that came together.
                quantity: 1 + below(&mut rng, 2) as i32,
                expires_at_ms,
                event_time_ms: now_ms - 1,
            }
        })
    }

    /// The deliveries of every day, then those that are on their way.
    pub fn distribution_rows(&self) -> impl Iterator<Item = DistributionRow> + '_ {
        let mut rng = self.stream(RandomStream::Distributions);
        let hours = Weights::new(self.template.profile().delivery_hours.map(f64::from));
        let days = self
            .days_repeated(|day| day.deliveries)
            .map(Some)
            .chain(repeat_n(None, self.undelivered as usize));
        days.zip(0..).map(move |(day, number)| {
            let date_delivered_ms =
                day.map(|day| instant(&self.calendar.days[day], &hours, &mut rng));
            DistributionRow {
                id: self.row_id(kind::DISTRIBUTION, number),
                dispatched_to_id: self.id,
                blood_type: BloodType::NAMED[self.blood_types.draw(&mut rng)],
                quantity: 1 + below(&mut rng, 4) as i32,
                date_delivered_ms,
                event_time_ms: date_delivered_ms.unwrap_or(self.calendar.end_ms() - 1),
            }
        })
    }

    /// The requests of every day.
    pub fn request_rows(&self) -> impl Iterator<Item = RequestRow> + '_ {
        let mut rng = self.stream(RandomStream::Requests);
        let hours = Weights::new(self.template.profile().request_hours.map(f64::from));
        self.days_repeated(|day| day.requests).zip(0..).map(move |(day, number)| {
            let created_at_ms = instant(&self.calendar.days[day], &hours, &mut rng);
            RequestRow {
                id: self.row_id(kind::REQUEST, number),
                facility_id: self.id,
                blood_type: BloodType::NAMED[self.blood_types.draw(&mut rng)],
                quantity: 1 + below(&mut rng, 4) as i32,
                created_at_ms,
                event_time_ms: created_at_ms,
            }
        })
    }

    /// The id of its blood bank `number`, counted from 0.
    pub(super) fn bank_id(&self, number: u32) -> Uuid {
        self.row_id(kind::BLOOD_BANK, number.into())
    }
}

fn instant(day: &LocalDay, hours: &Weights<24>, rng: &mut impl rand::Rng) -> i64 {
    let hour = hours.draw(rng);
    day.at(hour, fraction(rng))
}

impl GeneratedRow for GeneratedFacility {
    const TABLE: &'static str = "facilities";
    const COLUMNS: &'static [&'static str] = &["id", "name", "timezone", "event_time"];

    fn write(&self, to: &mut impl CopyFields) {
        to.uuid(self.id);
        to.text(&self.name);
        to.text(self.timezone);
        to.instant(Some(self.event_time_ms));
    }
}

impl GeneratedRow for BloodBankRow {
    const TABLE: &'static str = "blood_banks";
    const COLUMNS: &'static [&'static str] = &["id", "facility_id", "name", "event_time"];

    fn write(&self, to: &mut impl CopyFields) {
        to.uuid(self.id);
        to.uuid(self.facility_id);
        to.text(&self.name);
        to.instant(Some(self.event_time_ms));
    }
}

impl GeneratedRow for InventoryRow {
    const TABLE: &'static str = "blood_inventory";
    const COLUMNS: &'static [&'static str] =
        &["id", "blood_bank_id", "blood_type", "quantity", "expires_at", "event_time"];

    fn write(&self, to: &mut impl CopyFields) {
        to.uuid(self.id);
        to.uuid(self.blood_bank_id);
        to.text(self.blood_type.as_str());
        to.number(self.quantity);
        to.instant(Some(self.expires_at_ms));
        to.instant(Some(self.event_time_ms));
    }
}

impl GeneratedRow for DistributionRow {
    const TABLE: &'static str = "blood_distributions";
    const COLUMNS: &'static [&'static str] =
        &["id", "dispatched_to_id", "blood_type", "quantity", "date_delivered", "event_time"];

    fn write(&self, to: &mut impl CopyFields) {
        to.uuid(self.id);
        to.uuid(self.dispatched_to_id);
        to.text(self.blood_type.as_str());
        to.number(self.quantity);
        to.instant(self.date_delivered_ms);
        to.instant(Some(self.event_time_ms));
    }
}

impl GeneratedRow for RequestRow {
    const TABLE: &'static str = "blood_requests";
    const COLUMNS: &'static [&'static str] =
        &["id", "facility_id", "blood_type", "quantity", "created_at", "event_time"];

    fn write(&self, to: &mut impl CopyFields) {
        to.uuid(self.id);
        to.uuid(self.facility_id);
        to.text(self.blood_type.as_str());
        to.number(self.quantity);
        to.instant(Some(self.created_at_ms));
        to.instant(Some(self.event_time_ms));
    }
}
