//! `[sources]`: where the figures are in an operational database that has tables of its own. Each
//! value is SQL of that database. Tables are named with their schema, columns with the alias of
//! their table.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{SettingsError, sources_places::Places, sql_text};
use crate::domain::{blood_type::BloodType, summary::KnownFigures};

/// The mapping of facilities and figures onto tables of the operational database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcesSettings {
    /// How often the mapped tables are compared with what they were, in seconds; at least 1.
    #[serde(default = "minute")]
    pub compare_seconds: std::num::NonZeroU64,
    /// How writes of the owner's programs are noticed. Without it: by triggers, where
    /// `adopt install` has made them for this mapping, and otherwise not.
    pub notice: Option<Notice>,
    /// Where the facilities are.
    pub facilities: FacilitySource,
    /// Where the stock is; several are added up. `None`: the figure is not known.
    pub stock: Option<Vec<StockSource>>,
    /// Where the deliveries are; several are added up. `None`: the figure is not known.
    pub deliveries: Option<Vec<ActivitySource>>,
    /// Where the requests are; several are added up. `None`: the figure is not known.
    pub requests: Option<Vec<ActivitySource>>,
    /// The owner's own queries, with which figures are compared.
    #[serde(default)]
    pub check: Vec<OwnersQuery>,
    /// Texts of the database that stand for a blood type, beside the usual notations.
    #[serde(default)]
    pub blood_types: BTreeMap<String, String>,
    /// Where each key stands.
    #[serde(skip)]
    pub places: Places,
}

/// How writes of the owner's programs are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Notice {
    /// By triggers on the mapped tables, which `adopt install` makes.
    Triggers,
    /// Not at all: the figures are read at each rebuild, and for readers who take no older ones.
    Rebuild,
}

/// Where the facilities are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FacilitySource {
    /// A table, or several with their joins, each with an alias.
    pub from: String,
    /// What identifies a facility.
    pub key: String,
    /// Its name, as readers see it.
    pub name: String,
    /// Its IANA time zone.
    pub timezone: String,
    /// Which rows count. Without it, all do.
    pub r#where: Option<String>,
}

/// Rows that are units in stock.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StockSource {
    /// A table, or several with their joins, each with an alias.
    pub from: String,
    /// The key of the facility that has the units.
    pub facility: String,
    /// The blood type, in any usual notation. Without it the type is unknown.
    pub blood_type: Option<String>,
    /// The number of units of a row.
    #[serde(default = "one")]
    pub quantity: String,
    /// When the units expire. Without it, or where it is null: never.
    pub expires: Option<String>,
    /// What kind of value `expires` is.
    #[serde(default = "instant")]
    pub expires_as: String,
    /// For a date: whether the units may still be used on it.
    #[serde(default)]
    pub usable_on_expiry_day: bool,
    /// Which rows count. Without it, all do.
    pub r#where: Option<String>,
}

/// Rows that are deliveries, or requests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivitySource {
    /// A table, or several with their joins, each with an alias.
    pub from: String,
    /// The key of the facility.
    pub facility: String,
    /// The blood type, in any usual notation. Without it the type is unknown.
    pub blood_type: Option<String>,
    /// The number of units of a row.
    #[serde(default = "one")]
    pub quantity: String,
    /// When it happened. A row without it does not count.
    pub at: String,
    /// What kind of value `at` is.
    #[serde(default = "instant")]
    pub at_as: String,
    /// What is counted: `rows` or `quantity`. By default, deliveries count `quantity`, and requests
    /// count `rows`.
    pub count: Option<Count>,
    /// Which rows count. Without it, all do.
    pub r#where: Option<String>,
}

/// A query of the owner that gives figures: the columns `facility` (the key), `date`, `figure`
/// (`stock`, `deliveries` or `requests`) and `value`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnersQuery {
    /// The query.
    pub sql: String,
    /// Where it stands in the settings.
    #[serde(skip)]
    pub place: String,
}

/// What a source counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Count {
    /// Each row is one.
    Rows,
    /// The sum of `quantity`.
    Quantity,
}

/// How a value of a column stands for an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeKind {
    /// `timestamptz`.
    Instant,
    /// A time without a zone, in UTC.
    Utc,
    /// A time without a zone, in the facility's zone.
    Local,
    /// A day of the facility.
    Date,
    /// A time without a zone, in this IANA zone.
    Zone(String),
}

impl TimeKind {
    /// Parses `instant`, `utc`, `local`, `date`, or the name of an IANA zone.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "instant" => TimeKind::Instant,
            "utc" => TimeKind::Utc,
            "local" => TimeKind::Local,
            "date" => TimeKind::Date,
            zone => {
                jiff::tz::TimeZone::get(zone).ok()?;
                TimeKind::Zone(zone.to_owned())
            }
        })
    }
}

