//! The facilities that are registered, and those that the file adds.

use std::collections::{HashMap, HashSet};

use jiff::tz::TimeZone;
use uuid::Uuid;

use super::{
    facility_name::{FacilityName, checked_name, new_name, proper_name},
    identity::facility_id,
    ids::{self, IdText},
    merged::Merged,
};
use crate::{
    domain::{
        event::{Entity, EntityKind, Record, Statement},
        facility::Zone,
        names, zones,
    },
    store::FacilityRow,
};

/// The zone of a facility when neither the file nor the command line names one.
const DEFAULT_ZONE: &str = "UTC";

/// The event time of a registration when a row only mentions the facility. It is older than that of
/// any real statement, so the real statement always wins.
const MENTIONED_AT_MS: i64 = 0;

/// All facilities, by id and by name: those of the database, and those that the file adds.
pub struct FacilityIndex {
    known: HashMap<Uuid, FacilityRow>,
    by_name: HashMap<String, NameMatch>,
    /// In a file of kind `facilities`: the facilities that an earlier row was about.
    stated: HashSet<Uuid>,
    /// Known facilities for which the file names another zone. They keep their own.
    pub zones_kept: HashSet<Uuid>,
    /// Facilities that several rows or several spellings name.
    pub merged: Merged,
}

#[derive(Clone, Copy)]
enum NameMatch {
    One(Uuid),
    Several,
}

/// A facility that a row refers to.
#[derive(Debug)]
pub struct Mentioned {
    /// The facility's id.
    pub id: Uuid,
    /// Its zone.
    pub tz: TimeZone,
    /// When the facility is not known yet: what to register together with the row.
    pub unknown: Option<FacilityRow>,
    /// The name in the row; `None` when the row gives the id.
    name: Option<FacilityName>,
}

impl FacilityIndex {
    /// `rows`: all facilities of the database.
    pub fn new(rows: Vec<FacilityRow>) -> Self {
        let mut directory = FacilityIndex {
            known: HashMap::new(),
            by_name: HashMap::new(),
            stated: HashSet::new(),
            zones_kept: HashSet::new(),
            merged: Merged::default(),
        };
        rows.into_iter().for_each(|row| directory.add(row));
        directory
    }

    /// Finds the facility of an id or a name. An unknown name becomes a new facility in `zone`. An
    /// unknown id is a fault, since it has no name. The error is the rest of a sentence about the
    /// value.
    pub fn mention(
        &mut self,
        name: FacilityName,
        zone: Option<&Zone>,
    ) -> Result<Mentioned, String> {
        let (id, name) = match ids::read(&name.compared) {
            IdText::Id(id) if id.is_nil() => {
                return Err("is the nil UUID, which names nothing".to_owned());
            }
            IdText::Id(id) if self.known.contains_key(&id) => (id, None),
            IdText::Id(_) => {
                return Err("is the id of no registered facility; register it first, with import \
                            facilities or PUT /v1/facilities/{id}"
                    .to_owned());
            }
            IdText::Mistyped(problem) => return Err(problem),
            IdText::Other => (self.named(&name)?, Some(name)),
        };
        let zone_name = zone.map_or(DEFAULT_ZONE, |zone| &zone.name);
        let Some(known) = self.known.get(&id) else {
            let given = name.as_ref().map(|name| name.given.clone()).unwrap_or_default();
            let unknown = FacilityRow::new(id, given, zone_name.to_owned());
            return Ok(Mentioned {
                id,
                tz: zone.map_or(TimeZone::UTC, |zone| zone.tz.clone()),
                unknown: Some(unknown),
                name,
            });
        };
        let own = Zone::named(&known.timezone).ok_or_else(|| {
            let name = zones::shortened(&known.timezone, zones::MAX_BYTES);
            format!(
                "is in the unknown time zone \"{name}\"; register it with {}",
                zones::expected(&known.timezone)
            )
        })?;
        if zone.is_some_and(|zone| zone.name != own.name) {
            self.zones_kept.insert(id);
        }
        Ok(Mentioned { id, tz: own.tz, unknown: None, name })
    }

    /// Adds the facility of a row that was accepted. Returns its registration when it is not known
    /// yet.
    pub fn take_up(&mut self, facility: &Mentioned, line: u64) -> Option<Statement> {
        if let Some(name) = &facility.name {
            self.notice(facility.id, name, line);
        }
        let row = facility.unknown.clone()?;
        let statement = registration(&row, MENTIONED_AT_MS);
        self.add(row);
        Some(statement)
    }

