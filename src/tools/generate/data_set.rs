//! A data set is a pure function of its options: facility `n` is the same in every chunk and on
//! every machine. Only the calendars of the zones are kept, so the size of a data set costs no
//! memory.

use std::{iter::repeat_n, ops::Range, sync::Arc};

use jiff::civil::Date;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    calendar::Calendar,
    region::REGIONS,
    template::{Template, Weights, around_zero, below},
};

/// What a data set is made from.
#[derive(Debug, Clone)]
pub struct Options {
    /// All random numbers come from it.
    pub seed: u64,
    /// Local days of deliveries and requests for each facility.
    pub days: u32,
    /// The template of all facilities; `None`: the mix.
    pub template: Option<Template>,
    /// How far facilities and days differ from their template: 0 (not at all) to 1.
    pub variance: f64,
    /// The last local day of deliveries and requests.
    pub last_day: Date,
}

/// All facilities of one set of options. Each is made when it is needed.
#[derive(Debug, Clone)]
pub struct DataSet {
    options: Options,
    /// Part of each id, different for each data set. It is a hash of all options except the last
    /// day.
    tag: u32,
    calendars: Vec<Arc<Calendar>>,
}

/// A facility and all that is needed to make its rows.
#[derive(Debug, Clone)]
pub struct FacilitySeed {
    /// Its id.
    pub id: Uuid,
    /// Its name: city, kind and number.
    pub name: String,
    /// Its kind.
    pub template: Template,
    /// Its days.
    pub calendar: Arc<Calendar>,
    /// The event time of the facility and its blood banks, in milliseconds since 1970.
    pub(super) registered_ms: i64,
    /// How frequent each blood type is in its stock, in the order of `BloodType::NAMED`.
    pub(super) blood_types: Weights<8>,
    /// The number of its blood banks, at least one.
    pub(super) blood_banks: u32,
    /// The number of its inventory rows, at least one for each blood bank.
    pub(super) lots: u32,
    /// The number of deliveries that are on their way, at least one.
    pub(super) undelivered: u32,
    number: u32,
    tag: u32,
    seed: u64,
    variance: f64,
    scale: f64,
}

/// The number of rows of each table, and of facility-days with deliveries and requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows of `facilities`.
    pub facilities: u64,
    /// Rows of `blood_banks`.
    pub blood_banks: u64,
    /// Rows of `blood_inventory`.
    pub inventory: u64,
    /// Rows of `blood_distributions`.
    pub distributions: u64,
    /// Rows of `blood_requests`.
    pub requests: u64,
    /// Days of facilities that have deliveries or requests.
    pub facility_days: u64,
}

impl Counts {
    /// The number of rows of all five tables.
    pub const fn rows(&self) -> u64 {
        self.facilities + self.blood_banks + self.inventory + self.distributions + self.requests
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.facilities += other.facilities;
        self.blood_banks += other.blood_banks;
        self.inventory += other.inventory;
        self.distributions += other.distributions;
        self.requests += other.requests;
        self.facility_days += other.facility_days;
    }
}

impl std::ops::Sub for Counts {
    type Output = Counts;

    fn sub(self, other: Counts) -> Counts {
        Counts {
            facilities: self.facilities - other.facilities,
            blood_banks: self.blood_banks - other.blood_banks,
            inventory: self.inventory - other.inventory,
            distributions: self.distributions - other.distributions,
            requests: self.requests - other.requests,
            facility_days: self.facility_days - other.facility_days,
        }
    }
}

/// Deliveries and requests of one local day.
#[derive(Debug, Clone, Copy)]
pub(super) struct DayCounts {
    /// Its index in the calendar.
    pub day: usize,
    /// Deliveries, at least one.
    pub deliveries: u32,
    /// Requests, at least one.
    pub requests: u32,
}

/// The random streams. More numbers drawn from one stream do not change the numbers of the others.
#[derive(Debug, Clone, Copy)]
pub(super) enum RandomStream {
    /// How large a facility is, and where.
    Shape,
    /// How many deliveries and requests each day has.
    Days,
    Inventory,
    Distributions,
    Requests,
}

impl DataSet {
    /// The data set of these options.
    pub fn new(options: Options) -> Self {
        let calendars = REGIONS
            .iter()
            .map(|region| Calendar::new(region.timezone, options.last_day, options.days))
            .map(|calendar| {
                Arc::new(calendar.expect(
                    "the zones of the regions are in the bundled database; a test names them all",
                ))
            })
            .collect();
        let mut identity = Vec::with_capacity(24);
        identity.extend(options.seed.to_le_bytes());
        identity.extend(options.days.to_le_bytes());
        identity.extend(options.variance.to_bits().to_le_bytes());
        identity.push(options.template.map_or(0, |template| 1 + template as u8));
        DataSet { tag: xxh3_64(&identity) as u32, options, calendars }
    }

    /// The options that it is made from.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The days of each zone in which facilities may be.
    pub(super) fn calendars(&self) -> impl Iterator<Item = &Calendar> {
        self.calendars.iter().map(|calendar| calendar.as_ref())
    }

    /// The same data set with the days up to `last_day`.
    pub fn ending(&self, last_day: Date) -> Self {
        DataSet::new(Options { last_day, ..self.options.clone() })
    }

