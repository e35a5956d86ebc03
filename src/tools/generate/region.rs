//! The regions of facilities: zones with DST, without DST, and with odd offsets; and the blood
//! types of the people there.

/// A zone, and how frequent each blood type is among its people.
#[derive(Debug)]
pub struct Region {
    /// An IANA name.
    pub timezone: &'static str,
    /// Per cent of the people, in the order of `BloodType::NAMED`.
    pub population: &'static [f64; 8],
    /// Cities in it, from which the names of its facilities are made.
    pub cities: [&'static str; 6],
}

// O+, O-, A+, A-, B+, B-, AB+, AB-, as national blood services publish them.
const UNITED_STATES: [f64; 8] = [37.4, 6.6, 35.7, 6.3, 8.5, 1.5, 3.4, 0.6];
const BRAZIL: [f64; 8] = [36.0, 9.0, 34.0, 8.0, 8.0, 2.0, 2.5, 0.5];
const UNITED_KINGDOM: [f64; 8] = [35.0, 13.0, 30.0, 8.0, 8.0, 2.0, 2.0, 1.0];
const POLAND: [f64; 8] = [31.0, 6.0, 32.0, 6.0, 15.0, 2.0, 7.0, 1.0];
const GHANA: [f64; 8] = [53.8, 4.5, 17.6, 1.3, 18.3, 1.3, 2.8, 0.2];
const INDIA: [f64; 8] = [27.9, 1.4, 20.8, 0.6, 38.1, 1.8, 8.9, 0.5];
const JAPAN: [f64; 8] = [29.9, 0.15, 39.8, 0.2, 19.9, 0.1, 9.9, 0.05];
const AUSTRALIA: [f64; 8] = [40.0, 9.0, 31.0, 7.0, 8.0, 2.0, 2.0, 1.0];

const fn region(
    timezone: &'static str,
    population: &'static [f64; 8],
    cities: [&'static str; 6],
) -> Region {
    Region { timezone, population, cities }
}

/// All regions. Each facility is in one of them.
pub static REGIONS: [Region; 12] = [
    region(
        "America/New_York",
        &UNITED_STATES,
        ["Albany", "Boston", "Charlotte", "Newark", "Pittsburgh", "Savannah"],
    ),
    region(
        "America/Chicago",
        &UNITED_STATES,
        ["Austin", "Des Moines", "Madison", "Memphis", "Omaha", "Tulsa"],
    ),
    region(
        "America/Los_Angeles",
        &UNITED_STATES,
        ["Fresno", "Oakland", "Portland", "Reno", "Sacramento", "Tacoma"],
    ),
    region(
        "America/Sao_Paulo",
        &BRAZIL,
        ["Campinas", "Curitiba", "Niterói", "Santos", "Sorocaba", "Vitória"],
    ),
    region(
        "Europe/London",
        &UNITED_KINGDOM,
        ["Bristol", "Cardiff", "Glasgow", "Leeds", "Norwich", "Sheffield"],
    ),
    region("Europe/Warsaw", &POLAND, ["Gdańsk", "Kraków", "Lublin", "Łódź", "Poznań", "Wrocław"]),
    region("Africa/Accra", &GHANA, ["Accra", "Cape Coast", "Kumasi", "Sunyani", "Tamale", "Tema"]),
    region(
        "Africa/Nairobi",
        &GHANA,
        ["Eldoret", "Kisumu", "Machakos", "Mombasa", "Nakuru", "Nyeri"],
    ),
    region("Asia/Kolkata", &INDIA, ["Bhopal", "Chennai", "Indore", "Jaipur", "Nagpur", "Pune"]),
    region(
        "Asia/Kathmandu",
        &INDIA,
        ["Bharatpur", "Biratnagar", "Butwal", "Dharan", "Lalitpur", "Pokhara"],
    ),
    region("Asia/Tokyo", &JAPAN, ["Fukuoka", "Kobe", "Nagoya", "Niigata", "Sapporo", "Sendai"]),
    region(
        "Australia/Sydney",
        &AUSTRALIA,
        ["Albury", "Dubbo", "Newcastle", "Orange", "Tamworth", "Wollongong"],
    ),
];
