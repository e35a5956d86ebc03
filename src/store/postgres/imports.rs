//! The log of imports, in Postgres.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use uuid::Uuid;

use super::{
    PostgresStore,
    access::note_all,
    columns, date, day,
    session::BEGIN,
    transaction::{COMMIT, PostgresTransaction},
};
use crate::{
    domain::{blood_type::BloodType, event::EntityKind, summary::Key},
    store::{
        Result,
        access::AuditNote,
        imports::{
            EqualRows, Finished, Hidden, Import, ImportLog, ImportNotes, ImportedDay, ImportedRow,
            NewImport, parse_units, units_text,
        },
        unreadable,
    },
};

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../sql/postgres/imports/", $name, ".sql"))
    };
}

impl PostgresStore {
    /// Changes the row of an import, and notes that in the audit log.
    async fn noted(
        &self,
        id: i32,
        change: Query<'_, Postgres, PgArguments>,
        note: AuditNote,
    ) -> Result<()> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        change.execute(&mut tx).await?;
        note_all(&mut tx, &[AuditNote { subject: id.to_string(), ..note }]).await?;
        Ok(tx.commit(COMMIT).await?)
    }
}

#[async_trait]
impl ImportLog for PostgresStore {
    async fn imports(&self) -> Result<Vec<Import>> {
        sqlx::query(sql!("list")).fetch_all(&self.pool).await?.iter().map(import).collect()
    }

    async fn begin_import(&self, new: &NewImport, note: AuditNote) -> Result<i32> {
        let begin = sqlx::query_scalar(sql!("begin"))
            .bind(&new.kind)
            .bind(&new.source)
            .bind(&new.file)
            .bind(&new.sha256);
        let begin = begin.bind(&new.quantity_column).bind(&new.fingerprint).bind(&new.command);
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let id: i32 = begin.fetch_one(&mut tx).await?;
        note_all(&mut tx, &[AuditNote { subject: id.to_string(), ..note }]).await?;
        tx.commit(COMMIT).await?;
        Ok(id)
    }

    async fn finish_import(&self, id: i32, finished: &Finished, note: AuditNote) -> Result<()> {
        let finish = sqlx::query(
            "UPDATE file_imports SET finished_at = now(), rows_in = $2, rows_skipped = $3, \
             rejects = $4 WHERE id = $1",
        );
        let finish = finish
            .bind(id)
            .bind(finished.rows_in)
            .bind(finished.rows_skipped)
            .bind(&finished.rejects);
        self.noted(id, finish, note).await
    }

    async fn begin_undo(&self, id: i32, note: AuditNote) -> Result<()> {
        let begin = sqlx::query("UPDATE file_imports SET undo_began_at = now() WHERE id = $1");
        self.noted(id, begin.bind(id), note).await
    }

    async fn finish_undo(&self, id: i32, note: AuditNote) -> Result<()> {
        let finish = sqlx::query("UPDATE file_imports SET undone_at = now() WHERE id = $1");
        self.noted(id, finish.bind(id), note).await
    }