    /// Facility `number`, counted from 0.
    pub fn facility(&self, number: u32) -> FacilitySeed {
        let Options { seed, variance, last_day, .. } = self.options;
        let mut rng = stream(seed, number, RandomStream::Shape);
        let drawn = Template::drawn(&mut rng);
        let template = self.options.template.unwrap_or(drawn);
        let profile = template.profile();
        let place = below(&mut rng, REGIONS.len() as u32) as usize;
        let region = &REGIONS[place];
        let city = region.cities[below(&mut rng, region.cities.len() as u32) as usize];
        let (fewest, most) = profile.blood_banks;
        let scale = 1.0 + variance * around_zero(&mut rng);
        let blood_banks =
            if variance == 0.0 { fewest } else { fewest + below(&mut rng, most - fewest + 1) };
        FacilitySeed {
            id: id_of(self.tag, number, 0, 0),
            name: format!("{city} {} {}", profile.label, number + 1),
            template,
            calendar: self.calendars[place].clone(),
            registered_ms: last_day_to_ms(last_day),
            blood_types: Weights::new(template.blood_types(region.population)),
            blood_banks,
            lots: about(profile.lots * scale).max(blood_banks),
            // A quarter of a day's deliveries are on their way at any time, and at least one.
            undelivered: about(profile.deliveries_per_day * scale / 4.0).max(1),
            number,
            tag: self.tag,
            seed,
            variance,
            scale,
        }
    }

    /// The facilities of these numbers.
    pub fn facilities(&self, numbers: Range<u32>) -> impl Iterator<Item = FacilitySeed> + '_ {
        numbers.map(|number| self.facility(number))
    }

    /// Counts the rows of these facilities without making them.
    pub fn counts(&self, numbers: Range<u32>) -> Counts {
        let mut all = Counts::default();
        self.facilities(numbers).for_each(|facility| all += facility.counts());
        all
    }

    /// The range of all ids of these facilities, their blood banks and their rows. No id of another
    /// data set is in it.
    pub fn ids(&self, numbers: Range<u32>) -> Range<Uuid> {
        id_of(self.tag, numbers.start, 0, 0)..id_of(self.tag, numbers.end, 0, 0)
    }

    /// The number of the facility with that id.
    pub fn number_of(&self, id: Uuid) -> u32 {
        let bytes = id.as_u128();
        ((bytes >> 80) as u16 as u32) << 12 | (bytes >> 64) as u32 & 0xfff
    }
}

impl FacilitySeed {
    /// Counts its rows.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            facilities: 1,
            blood_banks: self.blood_banks.into(),
            inventory: self.lots.into(),
            distributions: self.undelivered.into(),
            ..Counts::default()
        };
        for day in self.days() {
            counts.distributions += u64::from(day.deliveries);
            counts.requests += u64::from(day.requests);
            counts.facility_days += 1;
        }
        counts
    }

    /// The deliveries and requests of each day; at least one of each.
    pub(super) fn days(&self) -> impl Iterator<Item = DayCounts> + '_ {
        let profile = self.template.profile();
        let mut rng = self.stream(RandomStream::Days);
        self.calendar.days.iter().enumerate().map(move |(day, local)| {
            let rhythm = self.scale * if local.is_weekend { profile.weekend } else { 1.0 };
            let mut drawn = |mean: f64| {
                about(mean * rhythm * (1.0 + self.variance * around_zero(&mut rng))).max(1)
            };
            DayCounts {
                day,
                deliveries: drawn(profile.deliveries_per_day),
                requests: drawn(profile.requests_per_day),
            }
        })
    }

    /// The calendar's days by index, each as often as `count` says.
    pub(super) fn days_repeated(
        &self,
        count: fn(&DayCounts) -> u32,
    ) -> impl Iterator<Item = usize> + '_ {
        self.days().flat_map(move |day| repeat_n(day.day, count(&day) as usize))
    }

    /// The id of this facility's row `number` (below 2^56) of a kind (1 to 63).
    pub(super) fn row_id(&self, kind: u8, number: u64) -> Uuid {
        id_of(self.tag, self.number, kind, number)
    }

    /// Random numbers for one purpose; they are the same in each run with the same seed.
    pub(super) fn stream(&self, of: RandomStream) -> impl Rng + use<> {
        stream(self.seed, self.number, of)
    }
}

/// The value of `facilities.event_time` in a data set. A second run reads from it the last day of
/// the first run.
pub(super) fn last_day_to_ms(last_day: Date) -> i64 {
    last_day
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_or(0, |midnight| midnight.timestamp().as_millisecond())
}

fn stream(seed: u64, number: u32, of: RandomStream) -> Pcg64Mcg {
    let mut key = [0u8; 13];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..12].copy_from_slice(&number.to_le_bytes());
    key[12] = of as u8;
    Pcg64Mcg::seed_from_u64(xxh3_64(&key))
}

/// A UUID of version 8: 32 bits for the data set, 28 for the facility, 6 for the kind and 56 for
/// the row. The ids rise in the order in which the rows are made. So a load appends to each primary
/// key, and the rows of a data set are one range of it.
fn id_of(tag: u32, facility: u32, kind: u8, row: u64) -> Uuid {
    let facility = u128::from(facility);
    let high = u128::from(tag) << 32 | (facility >> 12 & 0xffff) << 16 | 0x8000 | facility & 0xfff;
    let low = 0b10 << 62 | u128::from(kind & 0x3f) << 56 | u128::from(row & 0xff_ffff_ffff_ffff);
    Uuid::from_u128(high << 64 | low)
}

fn about(value: f64) -> u32 {
    value.round() as u32
}

#[cfg(test)]
#[path = "data_set_tests.rs"]
mod tests;
