//! Marks: how they are read, written and deleted.

use std::collections::HashMap;

use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    json,
    pool::{Borrowed, PrimaryPool},
    server_registry::SnapshotAnswer,
    sources::notice::Noticing,
};
use crate::store::{Mark, MarkKind, Marks, NoticedMarks, Result};

/// The oldest marks, at most `limit`.
pub(super) async fn oldest(pool: &PrimaryPool, limit: usize) -> Result<Marks> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sqlx::query(include_str!("../../../sql/postgres/marks.sql"))
        .bind(limit)
        .fetch_all(pool)
        .await?;
    let mut found = Marks::default();
    for row in &rows {
        let mark = mark(row)?;
        if row.try_get("is_stray")? {
            found.strays.push((mark.id, row.try_get("now_in")?));
        }
        found.all.push(mark);
    }
    Ok(found)
}

/// Deletes these marks, and returns those that still existed.
pub(super) async fn take(tx: &mut Borrowed, ids: &[i64]) -> Result<Vec<Mark>> {
    let query = sqlx::query(include_str!("../../../sql/postgres/take_marks.sql")).bind(ids);
    query.fetch_all(tx).await?.iter().map(mark).collect()
}

/// Deletes marks.
pub(super) async fn forget(pool: &PrimaryPool, ids: &[i64]) -> Result<()> {
    let delete = "DELETE FROM summary_marks WHERE id = ANY ($1::bigint[])";
    sqlx::query(delete).bind(ids).execute(pool).await?;
    Ok(())
}

/// Puts marks of every facility in the place of the spare ones.
pub(super) async fn take_spare(pool: &PrimaryPool) -> Result<()> {
    let take = sqlx::query(include_str!("../../../sql/postgres/take_spare_marks.sql"));
    take.execute(pool).await?;
    Ok(())
}

/// Writes marks, and returns them with their ids.
pub(super) async fn add(tx: &mut Borrowed, marks: &[Mark]) -> Result<Vec<Mark>> {
    let rows = sqlx::query(include_str!("../../../sql/postgres/add_marks.sql"))
        .bind(marks.iter().map(|m| m.kind.as_str().to_owned()).collect::<Vec<String>>())
        .bind(marks.iter().map(|m| m.facility_id).collect::<Vec<Option<Uuid>>>())
        .bind(marks.iter().map(|m| m.span.map(|s| s.0)).collect::<Vec<Option<i64>>>())
        .bind(marks.iter().map(|m| m.span.map(|s| s.1)).collect::<Vec<Option<i64>>>())
        .bind(marks.iter().map(|m| m.blood_bank_id).collect::<Vec<Option<Uuid>>>())
        .fetch_all(tx)
        .await?;
    rows.iter().map(mark).collect()
}

fn mark(row: &PgRow) -> Result<Mark> {
    Ok(Mark {
        id: row.try_get("id")?,
        kind: MarkKind::parse(row.try_get("kind")?),
        facility_id: row.try_get("facility_id")?,
        span: row.try_get::<Option<i64>, _>("first_ms")?.zip(row.try_get("last_ms")?),
        blood_bank_id: row.try_get("blood_bank_id")?,
    })
}

/// A mark in a drain snapshot: id, kind, facility, first and last instant, blood bank, way.
type Seen = (i64, String, Option<Uuid>, Option<i64>, Option<i64>, Option<Uuid>, Option<String>);

/// The marks of a drain snapshot. Those of triggers on mapped tables are apart, unless it is not
/// known what they lead to: then they are of every facility.
pub(super) fn of_look(
    look: &SnapshotAnswer,
    noticing: Option<&Noticing>,
) -> Result<(Vec<Mark>, NoticedMarks)> {
    let seen: Vec<Seen> = json(&look.row, "marks")?;
    // Without a mapping nothing leads anywhere, and triggers that are left mark every facility.
    let left_behind: bool = noticing.is_none() && look.row.try_get("has_noticed_rows")?;
    let has_spare = left_behind || look.row.try_get("has_spare_marks")?;
    let mut noticed = NoticedMarks { has_spare, ..NoticedMarks::default() };
    let fits = noticing.is_some_and(|noticing| noticing.fits(look.row.try_get("mapped_plan").ok()));
    let mut marks = Vec::with_capacity(seen.len());
    let mut kinds = HashMap::new();
    for (id, kind, facility_id, first, last, blood_bank_id, way) in seen {
        let kind = MarkKind::parse(&kind);
        match (way, noticing) {
            (Some(_), Some(_)) if kind == MarkKind::Facility => noticed.of_facilities.push(id),
            // What triggers of another mapping note leads nowhere: nothing relies on it.
            (Some(way), Some(noticing))
                if !fits || look.resolved.is_some() && noticing.has_way(&way) =>
            {
                kinds.insert(id, kind);
                noticed.resolved.insert(id, Vec::new());
            }
            _ => marks.push(Mark { id, kind, facility_id, span: first.zip(last), blood_bank_id }),
        }
    }
    for row in look.resolved.iter().flatten().filter(|_| fits) {
        let id: i64 = row.try_get("id")?;
        if let (Some(marks), Some(kind)) = (noticed.resolved.get_mut(&id), kinds.get(&id)) {
            marks.push(Mark {
                id,
                kind: *kind,
                facility_id: row.try_get("facility_id")?,
                span: row.try_get::<Option<i64>, _>("first_ms")?.zip(row.try_get("last_ms")?),
                blood_bank_id: None,
            });
        }
    }
    Ok((marks, noticed))
}