    async fn rows_in(&self, kind: EntityKind, ids: &[Uuid]) -> Result<HashSet<Uuid>> {
        let there = format!(
            "SELECT id FROM {} WHERE id = ANY ($1) UNION ALL SELECT id FROM tombstones WHERE kind \
             = $2 AND id = ANY ($1)",
            table(kind)
        );
        let found: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(there))
            .bind(ids)
            .bind(kind.as_str())
            .fetch_all(&self.pool)
            .await?;
        Ok(found.into_iter().collect())
    }

    async fn claims(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, i32)>> {
        let claims =
            sqlx::query_as("SELECT row_id, import_id FROM imported_rows WHERE row_id = ANY ($1)")
                .bind(ids);
        Ok(claims.fetch_all(&self.pool).await?)
    }

    async fn equal_rows(
        &self,
        kind: EntityKind,
        source: &str,
        rows: &[EqualRows],
    ) -> Result<Vec<(String, u64)>> {
        let statement = if kind == EntityKind::Distribution {
            sql!("equal_distributions")
        } else {
            sql!("equal_requests")
        };
        let equal = sqlx::query(statement)
            .bind(source)
            .bind(rows.iter().map(|r| r.facility_id).collect::<Vec<Uuid>>())
            .bind(rows.iter().map(|r| r.at_ms).collect::<Vec<i64>>())
            .bind(
                rows.iter()
                    .map(|r| r.blood_type.map(BloodType::as_str))
                    .collect::<Vec<Option<&str>>>(),
            )
            .bind(rows.iter().map(|r| r.quantity).collect::<Vec<Option<i32>>>())
            .bind(rows.iter().map(|r| i64::from(r.before)).collect::<Vec<i64>>())
            .bind(rows.iter().map(|r| i64::from(r.count)).collect::<Vec<i64>>())
            .fetch_all(&self.pool)
            .await?;
        equal
            .iter()
            .map(|r| Ok((r.try_get("source")?, r.try_get::<i64, _>("rows")?.unsigned_abs())))
            .collect()
    }

    async fn imported_rows(
        &self,
        import: i32,
        facilities: bool,
        after: Uuid,
        limit: usize,
    ) -> Result<Vec<Uuid>> {
        let some = "SELECT row_id FROM imported_rows WHERE row_id > $1 AND import_id = $2 AND \
                    is_facility = $3 ORDER BY row_id LIMIT $4";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(sqlx::query_scalar(some)
            .bind(after)
            .bind(import)
            .bind(facilities)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?)
    }

    async fn imported_days(&self, import: i32, limit: usize) -> Result<Vec<Key>> {
        let some = sqlx::query(
            "SELECT facility_id, date::text AS date FROM imported_days WHERE import_id = $1 LIMIT \
             $2",
        );
        let rows = some
            .bind(import)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        Ok(unreadable::skip(rows.iter().map(day), "imported_days"))
    }
}

#[async_trait]
impl ImportNotes for PostgresTransaction {
    async fn note_rows(&mut self, rows: &[ImportedRow]) -> Result<()> {
        sqlx::query(sql!("note_rows"))
            .bind(rows.iter().map(|r| r.row_id).collect::<Vec<Uuid>>())
            .bind(rows.iter().map(|r| r.import_id).collect::<Vec<i32>>())
            .bind(rows.iter().map(|r| r.content).collect::<Vec<i64>>())
            .bind(rows.iter().map(|r| r.is_facility).collect::<Vec<bool>>())
            .bind(rows.iter().map(|r| r.wrote).collect::<Vec<bool>>())
            .bind(
                rows.iter()
                    .map(|r| r.hidden.as_ref().map(Hidden::to_text))
                    .collect::<Vec<Option<String>>>(),
            )
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }

    async fn noted_rows(&mut self, ids: &[Uuid]) -> Result<Vec<ImportedRow>> {
        let noted = sqlx::query(
            "SELECT row_id, import_id, content, is_facility, wrote, hidden FROM imported_rows \
             WHERE row_id = ANY ($1)",
        );
        let rows = noted.bind(ids).fetch_all(&mut self.tx).await?;
        rows.iter()
            .map(|r| {
                Ok(ImportedRow {
                    row_id: r.try_get("row_id")?,
                    import_id: r.try_get("import_id")?,
                    content: r.try_get("content")?,
                    is_facility: r.try_get("is_facility")?,
                    wrote: r.try_get("wrote")?,
                    hidden: r
                        .try_get::<Option<&str>, _>("hidden")?
                        .map(Hidden::parse)
                        .transpose()?,
                })
            })
            .collect()
    }

    async fn forget_rows(&mut self, import: i32, ids: &[Uuid]) -> Result<()> {
        let forget =
            sqlx::query("DELETE FROM imported_rows WHERE import_id = $1 AND row_id = ANY ($2)");
        forget.bind(import).bind(ids).execute(&mut self.tx).await?;
        Ok(())
    }

