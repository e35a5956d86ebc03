//! Tests of `imports.rs`.

use super::*;

#[test]
fn what_is_hidden_comes_back_as_it_was() {
    let counted = LastCounted { facility_id: Uuid::from_u128(3), at_ms: Some(-5) };
    let (facility_id, blood_type) = (Uuid::from_u128(1), Some(BloodType::AbNegative));
    for (entity, last_counted) in [
        (None, Some(counted)),
        (None, None),
        (
            Some(Entity::Facility {
                name: "Tema \"General\"".into(),
                timezone: "Africa/Accra".into(),
            }),
            None,
        ),
        (
            Some(Entity::Request {
                blood_type: None,
                created_at_ms: -1,
                facility_id,
                quantity: None,
            }),
            None,
        ),
        (
            Some(Entity::Distribution {
                blood_type,
                date_delivered_ms: None,
                dispatched_to_id: facility_id,
                quantity: 7,
            }),
            None,
        ),
    ] {
        let hidden =
            Hidden { record: Record { event_time_ms: 1_700_000_000_000, entity }, last_counted };
        assert_eq!(Hidden::parse(&hidden.to_text()).unwrap(), hidden);
    }
}
