//! The five kinds of facilities: how large each is, what it has in stock, and which hours are busy.

use rand::Rng;

use crate::domain::blood_type::BloodType;

/// A kind of facility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Template {
    /// A large hospital for emergencies, busy at all hours.
    TraumaCentre,
    /// A hospital of a region, with planned operations.
    RegionalHospital,
    /// A hospital of a town.
    CommunityHospital,
    /// A small clinic in the country.
    RuralClinic,
    /// A centre that collects donations: much stock, few requests.
    DonationCentre,
}

/// What `--template` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum TemplateChoice {
    TraumaCentre,
    RegionalHospital,
    CommunityHospital,
    RuralClinic,
    DonationCentre,
    /// All five, as often as they occur in a health system.
    Mixed,
}

impl TemplateChoice {
    /// The template that was chosen; `None` for the mix.
    pub const fn only(self) -> Option<Template> {
        match self {
            TemplateChoice::TraumaCentre => Some(Template::TraumaCentre),
            TemplateChoice::RegionalHospital => Some(Template::RegionalHospital),
            TemplateChoice::CommunityHospital => Some(Template::CommunityHospital),
            TemplateChoice::RuralClinic => Some(Template::RuralClinic),
            TemplateChoice::DonationCentre => Some(Template::DonationCentre),
            TemplateChoice::Mixed => None,
        }
    }
}

/// The average figures of a template. Its facilities vary around them.
#[derive(Debug)]
pub struct Profile {
    /// The part of the name after the city.
    pub label: &'static str,
    /// How many of 100 facilities of the mix are of this kind.
    pub share: u32,
    /// The fewest and the most blood banks.
    pub blood_banks: (u32, u32),
    /// Inventory rows: a row is a lot of one component and blood type.
    pub lots: f64,
    /// The mean number of deliveries on a working day.
    pub deliveries_per_day: f64,
    /// The mean number of requests on a working day.
    pub requests_per_day: f64,
    /// Deliveries and requests of a Saturday or Sunday, relative to a working day.
    pub weekend: f64,
    /// How much more of O- and of the other RhD negative types it keeps than their share among the
    /// people. O- is given when there is no time to test a patient's type.
    pub o_negative: f64,
    /// The factor for A-, B- and AB-.
    pub rh_negative: f64,
    /// The relative weight of each local hour, for deliveries and for requests.
    pub delivery_hours: [u32; 24],
    /// The relative weight of each local hour, from 0 to 23, for requests.
    pub request_hours: [u32; 24],
}

const ROUND_THE_CLOCK: [u32; 24] =
    [6, 5, 5, 4, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 5, 6, 6, 7, 8, 8, 8, 8, 8, 7];
const THEATRE_DAY: [u32; 24] =
    [1, 1, 1, 1, 1, 2, 5, 10, 12, 11, 10, 9, 8, 8, 7, 6, 4, 3, 2, 2, 2, 1, 1, 1];
const OFFICE_DAY: [u32; 24] =
    [0, 0, 0, 0, 0, 0, 0, 1, 8, 12, 12, 10, 6, 8, 9, 8, 5, 1, 0, 0, 0, 0, 0, 0];
const THREE_ROUNDS: [u32; 24] =
    [1, 0, 0, 0, 0, 2, 10, 8, 2, 1, 1, 2, 8, 6, 2, 1, 2, 7, 6, 2, 1, 1, 1, 1];