fn minute() -> std::num::NonZeroU64 {
    const { std::num::NonZeroU64::new(60).expect("it is not 0") }
}

fn one() -> String {
    "1".into()
}

fn instant() -> String {
    "instant".into()
}

/// Those of the texts that are there.
fn given<'s, const N: usize>(
    texts: [(&'static str, Option<&'s String>); N],
) -> Vec<(&'static str, &'s str)> {
    texts.into_iter().filter_map(|(key, text)| Some((key, text?.as_str()))).collect()
}

#[derive(Deserialize)]
struct File {
    sources: SourcesSettings,
}

impl SourcesSettings {
    /// Reads the tables `[sources.…]` of a TOML text, and no others. `origin` says in errors where
    /// the text is from.
    ///
    /// # Errors
    /// It is not TOML, or a key is missing, unknown or wrong.
    pub fn parse(text: &str, origin: &str) -> Result<Self, SettingsError> {
        let File { mut sources } =
            toml::from_str(text).map_err(|error| SettingsError(format!("{origin}: {error}")))?;
        sources.places = Places::of(text, origin);
        for (nth, query) in sources.check.iter_mut().enumerate() {
            query.place = sources.places.named(&format!("sources.check[{nth}].sql"));
        }
        sources.check().map_err(|SettingsError(why)| SettingsError(format!("{origin}: {why}")))?;
        Ok(sources)
    }

    /// The texts of SQL of each list, the facilities first: the list, and each key with its text,
    /// in the order in which a statement needs them.
    pub fn texts(&self) -> Vec<(String, Vec<(&'static str, &str)>)> {
        let of = &self.facilities;
        let facilities = [
            ("from", Some(&of.from)),
            ("key", Some(&of.key)),
            ("name", Some(&of.name)),
            ("timezone", Some(&of.timezone)),
            ("where", of.r#where.as_ref()),
        ];
        let mut all = vec![("sources.facilities".to_owned(), given(facilities))];
        all.extend(self.stock.iter().flatten().enumerate().map(|(nth, of)| {
            let texts = [
                ("from", Some(&of.from)),
                ("facility", Some(&of.facility)),
                ("blood_type", of.blood_type.as_ref()),
                ("quantity", Some(&of.quantity)),
                ("expires", of.expires.as_ref()),
                ("where", of.r#where.as_ref()),
            ];
            (format!("sources.stock[{nth}]"), given(texts))
        }));
        for (list, sources) in [("deliveries", &self.deliveries), ("requests", &self.requests)] {
            all.extend(sources.iter().flatten().enumerate().map(|(nth, of)| {
                let texts = [
                    ("from", Some(&of.from)),
                    ("facility", Some(&of.facility)),
                    ("blood_type", of.blood_type.as_ref()),
                    ("quantity", Some(&of.quantity)),
                    ("at", Some(&of.at)),
                    ("where", of.r#where.as_ref()),
                ];
                (format!("sources.{list}[{nth}]"), given(texts))
            }));
        }
        all
    }

    /// The figures that the mapping has a list for.
    pub fn known(&self) -> KnownFigures {
        KnownFigures {
            stock: self.stock.is_some(),
            transferred: self.deliveries.is_some(),
            requests: self.requests.is_some(),
        }
    }

    /// Checks what one key alone does not show.
    fn check(&self) -> Result<(), SettingsError> {
        for (list, texts) in self.texts() {
            for (key, text) in texts {
                if let Some(fault) = sql_text::fault(text) {
                    let place = self.places.named(&format!("{list}.{key}"));
                    return Err(SettingsError::new(&place, &format!("{text:?}"), fault));
                }
            }
        }
        let right = "must be instant, utc, local, date, or the name of an IANA zone";
        for (nth, source) in self.stock.iter().flatten().enumerate() {
            if TimeKind::parse(&source.expires_as).is_none() {
                let key = format!("sources.stock[{nth}].expires_as");
                return Err(SettingsError::new(&key, &source.expires_as, right));
            }
        }
        for (list, sources) in [("deliveries", &self.deliveries), ("requests", &self.requests)] {
            for (nth, source) in sources.iter().flatten().enumerate() {
                if TimeKind::parse(&source.at_as).is_none() {
                    let key = format!("sources.{list}[{nth}].at_as");
                    return Err(SettingsError::new(&key, &source.at_as, right));
                }
            }
        }
        for (text, blood_type) in &self.blood_types {
            if BloodType::from_canonical(blood_type).is_none() {
                let key = format!("sources.blood_types.{text:?}");
                return Err(SettingsError::new(
                    &key,
                    blood_type,
                    "must be one of O+, O-, A+, A-, B+, B-, AB+, AB-",
                ));
            }
        }
        Ok(())
    }
}
