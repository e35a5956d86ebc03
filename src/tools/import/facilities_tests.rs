//! Tests of `facilities.rs`.

use super::*;

const NOW_MS: i64 = 1_760_000_000_000;
const KNOWN: Uuid = Uuid::from_u128(7);

fn directory() -> FacilityIndex {
    let row = |id, name: &str| FacilityRow::new(id, name.to_owned(), "Europe/Warsaw".to_owned());
    FacilityIndex::new(vec![
        row(KNOWN, "Kraków "),
        row(Uuid::from_u128(8), "Twice"),
        row(Uuid::from_u128(9), "Twice"),
    ])
}

fn name(text: &str) -> FacilityName {
    FacilityName::new(text).unwrap()
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
    let mut directory = FacilityIndex::new(vec![renamed]);
    assert_eq!(directory.state(None, &name("Tema"), None, 2, NOW_MS), Ok(None));
    assert_eq!(directory.mention(name("Tema"), None).unwrap().id, facility_id("Tema"));
}
