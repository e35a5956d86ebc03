//! Tests of `event_data.rs`.

use std::collections::BTreeSet;

use serde_json::Value;
use utoipa::PartialSchema;

use super::*;
use crate::http::{
    event_schema,
    fields::{Faults, Place},
    json,
};

/// The names that the schema requires, and all of its names.
fn names(schema: Value) -> (BTreeSet<String>, BTreeSet<String>) {
    assert_eq!(schema["additionalProperties"], false, "{schema}");
    let required = schema["required"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect();
    (required, schema["properties"].as_object().unwrap().keys().cloned().collect())
}

#[test]
fn the_schemas_name_the_fields_that_are_read() {
    let schemas = [
        serde_json::to_value(event_schema::FacilityRegistered::schema()).unwrap(),
        serde_json::to_value(event_schema::BloodBankRegistered::schema()).unwrap(),
        serde_json::to_value(event_schema::InventorySet::schema()).unwrap(),
        serde_json::to_value(event_schema::InventoryRemoved::schema()).unwrap(),
        serde_json::to_value(event_schema::DistributionSet::schema()).unwrap(),
        serde_json::to_value(event_schema::DistributionRemoved::schema()).unwrap(),
        serde_json::to_value(event_schema::RequestSet::schema()).unwrap(),
        serde_json::to_value(event_schema::RequestRemoved::schema()).unwrap(),
        serde_json::to_value(event_schema::SummaryTouched::schema()).unwrap(),
    ];
    for (event_type, schema) in EventType::ALL.into_iter().zip(schemas) {
        let (required, known) = names(schema);
        let json::Json::Object(probe) = json::parse(br#"{"x/~": 1}"#).unwrap() else { panic!() };
        let mut faults = Faults::default();
        assert_eq!(
            read(event_type, 0, EventFields::new(&probe, Place::Body("/data".into()), &mut faults)),
            None
        );
        let faults = faults.into_list("");
        let missing = faults.iter().filter(|f| f.detail.starts_with("is missing; expected "));
        let missing: BTreeSet<String> =
            missing.map(|f| f.pointer.trim_start_matches("/data/").to_owned()).collect();
        assert_eq!(missing, required, "{event_type:?}");
        let unknown = faults.last().unwrap();
        assert_eq!(unknown.pointer, "/data/x~1~0");
        let (_, listed) = unknown.detail.split_once("the known ones are ").unwrap();
        assert_eq!(
            listed.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(),
            known,
            "{event_type:?}"
        );
    }
}
