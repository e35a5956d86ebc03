//! Derives the figures of days from their sources, and compares them with what is stored. The
//! statement collects the data; this file adds it up and compares.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{parameter, row, sql};
use crate::{
    domain::{
        blood_type::BloodType,
        day::has_day,
        summary::{Bounds, DayKey, Figures, Summary, SummaryRow},
    },
    store::{Derived, Difference, Result, StoreError, unreadable},
};

type ByBloodType = BTreeMap<BloodType, Figures>;

/// A day in one snapshot.
pub struct Seen {
    /// The derived figures and the comparison.
    pub derived: Derived,
    stored_totals: Option<[Option<i64>; 3]>,
    explained: bool,
    expires_too_late: bool,
    by_difference: bool,
}

/// Reads these days. `now_ms` must be taken after the lock or the snapshot. Days that have not
/// begun and have no row are left out, and so are facilities that do not exist.
pub async fn look(
    connection: &mut SqliteConnection,
    keys: &[DayKey],
    now_ms: i64,
) -> Result<Vec<Seen>> {
    let rows = sqlx::query(sql!("derive"))
        .bind(parameter::days(keys))
        .bind(now_ms)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| seen(row, now_ms)).collect()
}

/// The days that differ from what is stored.
pub async fn audit(
    connection: &mut SqliteConnection,
    keys: &[DayKey],
    now_ms: i64,
) -> Result<Vec<Difference>> {
    let seen = look(connection, keys, now_ms).await?;
    let differs = seen.into_iter().filter(|s| s.derived.write_needed);
    Ok(differs.map(|s| s.difference(now_ms)).collect())
}

/// More units than there can be. A greater number is not a stock.
const TOO_MANY: i64 = 1_000_000_000_000_000;

fn is_sound(types: &ByBloodType) -> bool {
    types.values().filter_map(|figures| figures.stock).all(|stock| (0..=TOO_MANY).contains(&stock))
}

/// The stored row of a day. `by_blood_type` is `None` when another program wrote something
/// unreadable.
struct StoredDay {
    totals: [Option<i64>; 3],
    by_blood_type: Option<ByBloodType>,
    next_expires_at_ms: Option<i64>,
    updated_at_ms: i64,
    version: i64,
}

impl StoredDay {
    fn read(row: &SqliteRow) -> Result<Option<Self>> {
        let Some(version) = row.try_get("version")? else { return Ok(None) };
        let by_blood_type: &[u8] = row.try_get_unchecked("by_blood_type")?;
        Ok(Some(StoredDay {
            totals: [
                row.try_get("total_stock")?,
                row.try_get("total_transferred")?,
                row.try_get("total_requests")?,
            ],
            by_blood_type: serde_json::from_slice(by_blood_type).ok().filter(is_sound),
            next_expires_at_ms: row.try_get("next_expires_at")?,
            updated_at_ms: row.try_get("updated_at")?,
            version,
        }))
    }

    /// The stock that a closed day keeps, by type; `None` when none was ever recorded.
    fn closing_stock(&self) -> Option<Vec<(BloodType, i64)>> {
        let total = self.totals[0]?;
        Some(match &self.by_blood_type {
            Some(types) => {
                types.iter().map(|(t, figures)| (*t, figures.stock.unwrap_or(0))).collect()
            }
            // The split by type is lost; only the total is left.
            None => vec![(BloodType::Unknown, total.clamp(0, TOO_MANY))],
        })
    }
}

/// What the sources say of a day. `stock` is `None` when it is not known.
struct Sources {
    stock: Option<Vec<(BloodType, i64)>>,
    transferred: Vec<(BloodType, i64)>,
    requests: Vec<(BloodType, i64)>,
    next_expires_at_ms: Option<i64>,
}

impl Sources {
    fn read(row: &SqliteRow, is_today: bool, stored: Option<&StoredDay>) -> Result<Self> {
        let banks: Vec<Vec<(LenientBloodType, i64, Option<i64>)>> = json(row, "stock")?;
        let stock =
            banks.iter().flatten().map(|(LenientBloodType(t), units, _)| (*t, *units)).collect();
        Ok(Sources {
            stock: if is_today { Some(stock) } else { stored.and_then(StoredDay::closing_stock) },
            transferred: by_type(row, "transferred")?,
            requests: by_type(row, "requests")?,
            // An expiry beyond the years that an answer can name does not count.
            next_expires_at_ms: banks
                .iter()
                .flatten()
                .filter_map(|(_, _, at)| at.filter(|at| has_day(*at)))
                .min(),
        })
    }

