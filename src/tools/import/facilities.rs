//! The facilities that are known, and those that the file makes known.

use std::collections::{HashMap, HashSet};

use jiff::tz::TimeZone;
use uuid::Uuid;

use super::identity::{clean, facility_id};
use crate::{
    domain::{
        event::{Entity, Kind, Record, Statement},
        facility::Zone,
        zones,
    },
    store::FacilityRow,
};

/// The longest name, in characters. The longest that a real list holds has 100; more is a row that swallowed its neighbours.
const MAX_NAME_CHARS: usize = 200;

/// The zone of a facility that nobody gave one.
const DEFAULT_ZONE: &str = "UTC";

/// The time of a registration that merely a mention has caused. It is older than any true statement, which therefore always wins.
const MENTIONED_AT_MS: i64 = 0;

/// All facilities, by id and by name.
pub struct Directory {
    known: HashMap<Uuid, FacilityRow>,
    by_name: HashMap<String, Named>,
    /// Facilities that this file has had a row about, of kind `facilities`.
    stated: HashSet<Uuid>,
    /// Facilities whose own zone is not the one that the file names, which then does not count.
    pub zones_kept: HashSet<Uuid>,
}

#[derive(Clone, Copy)]
enum Named {
    One(Uuid),
    Several,
}

/// A facility that a row refers to.
pub struct Mentioned {
    pub id: Uuid,
    pub tz: TimeZone,
    /// To be registered with the row, as it is not known yet.
    pub unknown: Option<FacilityRow>,
}

impl Directory {
    pub fn new(rows: Vec<FacilityRow>) -> Self {
        let mut directory =
            Directory { known: HashMap::new(), by_name: HashMap::new(), stated: HashSet::new(), zones_kept: HashSet::new() };
        rows.into_iter().for_each(|row| directory.add(row));
        directory
    }

    /// The facility of an id or a name. An unknown name is a new facility in `zone`; an unknown id is a fault, since it has no name.
    pub fn mention(&mut self, text: &str, zone: Option<&Zone>) -> Result<Mentioned, String> {
        let id = match Uuid::try_parse(text) {
            Ok(id) if self.known.contains_key(&id) => id,
            Ok(_) => {
                return Err(
                    "is the id of no registered facility; register it first, with import facilities or PUT /v1/facilities/{id}".to_owned()
                );
            }
            Err(_) => self.named(text)?,
        };
        let zone_name = zone.map_or(DEFAULT_ZONE, |zone| &zone.name);
        let Some(known) = self.known.get(&id) else {
            let unknown = FacilityRow::new(id, text.to_owned(), zone_name.to_owned());
            return Ok(Mentioned { id, tz: zone.map_or(TimeZone::UTC, |zone| zone.tz.clone()), unknown: Some(unknown) });
        };
        let own = Zone::named(&known.timezone).ok_or_else(|| {
            format!("is in the unknown time zone \"{}\"; register it with {}", known.timezone, zones::expected(&known.timezone))
        })?;
        if zone.is_some_and(|zone| zone.name != own.name) {
            self.zones_kept.insert(id);
        }
        Ok(Mentioned { id, tz: own.tz, unknown: None })
    }

    /// Takes up a facility that `mention` found unknown, and answers its registration.
    pub fn register(&mut self, row: FacilityRow) -> Statement {
        let statement = registration(&row, MENTIONED_AT_MS);
        self.add(row);
        statement
    }

    /// A row that is about a facility: the statement to be made of it, or `None` where it says nothing new.
    ///
    /// Rows of one id or name are one facility, as its first row has it. A row without a zone leaves a known facility its own. Such a row
    /// carries no time, so what differs from what is known is stated as of now, and what does not differ is not stated again.
    pub fn state(&mut self, id: Option<Uuid>, name: &str, zone: Option<&Zone>, now_ms: i64) -> Result<Option<Statement>, String> {
        checked_name(name)?;
        let id = match id {
            Some(id) => id,
            None => self.named(name)?,
        };
        let known = self.known.get(&id);
        // Found by name, a facility may have been renamed since; it is that facility still, under its newer name.
        let name = known.filter(|known| id == facility_id(name) && clean(&known.name) != name).map_or(name, |known| &known.name);
        let timezone = zone.map(|zone| zone.name.as_str()).or(known.map(|known| known.timezone.as_str())).unwrap_or(DEFAULT_ZONE);
        let row = FacilityRow::new(id, name.to_owned(), timezone.to_owned());
        let differs = known.is_none_or(|known| clean(&known.name) != row.name && known.name != row.name || known.timezone != row.timezone);
        if !self.stated.insert(id) {
            return match known.filter(|_| differs) {
                Some(known) => {
                    Err(format!("contradicts an earlier row of this file, by which {id} is \"{}\" in {}", known.name, known.timezone))
                }
                None => Ok(None),
            };
        }
        let statement = differs.then(|| registration(&row, now_ms));
        self.add(row);
        Ok(statement)
    }

    /// The facility of a row that is about one, if it is known.
    pub fn id_of(&self, id: Option<Uuid>, name: &str) -> Option<Uuid> {
        id.or_else(|| self.named(name).ok()).filter(|id| self.known.contains_key(id))
    }

