//! The log of imports, in SQLite.

use std::{collections::HashSet, fmt::Write};

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Row, Sqlite,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};
use uuid::Uuid;

use super::{
    SqliteStore,
    access::note_all,
    clock_ms, parameter, row,
    transaction::{SqliteTransaction, table},
};
use crate::{
    domain::{event::EntityKind, summary::Key},
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
        include_str!(concat!("../../../sql/sqlite/imports/", $name, ".sql"))
    };
}

impl SqliteStore {
    /// Changes the row of an import, and notes that in the audit log.
    async fn noted(
        &self,
        id: i32,
        change: Query<'_, Sqlite, SqliteArguments>,
        note: AuditNote,
    ) -> Result<()> {
        let mut tx = self.lock_file(self.write_timeout).await?;
        change.execute(&mut *tx).await?;
        note_all(&mut tx, &[AuditNote { subject: id.to_string(), ..note }]).await?;
        Ok(tx.commit().await?)
    }
}

#[async_trait]
impl ImportLog for SqliteStore {
    async fn imports(&self) -> Result<Vec<Import>> {
        sqlx::query(sql!("list")).fetch_all(&self.readers).await?.iter().map(import).collect()
    }

    async fn begin_import(&self, new: &NewImport, note: AuditNote) -> Result<i32> {
        let begin = sqlx::query_scalar(sql!("begin"))
            .bind(&new.kind)
            .bind(&new.source)
            .bind(&new.file)
            .bind(&new.sha256);
        let begin = begin
            .bind(&new.quantity_column)
            .bind(&new.fingerprint)
            .bind(&new.command)
            .bind(clock_ms());
        let mut tx = self.lock_file(self.write_timeout).await?;
        let id: i32 = begin.fetch_one(&mut *tx).await?;
        note_all(&mut tx, &[AuditNote { subject: id.to_string(), ..note }]).await?;
        tx.commit().await?;
        Ok(id)
    }

    async fn finish_import(&self, id: i32, finished: &Finished, note: AuditNote) -> Result<()> {
        let finish = sqlx::query(
            "UPDATE file_imports SET finished_at = $2, rows_in = $3, rows_skipped = $4, rejects = \
             $5 WHERE id = $1",
        );
        let finish = finish
            .bind(id)
            .bind(clock_ms())
            .bind(finished.rows_in)
            .bind(finished.rows_skipped)
            .bind(&finished.rejects);
        self.noted(id, finish, note).await
    }

    async fn begin_undo(&self, id: i32, note: AuditNote) -> Result<()> {
        let begin = sqlx::query("UPDATE file_imports SET undo_began_at = $2 WHERE id = $1");
        self.noted(id, begin.bind(id).bind(clock_ms()), note).await
    }

    async fn finish_undo(&self, id: i32, note: AuditNote) -> Result<()> {
        let finish = sqlx::query("UPDATE file_imports SET undone_at = $2 WHERE id = $1");
        self.noted(id, finish.bind(id).bind(clock_ms()), note).await
    }

    async fn rows_in(&self, kind: EntityKind, ids: &[Uuid]) -> Result<HashSet<Uuid>> {
        let asked = "IN (SELECT unhex(value) FROM json_each($1))";
        let there = format!(
            "SELECT id FROM {} WHERE id {asked} UNION ALL SELECT id FROM tombstones WHERE kind = \
             $2 AND id {asked}",
            table(kind)
        );
        let found: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(there))
            .bind(parameter::ids(ids))
            .bind(kind.as_str())
            .fetch_all(&self.readers)
            .await?;
        Ok(found.into_iter().collect())
    }

    async fn claims(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, i32)>> {
        let claims = "SELECT row_id, import_id FROM imported_rows WHERE row_id IN (SELECT \
                      unhex(value) FROM json_each($1))";
        Ok(sqlx::query_as(claims).bind(parameter::ids(ids)).fetch_all(&self.readers).await?)
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
        let row = |r: &EqualRows| {
            json!([
                r.facility_id.simple().to_string(),
                r.at_ms,
                r.blood_type,
                r.quantity,
                r.before,
                r.count
            ])
        };
        let equal = sqlx::query(statement)
            .bind(source)
            .bind(rows.iter().map(row).collect::<Value>().to_string());
        let rows = equal.fetch_all(&self.readers).await?;
        rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get::<i64, _>(1)?.unsigned_abs()))).collect()
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
        Ok(sqlx::query_scalar(some)
            .bind(after)
            .bind(import)
            .bind(facilities)
            .bind(parameter::limit(limit))
            .fetch_all(&self.readers)
            .await?)
    }

    async fn imported_days(&self, import: i32, limit: usize) -> Result<Vec<Key>> {
        let some = sqlx::query(
            "SELECT facility_id, date FROM imported_days WHERE import_id = $1 LIMIT $2",
        );
        let rows = some.bind(import).bind(parameter::limit(limit)).fetch_all(&self.readers).await?;
        Ok(unreadable::skip(rows.iter().map(row::key), "imported_days"))
    }
}

