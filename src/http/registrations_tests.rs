//! Tests of `registrations.rs`.

use super::*;

const ID: Uuid = Uuid::from_u128(7);
const JSON: Option<&str> = Some("application/json; charset=UTF-8");

#[test]
fn a_registration_states_what_the_event_of_the_same_fields_states() {
    let statement =
        facility(ID, 5, JSON, br#"{"name": " North ", "timezone": "europe/warsaw"}"#).unwrap();
    let entity = Entity::Facility { name: "North".into(), timezone: "Europe/Warsaw".into() };
    assert_eq!(
        statement,
        Statement {
            kind: EntityKind::Facility,
            id: ID,
            record: Record { event_time_ms: 5, entity: Some(entity) }
        }
    );
    let bank = format!(r#"{{"name": "Ward", "facility_id": "{ID}"}}"#);
    let statement = blood_bank(ID, 5, JSON, bank.as_bytes()).unwrap();
    assert_eq!(
        statement.record.entity,
        Some(Entity::BloodBank { facility_id: ID, name: "Ward".into() })
    );
}

#[test]
fn all_faults_of_a_registration_are_named() {
    let problem = facility(ID, 5, JSON, br#"{"name": "", "zone": "UTC"}"#).unwrap_err();
    let pointers: Vec<&str> = problem.errors().iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!((problem.status().as_u16(), pointers), (422, vec!["/name", "/timezone", "/zone"]));
    let unknown: Vec<String> = (0..1000).map(|i| format!("\"f{i}\": {i}")).collect();
    let problem =
        facility(ID, 5, JSON, format!("{{{}}}", unknown.join(", ")).as_bytes()).unwrap_err();
    let last = problem.errors().last().map(|fault| (fault.pointer.as_str(), fault.detail.as_str()));
    assert_eq!(
        (problem.errors().len(), last),
        (21, Some(("", "has 982 more faults, here or beside it")))
    );
    assert_eq!(facility(ID, 5, JSON, b"[]").unwrap_err().status(), 422);
    assert_eq!(facility(ID, 5, JSON, b"{").unwrap_err().status(), 400);
    assert_eq!(facility(ID, 5, Some("text/plain"), b"{}").unwrap_err().status(), 415);
    assert_eq!(facility(ID, 5, None, b"{}").unwrap_err().status(), 415);
}