const MORNING_ROUND: [u32; 24] =
    [0, 0, 0, 0, 0, 0, 3, 10, 9, 5, 3, 2, 1, 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
const RETURN_OF_DRIVES: [u32; 24] =
    [0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 3, 4, 5, 5, 6, 8, 10, 12, 9, 5, 2, 0, 0, 0];

static TRAUMA_CENTRE: Profile = Profile {
    label: "Trauma Centre",
    share: 8,
    blood_banks: (2, 4),
    lots: 400.0,
    deliveries_per_day: 70.0,
    requests_per_day: 90.0,
    weekend: 1.15,
    o_negative: 2.5,
    rh_negative: 1.2,
    delivery_hours: THREE_ROUNDS,
    request_hours: ROUND_THE_CLOCK,
};
static REGIONAL_HOSPITAL: Profile = Profile {
    label: "Regional Hospital",
    share: 20,
    blood_banks: (1, 3),
    lots: 200.0,
    deliveries_per_day: 36.0,
    requests_per_day: 40.0,
    weekend: 0.6,
    o_negative: 1.5,
    rh_negative: 1.1,
    delivery_hours: THREE_ROUNDS,
    request_hours: THEATRE_DAY,
};
static COMMUNITY_HOSPITAL: Profile = Profile {
    label: "Community Hospital",
    share: 36,
    blood_banks: (1, 2),
    lots: 70.0,
    deliveries_per_day: 14.0,
    requests_per_day: 13.0,
    weekend: 0.5,
    o_negative: 1.5,
    rh_negative: 1.0,
    delivery_hours: MORNING_ROUND,
    request_hours: THEATRE_DAY,
};
static RURAL_CLINIC: Profile = Profile {
    label: "Rural Clinic",
    share: 28,
    blood_banks: (1, 1),
    lots: 15.0,
    deliveries_per_day: 2.0,
    requests_per_day: 3.0,
    weekend: 0.4,
    o_negative: 4.0,
    rh_negative: 0.8,
    delivery_hours: MORNING_ROUND,
    request_hours: OFFICE_DAY,
};
static DONATION_CENTRE: Profile = Profile {
    label: "Donation Centre",
    share: 8,
    blood_banks: (1, 3),
    lots: 1_600.0,
    deliveries_per_day: 24.0,
    requests_per_day: 4.0,
    weekend: 0.8,
    o_negative: 1.0,
    rh_negative: 1.0,
    delivery_hours: RETURN_OF_DRIVES,
    request_hours: OFFICE_DAY,
};

impl Template {
    /// All five.
    pub const ALL: [Template; 5] = [
        Template::TraumaCentre,
        Template::RegionalHospital,
        Template::CommunityHospital,
        Template::RuralClinic,
        Template::DonationCentre,
    ];

    /// Its average figures.
    pub const fn profile(self) -> &'static Profile {
        match self {
            Template::TraumaCentre => &TRAUMA_CENTRE,
            Template::RegionalHospital => &REGIONAL_HOSPITAL,
            Template::CommunityHospital => &COMMUNITY_HOSPITAL,
            Template::RuralClinic => &RURAL_CLINIC,
            Template::DonationCentre => &DONATION_CENTRE,
        }
    }

    /// Draws one of the five, by their shares in the mix.
    pub fn drawn(rng: &mut impl Rng) -> Self {
        Template::ALL[Weights::new(Template::ALL.map(|t| t.profile().share.into())).draw(rng)]
    }

    /// The weight of each blood type (in the order of `BloodType::NAMED`) in the stock of such a
    /// facility, for people with these frequencies.
    pub fn blood_types(self, population: &[f64; 8]) -> [f64; 8] {
        let profile = self.profile();
        let mut frequencies = *population;
        for (frequency, blood_type) in frequencies.iter_mut().zip(BloodType::NAMED) {
            *frequency *= match blood_type {
                BloodType::ONegative => profile.o_negative,
                BloodType::ANegative | BloodType::BNegative | BloodType::AbNegative => {
                    profile.rh_negative
                }
                _ => 1.0,
            };
        }
        let sum: f64 = frequencies.iter().sum();
        frequencies.map(|frequency| frequency / sum)
    }
}

/// Draws one of `N` by weight, with one random number and at most `N` comparisons. The result is
/// the same on every machine.
#[derive(Debug, Clone, Copy)]
pub struct Weights<const N: usize>([u32; N]);

impl<const N: usize> Weights<N> {
    /// The weights are relative to each other. Their sum must be positive.
    pub fn new(weights: [f64; N]) -> Self {
        let sum: f64 = weights.iter().sum();
        let mut so_far = 0.0;
        Weights(weights.map(|weight| {
            so_far += weight;
            (so_far / sum * f64::from(u32::MAX)) as u32
        }))
    }

    /// Draws an index below `N`.
    pub fn draw(&self, rng: &mut impl Rng) -> usize {
        let at = rng.next_u32();
        self.0.iter().position(|&bound| at < bound).unwrap_or(N - 1)
    }
}

/// A number below `bound`, which must be positive. It does not use the ranges of `rand`, which may
/// draw other numbers in another release of `rand`.
pub fn below(rng: &mut impl Rng, bound: u32) -> u32 {
    ((u64::from(rng.next_u32()) * u64::from(bound)) >> 32) as u32
}

/// A number from 0 (included) to 1 (excluded).
pub fn fraction(rng: &mut impl Rng) -> f64 {
    f64::from(rng.next_u32()) / 4_294_967_296.0
}

/// A number from -1 to 1, mostly near 0.
pub fn around_zero(rng: &mut impl Rng) -> f64 {
    fraction(rng) - fraction(rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn draws_follow_their_weights() {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(1);
        let weights = Weights::new([1.0, 0.0, 3.0]);
        let mut drawn = [0u32; 3];
        for _ in 0..100_000 {
            drawn[weights.draw(&mut rng)] += 1;
        }
        assert_eq!(drawn[1], 0);
        assert!((24_000..26_000).contains(&drawn[0]), "{drawn:?}");
    }

    #[test]
    fn the_mix_adds_up_to_a_hundred() {
        assert_eq!(Template::ALL.iter().map(|t| t.profile().share).sum::<u32>(), 100);
    }
}