    /// The figures of each type that occurs.
    fn by_blood_type(&self) -> ByBloodType {
        let nothing =
            Figures { stock: self.stock.as_ref().map(|_| 0), transferred: 0, requests: 0 };
        let mut types = ByBloodType::new();
        for (t, units) in self.stock.iter().flatten() {
            let figures = types.entry(*t).or_insert(nothing);
            figures.stock = figures.stock.map(|sum| sum + units);
        }
        for (t, units) in &self.transferred {
            types.entry(*t).or_insert(nothing).transferred += units;
        }
        for (t, requests) in &self.requests {
            types.entry(*t).or_insert(nothing).requests += requests;
        }
        types.retain(|_, figures| *figures != nothing);
        types
    }
}

fn seen(row: &SqliteRow, now_ms: i64) -> Result<Seen> {
    let is_today: bool = row.try_get("is_today")?;
    let stored = StoredDay::read(row)?;
    let sources = Sources::read(row, is_today, stored.as_ref())?;
    let by_blood_type = sources.by_blood_type();
    let facility_id: uuid::Uuid = row.try_get("facility_id")?;
    let summary = Summary {
        facility_id,
        date: row::date(row, "date")?,
        total_stock: sources
            .stock
            .as_ref()
            .map(|_| by_blood_type.values().filter_map(|f| f.stock).sum()),
        total_transferred: by_blood_type.values().map(|f| f.transferred).sum(),
        total_requests: by_blood_type.values().map(|f| f.requests).sum(),
        by_blood_type,
        updated_at: stored.as_ref().map(|s| s.updated_at_ms),
        version: stored.as_ref().map_or(0, |s| s.version),
    };

    let figures_differ = match &stored {
        Some(s) => {
            s.totals != totals(&summary) || s.by_blood_type.as_ref() != Some(&summary.by_blood_type)
        }
        None => is_today || summary.total_transferred != 0 || summary.total_requests != 0,
    };
    let stored_expiry_ms = stored.as_ref().and_then(|s| s.next_expires_at_ms);
    let expiry_differs = stored_expiry_ms != sources.next_expires_at_ms;
    let expires_too_late = sources
        .next_expires_at_ms
        .is_some_and(|next_ms| stored_expiry_ms.is_none_or(|stored_ms| stored_ms > next_ms));
    let bounds_differ: bool = row.try_get("bounds_differ")?;
    let is_ahead: bool = row.try_get("is_ahead")?;
    let bounds = Bounds { start_ms: row.try_get("starts_at")?, end_ms: row.try_get("ends_at")? };
    Ok(Seen {
        stored_totals: stored.as_ref().map(|s| s.totals),
        explained: stored_expiry_ms.is_some_and(|at| at <= now_ms) || row.try_get("is_marked")?,
        expires_too_late: expires_too_late && stored.is_some(),
        by_difference: row.try_get("by_difference")?,
        derived: Derived {
            row: SummaryRow {
                summary,
                as_of_ms: now_ms,
                next_expires_at_ms: sources.next_expires_at_ms,
                bounds: Some(bounds),
            },
            stored: stored.is_some(),
            figures_differ,
            day_differs: row.try_get("day_differs")?,
            write_needed: figures_differ
                || (stored.is_some() && (expiry_differs || bounds_differ || is_ahead)),
            is_today,
            timezone: unreadable::text(
                row.try_get_unchecked("timezone")?,
                "facilities",
                facility_id,
            ),
        },
    })
}

/// A blood type in a source. A text that is none, which another program wrote with the checks off,
/// counts as unknown.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(from = "String")]
struct LenientBloodType(BloodType);

impl From<String> for LenientBloodType {
    fn from(name: String) -> Self {
        LenientBloodType(BloodType::from_canonical(&name).unwrap_or(BloodType::Unknown))
    }
}

fn by_type(row: &SqliteRow, column: &str) -> Result<Vec<(BloodType, i64)>> {
    let sums: Vec<(LenientBloodType, i64)> = json(row, column)?;
    Ok(sums.into_iter().map(|(LenientBloodType(t), units)| (t, units)).collect())
}

fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T> {
    // The names in it may contain any bytes.
    let text: &[u8] = row.try_get_unchecked(column)?;
    serde_json::from_str(&String::from_utf8_lossy(text))
        .map_err(|e| StoreError::Unreadable(format!("the sums of {column}: {e}")))
}

fn totals(summary: &Summary) -> [Option<i64>; 3] {
    [summary.total_stock, Some(summary.total_transferred), Some(summary.total_requests)]
}

impl Seen {
    /// The comparison as an audit returns it.
    pub fn difference(self, at_ms: i64) -> Difference {
        let summary = &self.derived.row.summary;
        Difference {
            facility_id: summary.facility_id,
            date: summary.date,
            stored: self.stored_totals,
            derived: totals(summary),
            explained: self.explained,
            figures_differ: self.derived.figures_differ,
            expires_too_late: self.expires_too_late,
            by_difference: self.by_difference,
            at_ms,
        }
    }
}

#[cfg(test)]
#[path = "derive_tests.rs"]
mod tests;