    async fn noted_days(&mut self, days: &[Key]) -> Result<Vec<ImportedDay>> {
        let (ids, dates) = columns(days);
        let noted = "SELECT facility_id, date::text AS date, import_id, turn, recorded, before \
                     FROM imported_days
                     WHERE (facility_id, date) IN (SELECT facility_id, date::date FROM \
                     unnest($1::uuid[], $2::text[]) AS d (facility_id, date))";
        let rows = sqlx::query(noted).bind(ids).bind(dates).fetch_all(&mut self.tx).await?;
        rows.iter()
            .map(|r| {
                Ok(ImportedDay {
                    facility_id: r.try_get("facility_id")?,
                    date: date(r)?,
                    import_id: r.try_get("import_id")?,
                    turn: r.try_get("turn")?,
                    recorded: parse_units(r.try_get("recorded")?)?,
                    before: r.try_get::<Option<&str>, _>("before")?.map(parse_units).transpose()?,
                })
            })
            .collect()
    }

    async fn note_days(&mut self, days: &[ImportedDay]) -> Result<()> {
        sqlx::query(sql!("note_days"))
            .bind(days.iter().map(|d| d.facility_id).collect::<Vec<Uuid>>())
            .bind(days.iter().map(|d| d.date.to_string()).collect::<Vec<String>>())
            .bind(days.iter().map(|d| d.import_id).collect::<Vec<i32>>())
            .bind(days.iter().map(|d| d.turn).collect::<Vec<i64>>())
            .bind(days.iter().map(|d| units_text(&d.recorded)).collect::<Vec<String>>())
            .bind(
                days.iter()
                    .map(|d| d.before.as_ref().map(units_text))
                    .collect::<Vec<Option<String>>>(),
            )
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }

    async fn forget_days(&mut self, import: i32, days: &[Key]) -> Result<()> {
        let (ids, dates) = columns(days);
        let forget = "DELETE FROM imported_days WHERE import_id = $1
                      AND (facility_id, date) IN (SELECT facility_id, date::date FROM \
                      unnest($2::uuid[], $3::text[]) AS d (facility_id, date))";
        sqlx::query(forget).bind(import).bind(ids).bind(dates).execute(&mut self.tx).await?;
        Ok(())
    }

    async fn erase(&mut self, kind: EntityKind, ids: &[Uuid]) -> Result<()> {
        let delete = format!("DELETE FROM {} WHERE id = ANY ($1)", table(kind));
        sqlx::query(AssertSqlSafe(delete)).bind(ids).execute(&mut self.tx).await?;
        Ok(())
    }

    async fn referred_to(&mut self, facilities: &[Uuid]) -> Result<Vec<Uuid>> {
        Ok(sqlx::query_scalar(sql!("referred_to")).bind(facilities).fetch_all(&mut self.tx).await?)
    }
}

fn import(row: &PgRow) -> Result<Import> {
    Ok(Import {
        id: row.try_get("id")?,
        what: NewImport {
            kind: row.try_get("kind")?,
            source: row.try_get("source")?,
            file: row.try_get("file")?,
            sha256: row.try_get("sha256")?,
            quantity_column: row.try_get("quantity_column")?,
            fingerprint: row.try_get("fingerprint")?,
            command: row.try_get("command")?,
        },
        started_ms: row.try_get("started_ms")?,
        finished_ms: row.try_get("finished_ms")?,
        rows_in: row.try_get("rows_in")?,
        rows_skipped: row.try_get("rows_skipped")?,
        rejects: row.try_get("rejects")?,
        undo_began_ms: row.try_get("undo_began_ms")?,
        undone_ms: row.try_get("undone_ms")?,
    })
}

const fn table(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Facility => "facilities",
        EntityKind::BloodBank => "blood_banks",
        EntityKind::Inventory => "blood_inventory",
        EntityKind::Distribution => "blood_distributions",
        EntityKind::Request => "blood_requests",
    }
}