    /// Makes the statement of a row that is about a facility; `None` when the row says nothing new.
    ///
    /// All rows of one id or name are one facility, and its first row decides. When a row has no
    /// zone, a known facility keeps its own. Such a row carries no time. So a difference from what
    /// is known is stated as of now, and without a difference nothing is stated. The error is the
    /// rest of a sentence about the name.
    pub fn state(
        &mut self,
        id: Option<Uuid>,
        name: &FacilityName,
        zone: Option<&Zone>,
        line: u64,
        now_ms: i64,
    ) -> Result<Option<Statement>, String> {
        let by_name = self.check(name);
        let id = match id {
            Some(id) => {
                proper_name(name)?;
                if self
                    .known
                    .get(&id)
                    .is_none_or(|known| names::compared(&known.name) != name.compared)
                {
                    new_name(name)?;
                }
                id
            }
            None => by_name.clone()?,
        };
        let known = self.known.get(&id);
        // A facility that was found by its name may have been renamed since. It is still that
        // facility, and keeps its newer name. Another spelling of a name does not rename it either.
        let is_its_name = |known: &&FacilityRow| {
            facility_id(&name.compared) == id
                || by_name == Ok(id)
                || names::compared(&known.name) == name.compared
        };
        let known_name = known.filter(is_its_name).map(|known| known.name.clone());
        let timezone = zone
            .map(|zone| zone.name.as_str())
            .or(known.map(|known| known.timezone.as_str()))
            .unwrap_or(DEFAULT_ZONE);
        let row = FacilityRow::new(
            id,
            known_name.unwrap_or_else(|| name.given.clone()),
            timezone.to_owned(),
        );
        let differs =
            known.is_none_or(|known| known.name != row.name || known.timezone != row.timezone);
        if self.stated.contains(&id) {
            if let Some(known) = known.filter(|_| differs) {
                return Err(format!(
                    "contradicts an earlier row of this file, by which {id} is \"{}\" in {}",
                    known.name, known.timezone
                ));
            }
            self.merged.row(id, &name.given, line);
            self.notice(id, name, line);
            return Ok(None);
        }
        self.stated.insert(id);
        self.merged.row(id, &name.given, line);
        self.notice(id, name, line);
        let statement = differs.then(|| registration(&row, now_ms));
        self.add(row);
        Ok(statement)
    }

    /// The id that belongs to the name of a facility. The error says why the text cannot be a name.
    pub fn check(&self, name: &FacilityName) -> Result<Uuid, String> {
        proper_name(name)?;
        self.named(name)
    }

    /// Remembers the spelling in which a row has a facility's name.
    fn notice(&mut self, id: Uuid, name: &FacilityName, line: u64) {
        let registered = self.known.get(&id).map(|known| known.name.as_str());
        self.merged.spelling(
            id,
            registered
                .filter(|known| *known != name.given && names::compared(known) == name.compared),
            &name.given,
            line,
        );
    }

    /// The id of the facility that a row is about, if that facility is known.
    pub fn id_of(&self, id: Option<Uuid>, name: &FacilityName) -> Option<Uuid> {
        id.or_else(|| self.named(name).ok()).filter(|id| self.known.contains_key(id))
    }

    /// The name of a known facility.
    pub fn name_of(&self, id: Uuid) -> Option<&str> {
        self.known.get(&id).map(|row| row.name.as_str())
    }

    /// The id of the facility with that name, or the id that it would get.
    fn named(&self, name: &FacilityName) -> Result<Uuid, String> {
        checked_name(name)?;
        let own = facility_id(&name.compared);
        let before = name.before.as_deref().map(facility_id);
        // An earlier import made one of these ids of this name. Its rows belong to that facility,
        // even if another facility has the name now.
        if let Some(met) = before.into_iter().chain([own]).find(|id| self.known.contains_key(id)) {
            return Ok(met);
        }
        match self.by_name.get(&name.compared) {
            None => new_name(name).map(|()| own),
            Some(NameMatch::One(id)) => Ok(*id),
            Some(NameMatch::Several) => {
                Err("is the name of several facilities; give the id instead".to_owned())
            }
        }
    }

    fn add(&mut self, row: FacilityRow) {
        let name = names::compared(&row.name);
        let named = match self.by_name.get(&name) {
            Some(NameMatch::One(other)) if *other != row.id => NameMatch::Several,
            Some(NameMatch::Several) => NameMatch::Several,
            _ => NameMatch::One(row.id),
        };
        self.by_name.insert(name, named);
        self.known.insert(row.id, row);
    }
}

fn registration(row: &FacilityRow, event_time_ms: i64) -> Statement {
    let entity = Entity::Facility { name: row.name.clone(), timezone: row.timezone.clone() };
    Statement {
        kind: EntityKind::Facility,
        id: row.id,
        record: Record { event_time_ms, entity: Some(entity) },
    }
}

#[cfg(test)]
#[path = "facilities_tests.rs"]
mod tests;
