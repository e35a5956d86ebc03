//! Schemas for the OpenAPI document. They only describe; the functions of `event_data.rs` decide. A
//! test checks that both name the same fields.

use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// One of the eight ABO/RhD types, in exactly this spelling.
#[derive(Deserialize, ToSchema)]
pub enum NamedBloodType {
    #[serde(rename = "O+")]
    OPositive,
    #[serde(rename = "O-")]
    ONegative,
    #[serde(rename = "A+")]
    APositive,
    #[serde(rename = "A-")]
    ANegative,
    #[serde(rename = "B+")]
    BPositive,
    #[serde(rename = "B-")]
    BNegative,
    #[serde(rename = "AB+")]
    AbPositive,
    #[serde(rename = "AB-")]
    AbNegative,
}

/// `facility.registered`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FacilityRegistered {
    /// The facility.
    pub facility_id: Uuid,
    /// The name of the facility.
    #[schema(min_length = 1, max_length = 500)]
    pub name: String,
    /// An IANA name.
    #[schema(example = "Europe/Warsaw")]
    pub timezone: String,
}

/// `blood_bank.registered`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BloodBankRegistered {
    /// The blood bank.
    pub blood_bank_id: Uuid,
    /// The facility that it belongs to.
    pub facility_id: Uuid,
    /// The name of the blood bank.
    #[schema(min_length = 1, max_length = 500)]
    pub name: String,
}

/// `inventory.set`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InventorySet {
    /// The lot of units.
    pub inventory_id: Uuid,
    /// The blood bank that has the lot.
    pub blood_bank_id: Uuid,
    /// Absent or null: unknown.
    pub blood_type: Option<NamedBloodType>,
    /// Units in the lot.
    #[schema(minimum = 0)]
    pub quantity: i32,
    /// Absent or null: never.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// `inventory.removed`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InventoryRemoved {
    /// The lot of units.
    pub inventory_id: Uuid,
}

/// `distribution.set`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DistributionSet {
    /// The delivery.
    pub distribution_id: Uuid,
    /// The facility that it goes to.
    pub dispatched_to_id: Uuid,
    /// Units delivered.
    #[schema(minimum = 1)]
    pub quantity: i32,
    /// Absent or null: unknown.
    pub blood_type: Option<NamedBloodType>,
    /// Absent or null: not delivered.
    #[schema(format = DateTime)]
    pub date_delivered: Option<String>,
}

/// `distribution.removed`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DistributionRemoved {
    /// The delivery.
    pub distribution_id: Uuid,
}

/// `request.set`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestSet {
    /// The request.
    pub request_id: Uuid,
    /// The facility that made the request.
    pub facility_id: Uuid,
    /// When the request was made; this decides its day.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Absent or null: unknown.
    pub blood_type: Option<NamedBloodType>,
    /// Units requested. Absent or null: unknown.
    #[schema(minimum = 0)]
    pub quantity: Option<i32>,
}

/// `request.removed`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestRemoved {
    /// The request.
    pub request_id: Uuid,
}

/// `summary.touched`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SummaryTouched {
    /// The facility.
    pub facility_id: Uuid,
    /// Absent or null: the facility's today.
    #[schema(format = Date)]
    pub date: Option<String>,
}

/// The fields that the event's `type` asks for.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum EventData {
    FacilityRegistered(FacilityRegistered),
    BloodBankRegistered(BloodBankRegistered),
    InventorySet(InventorySet),
    InventoryRemoved(InventoryRemoved),
    DistributionSet(DistributionSet),
    DistributionRemoved(DistributionRemoved),
    RequestSet(RequestSet),
    RequestRemoved(RequestRemoved),
    SummaryTouched(SummaryTouched),
}
