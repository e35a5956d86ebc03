//! All days of a facility that have data.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::civil::Date;
use uuid::Uuid;

use crate::{
    domain::{
        day::Day,
        facility::Facility,
        summary::{DayKey, Key},
    },
    store::{self, Store, StoreError},
};

/// Every day of these facilities that has a row or data, in the facility's zone, and its today.
/// Facility by facility, with each one's days in order. Three statements, however many facilities
/// there are.
pub async fn all_days_with_data(
    store: &dyn Store,
    facilities: &[Arc<Facility>],
) -> store::Result<Vec<DayKey>> {
    let ids: Vec<Uuid> = facilities.iter().map(|facility| facility.id).collect();
    let (stored, spans, now_ms) =
        (store.stored_dates(&ids).await?, store.activity(&ids).await?, store.now_ms().await?);
    let mut found: HashMap<Uuid, (&Arc<Facility>, BTreeMap<Date, Day>)> =
        HashMap::with_capacity(facilities.len());
    for facility in facilities {
        let today = facility.zone.today(now_ms);
        found.insert(facility.id, (facility, BTreeMap::from([(today.date, today)])));
    }
    for Key { facility_id, date } in stored {
        let Some((facility, days)) = found.get_mut(&facility_id) else { continue };
        days.extend(Day::named(&facility.zone.tz, date).map(|day| (date, day)));
    }
    for span in spans {
        let Some((facility, days)) = found.get_mut(&span.facility_id) else { continue };
        let covered = Day::covering(&facility.zone.tz, span.first_ms, span.last_ms, DAYS_IN_A_SPAN);
        days.extend(covered.into_iter().map(|day| (day.date, day)));
    }
    let in_order = ids.iter().filter_map(|id| found.remove(id));
    Ok(in_order
        .flat_map(|(facility, days)| {
            days.into_values().map(move |day| DayKey { facility: facility.clone(), day })
        })
        .collect())
}

/// Days, and the facilities of which it cannot be told which days have data.
#[derive(Debug, Default)]
pub struct FoundDays {
    /// The days.
    pub keys: Vec<DayKey>,
    /// Facilities of which an expression fails on a row, with the error. Of these `keys` has those
    /// days that have a row, and today.
    pub unknown: Vec<(Arc<Facility>, StoreError)>,
}

/// Like `all_days_with_data`, and where an expression of the mapping fails on a row, it halves the
/// facilities until those are found on which it does.
pub async fn all_days_that_can_be_told(
    store: &dyn Store,
    facilities: &[Arc<Facility>],
) -> store::Result<FoundDays> {
    let (mut found, mut parts) = (FoundDays::default(), vec![facilities]);
    while let Some(part) = parts.pop() {
        match all_days_with_data(store, part).await {
            Ok(keys) => found.keys.extend(keys),
            Err(error) if !store.is_of_rows(&error) => return Err(error),
            Err(error) if part.len() <= 1 => {
                found.keys.extend(days_with_rows(store, part).await?);
                found.unknown.extend(part.iter().map(|one| (one.clone(), error.clone())));
            }
            Err(_) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
        }
    }
    Ok(found)
}

/// Every day of these facilities that has a row, and today.
async fn days_with_rows(
    store: &dyn Store,
    facilities: &[Arc<Facility>],
) -> store::Result<Vec<DayKey>> {
    let ids: Vec<Uuid> = facilities.iter().map(|facility| facility.id).collect();
    let (stored, now_ms) = (store.stored_dates(&ids).await?, store.now_ms().await?);
    let mut keys = Vec::new();
    for facility in facilities {
        let dates = stored.iter().filter(|key| key.facility_id == facility.id);
        let days = dates.filter_map(|key| Day::named(&facility.zone.tz, key.date));
        let mut days: BTreeMap<Date, Day> = days.map(|day| (day.date, day)).collect();
        let today = facility.zone.today(now_ms);
        days.insert(today.date, today);
        keys.extend(days.into_values().map(|day| DayKey { facility: facility.clone(), day }));
    }
    Ok(keys)
}

/// The most days of one span: a span lies within one UTC day, which overlaps with at most three
/// local days.
pub const DAYS_IN_A_SPAN: usize = 3;
