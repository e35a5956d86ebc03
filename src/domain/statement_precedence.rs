//! Decides which of two statements about one entity wins.

use super::event::Record;

impl Record {
    /// Whether this statement replaces the known one. The later time wins. At equal times a removal
    /// wins, then the greater canonical data. A duplicate replaces nothing. So a set of statements
    /// gives the same result in any order and with any repetition.
    pub fn supersedes(&self, known: Option<&Record>) -> bool {
        let Some(known) = known else { return true };
        match self.event_time_ms.cmp(&known.event_time_ms) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => match (&self.entity, &known.entity) {
                (None, known) => known.is_some(),
                (Some(_), None) => false,
                (Some(new), Some(known)) => new != known && new.canonical() > known.canonical(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::event::Entity;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let entity = (0..4i32).prop_map(|quantity| Entity::Request {
            blood_type: None,
            created_at_ms: 0,
            facility_id: Uuid::nil(),
            quantity: Some(quantity * 7),
        });
        (0..4i64, prop::option::of(entity))
            .prop_map(|(event_time_ms, entity)| Record { event_time_ms, entity })
    }

    proptest! {
        #[test]
        fn any_order_and_repetition_of_statements_ends_the_same(
            (records, shuffled) in prop::collection::vec(record(), 1..12).prop_flat_map(|r| {
                let twice: Vec<Record> = r.iter().chain(&r).cloned().collect();
                (Just(r), Just(twice).prop_shuffle())
            })
        ) {
            let fold = |records: &[Record]| records.iter().fold(None::<Record>, |known, r| {
                if r.supersedes(known.as_ref()) { Some(r.clone()) } else { known }
            });
            prop_assert_eq!(fold(&records), fold(&shuffled));
        }
    }
}
