//! Reads the bodies of `PUT /v1/facilities/{id}` and `PUT /v1/blood-banks/{id}` into the statements
//! that an event with the same fields would make.

use serde::Deserialize;
use uuid::Uuid;

use super::{
    event_data,
    fields::{self, EventFields},
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
    let entity = fields::of_body(content_type, body, read)?;
    Ok(Statement { kind, id, record: Record { event_time_ms, entity: Some(entity) } })
}

#[cfg(test)]
#[path = "registrations_tests.rs"]
mod tests;
