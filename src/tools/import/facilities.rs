//! The facilities that are known, and those that the file makes known.

use std::collections::{HashMap, HashSet};

use jiff::tz::TimeZone;
use uuid::Uuid;

use super::{
    identity::{cleaned_before, facility_id},
    ids::{self, IdText},
    merged::Merged,
    numbers::stands_for_nothing,
    recognise,
};
use crate::{
    domain::{
        event::{Entity, Kind, Record, Statement},
        facility::Zone,
        names, zones,
    },
    store::FacilityRow,
};

/// The longest name, in characters. The longest that a real list holds has 100; more is a row that
/// swallowed its neighbours.
const MAX_NAME_CHARS: usize = 200;

/// The zone of a facility that nobody gave one.
const DEFAULT_ZONE: &str = "UTC";

/// The time of a registration that merely a mention has caused. It is older than any true
/// statement, which therefore always wins.
const MENTIONED_AT_MS: i64 = 0;

/// What the last line of many files says in place of a name.
const TOTALS: &[&str] = &[
    "total",
    "totals",
    "grand total",
    "subtotal",
    "sub total",
    "sum",
    "total general",
    "razem",
    "suma",
    "gesamt",
    "summe",
    "totaal",
    "합계",
    "合计",
    "合計",
];

/// A name as a file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// As it is to be shown.
    pub given: String,
    /// As it is compared.
    pub compared: String,
    /// As it was compared before, where that differs.
    before: Option<String>,
}

impl Name {
    /// `None` where nothing of the text is visible.
    pub fn new(text: &str) -> Option<Self> {
        let compared = names::compared(text);
        let before = Some(cleaned_before(text)).filter(|before| *before != compared);
        (!compared.is_empty()).then(|| Name {
            given: names::as_given(text).into_owned(),
            compared,
            before,
        })
    }
}

/// All facilities, by id and by name.
pub struct Directory {
    known: HashMap<Uuid, FacilityRow>,
    by_name: HashMap<String, Named>,
    /// Facilities that this file has had a row about, of kind `facilities`.
    stated: HashSet<Uuid>,
    /// Facilities whose own zone is not the one that the file names, which then does not count.
    pub zones_kept: HashSet<Uuid>,
    /// Rows and spellings that came to one facility.
    pub merged: Merged,
}

#[derive(Clone, Copy)]
enum Named {
    One(Uuid),
    Several,
}

/// A facility that a row refers to.
#[derive(Debug)]
pub struct Mentioned {
    pub id: Uuid,
    pub tz: TimeZone,
    /// To be registered with the row, as it is not known yet.
    pub unknown: Option<FacilityRow>,
    /// Under which name the row has it; `None` where it gives the id.
    name: Option<Name>,
}

impl Directory {
    pub fn new(rows: Vec<FacilityRow>) -> Self {
        let mut directory = Directory {
            known: HashMap::new(),
            by_name: HashMap::new(),
            stated: HashSet::new(),
            zones_kept: HashSet::new(),
            merged: Merged::default(),
        };
        rows.into_iter().for_each(|row| directory.add(row));
        directory
    }