#[async_trait]
impl ImportNotes for SqliteTransaction {
    async fn note_rows(&mut self, rows: &[ImportedRow]) -> Result<()> {
        let mut text = String::with_capacity(2 + rows.len() * 80);
        for row in rows {
            let (before, hidden) = (
                if text.is_empty() { '[' } else { ',' },
                json!(row.hidden.as_ref().map(Hidden::to_text)),
            );
            let (id, facility, wrote) =
                (row.row_id.simple(), u8::from(row.is_facility), u8::from(row.wrote));
            write!(
                text,
                "{before}[\"{id}\",{},{},{facility},{wrote},{hidden}]",
                row.import_id, row.content
            )
            .expect("writing to a string cannot fail");
        }
        text.push(']');
        self.run(sql!("note_rows"), &text).await
    }

    async fn noted_rows(&mut self, ids: &[Uuid]) -> Result<Vec<ImportedRow>> {
        let noted = "SELECT row_id, import_id, content, is_facility, wrote, hidden FROM \
                     imported_rows
                     WHERE row_id IN (SELECT unhex(value) FROM json_each($1))";
        let rows = sqlx::query(noted).bind(parameter::ids(ids)).fetch_all(&mut *self.inner).await?;
        rows.iter()
            .map(|r| {
                Ok(ImportedRow {
                    row_id: r.try_get(0)?,
                    import_id: r.try_get(1)?,
                    content: r.try_get(2)?,
                    is_facility: r.try_get(3)?,
                    wrote: r.try_get(4)?,
                    hidden: r.try_get::<Option<&str>, _>(5)?.map(Hidden::parse).transpose()?,
                })
            })
            .collect()
    }

    async fn forget_rows(&mut self, import: i32, ids: &[Uuid]) -> Result<()> {
        let forget = "DELETE FROM imported_rows WHERE import_id = $1 AND row_id IN (SELECT \
                      unhex(value) FROM json_each($2))";
        sqlx::query(forget)
            .bind(import)
            .bind(parameter::ids(ids))
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    async fn noted_days(&mut self, days: &[Key]) -> Result<Vec<ImportedDay>> {
        let rows = sqlx::query(sql!("noted_days"))
            .bind(parameter::dates(days))
            .fetch_all(&mut *self.inner)
            .await?;
        rows.iter()
            .map(|r| {
                let Key { facility_id, date } = row::key(r)?;
                Ok(ImportedDay {
                    facility_id,
                    date,
                    import_id: r.try_get(2)?,
                    turn: r.try_get(3)?,
                    recorded: parse_units(r.try_get(4)?)?,
                    before: r.try_get::<Option<&str>, _>(5)?.map(parse_units).transpose()?,
                })
            })
            .collect()
    }

    async fn note_days(&mut self, days: &[ImportedDay]) -> Result<()> {
        let note = |d: &ImportedDay| {
            let (recorded, before) = (units_text(&d.recorded), d.before.as_ref().map(units_text));
            json!([
                d.facility_id.simple().to_string(),
                d.date.to_string(),
                d.import_id,
                d.turn,
                recorded,
                before
            ])
        };
        self.run(sql!("note_days"), &days.iter().map(note).collect::<Value>().to_string()).await
    }

    async fn forget_days(&mut self, import: i32, days: &[Key]) -> Result<()> {
        sqlx::query(sql!("forget_days"))
            .bind(import)
            .bind(parameter::dates(days))
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    async fn erase(&mut self, kind: EntityKind, ids: &[Uuid]) -> Result<()> {
        let delete = format!(
            "DELETE FROM {} WHERE id IN (SELECT unhex(value) FROM json_each($1))",
            table(kind)
        );
        sqlx::query(AssertSqlSafe(delete))
            .bind(parameter::ids(ids))
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    async fn referred_to(&mut self, facilities: &[Uuid]) -> Result<Vec<Uuid>> {
        Ok(sqlx::query_scalar(sql!("referred_to"))
            .bind(parameter::ids(facilities))
            .fetch_all(&mut *self.inner)
            .await?)
    }
}

fn import(row: &SqliteRow) -> Result<Import> {
    Ok(Import {
        id: row.try_get(0)?,
        what: NewImport {
            kind: row.try_get(1)?,
            source: row.try_get(2)?,
            file: row.try_get(3)?,
            sha256: row.try_get(4)?,
            quantity_column: row.try_get(5)?,
            fingerprint: row.try_get(6)?,
            command: row.try_get(7)?,
        },
        started_ms: row.try_get(8)?,
        finished_ms: row.try_get(9)?,
        rows_in: row.try_get(10)?,
        rows_skipped: row.try_get(11)?,
        rejects: row.try_get(12)?,
        undo_began_ms: row.try_get(13)?,
        undone_ms: row.try_get(14)?,
    })
}