    /// The name of a known facility.
    pub fn name_of(&self, id: Uuid) -> Option<&str> {
        self.known.get(&id).map(|row| row.name.as_str())
    }

    /// The id under which a name is known, or the one that it would get.
    fn named(&self, name: &str) -> Result<Uuid, String> {
        checked_name(name)?;
        let own = facility_id(name);
        match self.by_name.get(name) {
            // Where an import went before it goes again, whoever else bears that name by now.
            _ if self.known.contains_key(&own) => Ok(own),
            None => Ok(own),
            Some(Named::One(id)) => Ok(*id),
            Some(Named::Several) => Err("is the name of several facilities; give the id instead".to_owned()),
        }
    }

    fn add(&mut self, row: FacilityRow) {
        let name = clean(&row.name);
        let named = match self.by_name.get(&name) {
            Some(Named::One(other)) if *other != row.id => Named::Several,
            Some(Named::Several) => Named::Several,
            _ => Named::One(row.id),
        };
        self.by_name.insert(name, named);
        self.known.insert(row.id, row);
    }
}

fn registration(row: &FacilityRow, event_time_ms: i64) -> Statement {
    let entity = Entity::Facility { name: row.name.clone(), timezone: row.timezone.clone() };
    Statement { kind: Kind::Facility, id: row.id, record: Record { event_time_ms, entity: Some(entity) } }
}

fn checked_name(name: &str) -> Result<(), String> {
    let chars = name.chars().count();
    if chars > MAX_NAME_CHARS {
        return Err(format!("is a name of {chars} characters; at most {MAX_NAME_CHARS} are right (is a quote not closed?)"));
    }
    if name.chars().any(char::is_control) {
        return Err("holds control characters; a name is plain text".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_760_000_000_000;
    const KNOWN: Uuid = Uuid::from_u128(7);

    fn directory() -> Directory {
        let row = |id, name: &str| FacilityRow::new(id, name.to_owned(), "Europe/Warsaw".to_owned());
        Directory::new(vec![row(KNOWN, "Kraków "), row(Uuid::from_u128(8), "Twice"), row(Uuid::from_u128(9), "Twice")])
    }

    fn zone(name: &str) -> Zone {
        Zone::named(name).unwrap()
    }

    #[test]
    fn a_known_facility_is_found_by_id_and_by_name() {
        let mut directory = directory();
        for text in ["Kraków", &KNOWN.to_string()] {
            let found = directory.mention(text, None).unwrap();
            assert_eq!((found.id, found.tz.iana_name(), found.unknown), (KNOWN, Some("Europe/Warsaw"), None));
        }
        assert!(directory.mention("Twice", None).is_err_and(|e| e.contains("several facilities")));
        assert!(directory.mention(&Uuid::from_u128(1).to_string(), None).is_err_and(|e| e.contains("no registered facility")));
    }

    #[test]
    fn an_unknown_name_is_registered_once_in_the_files_zone() {
        let mut directory = directory();
        let unknown = directory.mention("Tema", Some(&zone("Africa/Accra"))).unwrap().unknown.unwrap();
        assert_eq!((unknown.id, unknown.timezone.as_str()), (facility_id("Tema"), "Africa/Accra"));
        assert_eq!(directory.register(unknown).record.event_time_ms, MENTIONED_AT_MS);
        assert_eq!(directory.mention("Tema", None).unwrap().unknown, None);
    }

    #[test]
    fn a_known_facility_keeps_its_zone_and_that_is_noted() {
        let mut directory = directory();
        assert_eq!(directory.mention("Kraków", Some(&zone("UTC"))).unwrap().tz.iana_name(), Some("Europe/Warsaw"));
        assert_eq!(directory.zones_kept, HashSet::from([KNOWN]));
    }

    #[test]
    fn a_row_about_a_facility_states_only_what_is_new() {
        let mut directory = directory();
        assert_eq!(directory.state(None, "Kraków", None, NOW_MS), Ok(None));
        assert!(directory.state(None, "Tema", None, NOW_MS).unwrap().is_some());
        assert_eq!(directory.state(None, "Tema", None, NOW_MS), Ok(None));
        assert!(
            directory.state(None, "Tema", Some(&zone("Africa/Accra")), NOW_MS).is_err_and(|e| e.contains("contradicts an earlier row"))
        );
        let moved = directory.state(Some(Uuid::from_u128(8)), "Twice", Some(&zone("UTC")), NOW_MS).unwrap().unwrap();
        assert_eq!(moved.record.entity, Some(Entity::Facility { name: "Twice".to_owned(), timezone: "UTC".to_owned() }));
    }

    #[test]
    fn a_facility_renamed_since_is_not_renamed_back() {
        let renamed = FacilityRow::new(facility_id("Tema"), "Tema General".to_owned(), "UTC".to_owned());
        let mut directory = Directory::new(vec![renamed]);
        assert_eq!(directory.state(None, "Tema", None, NOW_MS), Ok(None));
        assert_eq!(directory.mention("Tema", None).unwrap().id, facility_id("Tema"));
    }
}