    /// The facility of an id or a name. An unknown name is a new facility in `zone`; an unknown id
    /// is a fault, since it has no name.
    pub fn mention(&mut self, name: Name, zone: Option<&Zone>) -> Result<Mentioned, String> {
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

    /// Takes up the facility of a row that is taken, and answers its registration where nobody
    /// knows it yet.
    pub fn take_up(&mut self, facility: &Mentioned, line: u64) -> Option<Statement> {
        if let Some(name) = &facility.name {
            self.notice(facility.id, name, line);
        }
        let row = facility.unknown.clone()?;
        let statement = registration(&row, MENTIONED_AT_MS);
        self.add(row);
        Some(statement)
    }

    /// A row that is about a facility: the statement to be made of it, or `None` where it says
    /// nothing new.
    ///
    /// Rows of one id or name are one facility, as its first row has it. A row without a zone
    /// leaves a known facility its own. Such a row carries no time, so what differs from what
    /// is known is stated as of now, and what does not differ is not stated again.
    pub fn state(
        &mut self,
        id: Option<Uuid>,
        name: &Name,
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
        // Found by name, a facility may have been renamed since; it is that facility still, under
        // its newer name. And another spelling of a name is no other name.
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

    /// The id that the name of a facility leads to, or why it can be none.
    pub fn check(&self, name: &Name) -> Result<Uuid, String> {
        proper_name(name)?;
        self.named(name)
    }

    /// Remembers in which spelling a row has a facility's name.
    fn notice(&mut self, id: Uuid, name: &Name, line: u64) {
        let registered = self.known.get(&id).map(|known| known.name.as_str());
        self.merged.spelling(
            id,
            registered
                .filter(|known| *known != name.given && names::compared(known) == name.compared),
            &name.given,
            line,
        );
    }

    /// The facility of a row that is about one, if it is known.
    pub fn id_of(&self, id: Option<Uuid>, name: &Name) -> Option<Uuid> {
        id.or_else(|| self.named(name).ok()).filter(|id| self.known.contains_key(id))
    }

    /// The name of a known facility.
    pub fn name_of(&self, id: Uuid) -> Option<&str> {
        self.known.get(&id).map(|row| row.name.as_str())
    }

    /// The id under which a name is known, or the one that it would get.
    fn named(&self, name: &Name) -> Result<Uuid, String> {
        checked_name(name)?;
        let own = facility_id(&name.compared);
        let before = name.before.as_deref().map(facility_id);
        // Where an import went before it goes again, whoever else satisfied_by that name by now.
        if let Some(met) = before.into_iter().chain([own]).find(|id| self.known.contains_key(id)) {
            return Ok(met);
        }
        match self.by_name.get(&name.compared) {
            None => new_name(name).map(|()| own),
            Some(Named::One(id)) => Ok(*id),
            Some(Named::Several) => {
                Err("is the name of several facilities; give the id instead".to_owned())
            }
        }
    }

    fn add(&mut self, row: FacilityRow) {
        let name = names::compared(&row.name);
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
    Statement {
        kind: Kind::Facility,
        id: row.id,
        record: Record { event_time_ms, entity: Some(entity) },
    }
}

/// A name that is no id either, where both have a field of their own.
fn proper_name(name: &Name) -> Result<(), String> {
    checked_name(name)?;
    match ids::read(&name.compared) {
        IdText::Other => Ok(()),
        _ => {
            Err("looks like an id, and a name is needed; an id belongs into the field id"
                .to_owned())
        }
    }
}

fn checked_name(name: &Name) -> Result<(), String> {
    let chars = name.given.chars().count();
    if chars > MAX_NAME_CHARS {
        return Err(format!(
            "is a name of {chars} characters; at most {MAX_NAME_CHARS} are right (is a quote not \
             closed?)"
        ));
    }
    if name.given.chars().any(char::is_control) {
        return Err("holds control characters; a name is plain text".to_owned());
    }
    Ok(())
}

/// What no facility may be registered as. One that satisfied_by such a name already is met under
/// it.
fn new_name(name: &Name) -> Result<(), String> {
    if stands_for_nothing(&name.compared) {
        return Err("stands for a missing value, and no facility is registered under it; the \
                    name of a facility is needed"
            .to_owned());
    }
    if name.compared.starts_with('=') {
        return Err("is a formula, and no facility is registered under it; save the values of \
                    the spreadsheet"
            .to_owned());
    }
    if let Some(meant) = recognise::encoded_twice(&name.given) {
        return Err(format!(
            "was turned into UTF-8 twice, and \"{meant}\" is meant; save the file from where it \
             comes, opening it there as UTF-8"
        ));
    }
    let words = name.compared.trim_end_matches(':').trim_end().to_lowercase();
    if TOTALS.contains(&words.as_str()) {
        return Err("reads like the line of a total, and no facility is registered under it; \
                    leave such lines out"
            .to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_760_000_000_000;
    const KNOWN: Uuid = Uuid::from_u128(7);

    fn directory() -> Directory {
        let row =
            |id, name: &str| FacilityRow::new(id, name.to_owned(), "Europe/Warsaw".to_owned());
        Directory::new(vec![
            row(KNOWN, "Kraków "),
            row(Uuid::from_u128(8), "Twice"),
            row(Uuid::from_u128(9), "Twice"),
        ])
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn zone(name: &str) -> Zone {
        Zone::named(name).unwrap()
    }

    #[test]
    fn a_known_facility_is_found_by_id_and_by_name() {
        let mut directory = directory();
        for text in ["Kraków", &KNOWN.to_string()] {
            let found = directory.mention(name(text), None).unwrap();
            assert_eq!(
                (found.id, found.tz.iana_name(), found.unknown),
                (KNOWN, Some("Europe/Warsaw"), None)
            );
        }
        assert!(
            directory.mention(name("Twice"), None).is_err_and(|e| e.contains("several facilities"))
        );
        assert!(
            directory
                .mention(name(&Uuid::from_u128(1).to_string()), None)
                .is_err_and(|e| e.contains("no registered facility"))
        );
    }

    #[test]
    fn an_unknown_name_is_registered_once_in_the_files_zone() {
        let mut directory = directory();
        let mentioned = directory.mention(name("Tema"), Some(&zone("Africa/Accra"))).unwrap();
        let unknown = mentioned.unknown.as_ref().unwrap();
        assert_eq!((unknown.id, unknown.timezone.as_str()), (facility_id("Tema"), "Africa/Accra"));
        assert_eq!(directory.take_up(&mentioned, 2).unwrap().record.event_time_ms, MENTIONED_AT_MS);
        assert_eq!(directory.mention(name("Tema"), None).unwrap().unknown, None);
    }

    #[test]
    fn a_known_facility_keeps_its_zone_and_that_is_noted() {
        let mut directory = directory();
        assert_eq!(
            directory.mention(name("Kraków"), Some(&zone("UTC"))).unwrap().tz.iana_name(),
            Some("Europe/Warsaw")
        );
        assert_eq!(directory.zones_kept, HashSet::from([KNOWN]));
    }

    #[test]
    fn a_row_about_a_facility_states_only_what_is_new() {
        let mut directory = directory();
        assert_eq!(directory.state(None, &name("Kraków"), None, 2, NOW_MS), Ok(None));
        assert!(directory.state(None, &name("Tema"), None, 2, NOW_MS).unwrap().is_some());
        assert_eq!(directory.state(None, &name("Tema"), None, 2, NOW_MS), Ok(None));
        assert!(
            directory
                .state(None, &name("Tema"), Some(&zone("Africa/Accra")), 2, NOW_MS)
                .is_err_and(|e| e.contains("contradicts an earlier row"))
        );
        let moved = directory
            .state(Some(Uuid::from_u128(8)), &name("Twice"), Some(&zone("UTC")), 2, NOW_MS)
            .unwrap()
            .unwrap();
        assert_eq!(
            moved.record.entity,
            Some(Entity::Facility { name: "Twice".to_owned(), timezone: "UTC".to_owned() })
        );
    }

    #[test]
    fn a_facility_renamed_since_is_not_renamed_back() {
        let renamed =
            FacilityRow::new(facility_id("Tema"), "Tema General".to_owned(), "UTC".to_owned());
        let mut directory = Directory::new(vec![renamed]);
        assert_eq!(directory.state(None, &name("Tema"), None, 2, NOW_MS), Ok(None));
        assert_eq!(directory.mention(name("Tema"), None).unwrap().id, facility_id("Tema"));
    }
}
