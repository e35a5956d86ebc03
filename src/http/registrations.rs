//! Reads the bodies of `PUT /v1/facilities/{id}` and `PUT /v1/blood-banks/{id}` into the statements
//! that an event with the same fields would make.

use serde::Deserialize;
use uuid::Uuid;

use super::{
    cloudevents::require_json,
    event_data, field_rules,
    fields::{EventFields, Faults, Place},
    json,
    problem::Problem,
};
use crate::domain::event::{Entity, EntityKind, Record, Statement};

/// The body of `PUT /v1/facilities/{id}`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FacilityRegistration {
    /// The name of the facility.
    #[schema(min_length = 1, max_length = 500, example = "Szpital Miejski")]
    pub name: String,
    /// The IANA name of the facility's time zone.
    #[schema(example = "Europe/Warsaw")]
    pub timezone: String,
}

/// The body of `PUT /v1/blood-banks/{id}`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BloodBankRegistration {
    /// The facility that the blood bank belongs to.
    pub facility_id: Uuid,
    /// The name of the blood bank.
    #[schema(min_length = 1, max_length = 500, example = "Ward 3")]
    pub name: String,
}

/// Reads the statement about the facility `id` from `time_ms` on (milliseconds since 1970). 400,
/// 415 or 422 as for events.
pub fn facility(
    id: Uuid,
    time_ms: i64,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Statement, Problem> {
    statement(EntityKind::Facility, id, time_ms, content_type, body, event_data::facility)
}

/// Reads the statement about the blood bank `id` from `time_ms` on (milliseconds since 1970). 400,
/// 415 or 422 as for events.
pub fn blood_bank(
    id: Uuid,
    time_ms: i64,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Statement, Problem> {
    statement(EntityKind::BloodBank, id, time_ms, content_type, body, event_data::blood_bank)
}

fn statement(
    kind: EntityKind,
    id: Uuid,
    event_time_ms: i64,
    content_type: Option<&str>,
    body: &[u8],
    read: fn(&mut EventFields) -> Option<Entity>,
) -> Result<Statement, Problem> {
    require_json(content_type)?;
    let body = json::parse(body)?;
    let object = field_rules::object_of(&body, "", "a JSON object")
        .map_err(|fault| Problem::invalid(vec![fault]))?;
    let mut faults = Faults::default();
    let mut f = EventFields::new(object, Place::Body(String::new()), &mut faults);
    let entity = read(&mut f);
    f.finish();
    let faults = faults.into_list("");
    match entity {
        Some(_) if faults.is_empty() => {
            Ok(Statement { kind, id, record: Record { event_time_ms, entity } })
        }
        _ => Err(Problem::invalid(faults)),
    }
}

#[cfg(test)]
mod tests {
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
        let pointers: Vec<&str> =
            problem.errors().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            (problem.status().as_u16(), pointers),
            (422, vec!["/name", "/timezone", "/zone"])
        );
        let unknown: Vec<String> = (0..1000).map(|i| format!("\"f{i}\": {i}")).collect();
        let problem =
            facility(ID, 5, JSON, format!("{{{}}}", unknown.join(", ")).as_bytes()).unwrap_err();
        let last =
            problem.errors().last().map(|fault| (fault.pointer.as_str(), fault.detail.as_str()));
        assert_eq!(
            (problem.errors().len(), last),
            (21, Some(("", "has 982 more faults, here or beside it")))
        );
        assert_eq!(facility(ID, 5, JSON, b"[]").unwrap_err().status(), 422);
        assert_eq!(facility(ID, 5, JSON, b"{").unwrap_err().status(), 400);
        assert_eq!(facility(ID, 5, Some("text/plain"), b"{}").unwrap_err().status(), 415);
        assert_eq!(facility(ID, 5, None, b"{}").unwrap_err().status(), 415);
    }
}
