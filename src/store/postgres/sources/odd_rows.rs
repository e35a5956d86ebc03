//! Rows of mapped tables whose quantity is none: not a number, infinite, or beyond a billion. They
//! do not count, as a row without a quantity does not. Each statement that derives a day says how
//! many it met, of which list, and they are remembered here until the day is derived without them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{AUDIT_SELECT, DERIVE_SELECT};
use crate::store::{OddRow, Result};

/// A facility, a date, and a list of the mapping.
type Place = (Uuid, String, String);

/// The odd rows of each place.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct OddRows(Mutex<BTreeMap<Place, i64>>);

impl OddRows {
    /// Records what a statement says of the days that it was asked for. A day that it does not
    /// name has none.
    pub fn see(&self, ids: &[Uuid], dates: &[String], rows: &[PgRow]) -> Result<()> {
        let mut found = BTreeMap::new();
        for row in rows {
            let odd: Option<&str> = row.try_get("odd")?;
            let (id, date): (Uuid, String) = (row.try_get("facility_id")?, row.try_get("date")?);
            for (list, number) in odd.into_iter().flat_map(parts) {
                *found.entry((id, date.clone(), list.to_owned())).or_insert(0) += number;
            }
        }
        let mut known = self.known();
        if found.is_empty() && known.is_empty() {
            return Ok(());
        }
        let is_asked = |place: &Place| {
            ids.iter().zip(dates).any(|(id, date)| (id, date) == (&place.0, &place.1))
        };
        for ((facility_id, date, list), rows) in
            found.iter().filter(|(place, _)| !known.contains_key(*place))
        {
            tracing::warn!(
                %facility_id,
                date,
                list,
                rows,
                "rows with a quantity that is not a number, or beyond a billion, do not count"
            );
        }
        known.retain(|place, _| !is_asked(place));
        known.extend(found);
        Ok(())
    }

    /// All that are known.
    pub fn all(&self) -> Vec<OddRow> {
        let known = self.known();
        let rows = known.iter().map(|((facility_id, date, list), rows)| OddRow {
            facility_id: *facility_id,
            date: date.clone(),
            list: list.clone(),
            rows: *rows,
        });
        rows.collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Place, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts of `sources.stock[0]=2 sources.deliveries[0]=1`.
fn parts(odd: &str) -> impl Iterator<Item = (&str, i64)> {
    odd.split(' ').filter_map(|part| {
        let (list, number) = part.split_once('=')?;
        Some((list, number.parse().ok()?))
    })
}

/// The places of the derive statement where odd rows go through it, and what stands there then.
const THROUGH: [(&str, &str); 4] = [
    (
        "NULL::timestamptz AS next_expires_at\n                FROM pg_catalog.jsonb_each",
        "NULL::timestamptz AS next_expires_at, NULL::text AS odd\n                FROM \
         pg_catalog.jsonb_each",
    ),
    (
        "min(next_expires_at) AS next_expires_at\n            FROM (",
        "min(next_expires_at) AS next_expires_at, pg_catalog.string_agg(odd, ' '::text) AS \
         odd\nFROM (",
    ),
    (
        "min(next_expires_at) AS next_expires_at,\n",
        "min(next_expires_at) AS next_expires_at, pg_catalog.string_agg(odd, ' '::text) AS odd,\n",
    ),
    (
        "coalesce(sums.by_blood_type, '{}') AS by_blood_type,",
        "coalesce(sums.by_blood_type, '{}') AS by_blood_type, sums.odd,",
    ),
];

/// The derive statement with a column `odd`.
pub(super) fn with_odd(derive: &str) -> String {
    THROUGH.iter().fold(derive.to_owned(), |derive, (before, after)| {
        assert!(derive.contains(before), "the statement has {before:?}");
        derive.replacen(before, after, 1)
    })
}

/// What the derive statement and the audit select, with that column. The audit also gives days that
/// do not differ, where they have odd rows; `differs` tells them apart.
pub(super) fn selects() -> (String, String) {
    let begin = "SELECT facility_id,";
    let (_, differs) = AUDIT_SELECT.rsplit_once("\nWHERE ").expect("the audit has a condition");
    assert!(DERIVE_SELECT.contains(begin) && AUDIT_SELECT.contains(begin), "they begin so");
    let derive = DERIVE_SELECT.replacen(begin, "SELECT odd, facility_id,", 1);
    let audit = AUDIT_SELECT.replacen(
        begin,
        &format!("SELECT odd, ({differs}) AS differs, facility_id,"),
        1,
    );
    (derive, format!("{audit} OR odd IS NOT NULL\n"))
}
