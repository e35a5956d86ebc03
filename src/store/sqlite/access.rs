//! API keys, denials and the audit log, in SQLite.

use async_trait::async_trait;
use sqlx::{Row, Sqlite, sqlite::SqliteRow};

use super::{SqliteStore, clock_ms, people::end_by_provider};
use crate::store::{
    Result,
    access::{
        AccessStore, AccessVersion, ApiKeyRow, AuditEntry, AuditFilter, AuditNote, DenialRow,
    },
    people::EndedByProvider,
};

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../sql/sqlite/access/", $name, ".sql"))
    };
}

#[async_trait]
impl AccessStore for SqliteStore {
    async fn access_version(&self) -> Result<AccessVersion> {
        let look = sqlx::query_as("SELECT access_version, access_marks FROM fleet");
        let (number, marks) = look.fetch_one(self.reader()?).await?;
        Ok(AccessVersion { number, marks })
    }

    async fn api_keys(&self) -> Result<Vec<ApiKeyRow>> {
        let rows = sqlx::query(sql!("keys")).fetch_all(self.reader()?).await?;
        rows.iter().map(key).collect()
    }

    async fn add_api_key(&self, key: &ApiKeyRow, note: &AuditNote) -> Result<i64> {
        let mut tx = self.lock_file(self.write_timeout).await?;
        let add = sqlx::query_scalar(sql!("add_key"))
            .bind(&key.id)
            .bind(&key.hash)
            .bind(&key.name)
            .bind(&key.role)
            .bind(key.may_read)
            .bind(&key.facilities)
            .bind(&key.created_by)
            .bind(key.expires_ms)
            .bind(clock_ms());
        let created_ms: i64 = add.fetch_one(&mut *tx).await?;
        changed(&mut tx, note).await?;
        tx.commit().await?;
        Ok(created_ms)
    }

    async fn revoke_api_key(&self, id: &str, by: &AuditNote) -> Result<bool> {
        let mut tx = self.lock_file(self.write_timeout).await?;
        let revoke = sqlx::query(sql!("revoke_key")).bind(id).bind(&by.actor).bind(clock_ms());
        if revoke.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        changed(&mut tx, by).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn denials(&self) -> Result<Vec<DenialRow>> {
        let rows = sqlx::query(sql!("denials")).fetch_all(self.reader()?).await?;
        rows.iter().map(denial).collect()
    }

    async fn deny(&self, denial: &DenialRow, note: &AuditNote) -> Result<i64> {
        let mut tx = self.lock_file(self.write_timeout).await?;
        let deny = sqlx::query_scalar(sql!("deny"))
            .bind(&denial.id)
            .bind(&denial.issuer)
            .bind(&denial.subject)
            .bind(&denial.token_id)
            .bind(denial.until_ms)
            .bind(&denial.created_by)
            .bind(clock_ms());
        let created_ms: i64 = deny.fetch_one(&mut *tx).await?;
        changed(&mut tx, note).await?;
        if denial.token_id.is_none() {
            let version = raise(&mut tx).await?;
            end_by_provider(&mut tx, EndedByProvider::of_denial(denial), note, version).await?;
        }
        tx.commit().await?;
        Ok(created_ms)
    }

    async fn allow(&self, id: &str, by: &AuditNote) -> Result<bool> {
        let mut tx = self.lock_file(self.write_timeout).await?;
        let allow = sqlx::query("DELETE FROM denied_principals WHERE id = $1").bind(id);
        if allow.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        changed(&mut tx, by).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn note_key_uses(&self, uses: &[(String, i64)]) -> Result<()> {
        let uses = serde_json::to_string(uses).expect("texts and numbers");
        self.write_once(sqlx::query(sql!("note_uses")).bind(uses)).await.map(drop)
    }

    async fn note_audit(&self, entry: &AuditNote) -> Result<()> {
        self.write_once(note(entry)).await.map(drop)
    }

    async fn audit_log(
        &self,
        filter: &AuditFilter,
        before: i64,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let by = [sql!("log_by_action"), sql!("log_by_actor"), sql!("log_by_subject")];
        let page = match filter.statement(by) {
            None => sqlx::query(sql!("log")).bind(before).bind(limit),
            Some((statement, values)) => {
                let page = sqlx::query(statement).bind(before).bind(limit);
                values.into_iter().fold(page, |page, value| page.bind(value))
            }
        };
        page.fetch_all(self.reader()?).await?.iter().map(entry).collect()
    }

    async fn prune_access(&self, before_ms: i64) -> Result<()> {
        let prune = sqlx::query("DELETE FROM access_log WHERE at_ms < $1").bind(before_ms);
        self.write_once(prune).await?;
        self.write_once(sqlx::query(sql!("prune_keys")).bind(before_ms)).await?;
        let prune =
            sqlx::query("DELETE FROM denied_principals WHERE until_ms < $1").bind(before_ms);
        self.write_once(prune).await?;
        let prune = include_str!("../../../sql/sqlite/people/prune_sessions.sql");
        self.write_once(sqlx::query(prune).bind(before_ms)).await.map(drop)
    }
}

/// Adds entries to the audit log in a transaction that does what they tell.
pub(super) async fn note_all(
    tx: &mut sqlx::Transaction<'static, Sqlite>,
    notes: &[AuditNote],
) -> Result<()> {
    let entry = |note: &AuditNote| {
        let AuditNote { actor, action, subject, detail, address } = note;
        serde_json::json!([actor, action, subject, detail.to_string(), address])
    };
    let entries = serde_json::Value::from(notes.iter().map(entry).collect::<Vec<_>>());
    let add = sqlx::query(sql!("note_all")).bind(entries.to_string()).bind(clock_ms());
    add.execute(&mut **tx).await?;
    Ok(())
}

/// Notes a change of keys, accounts or sessions, and has the server look what it is. Returns the
/// new access version. Codes for the first account end with it.
pub(super) async fn changed(
    tx: &mut sqlx::Transaction<'static, Sqlite>,
    by: &AuditNote,
) -> Result<i64> {
    let version = raised(tx, by).await?;
    end_setup_codes(tx).await?;
    Ok(version)
}

/// The same, with the codes left in place.
pub(super) async fn raised(
    tx: &mut sqlx::Transaction<'static, Sqlite>,
    by: &AuditNote,
) -> Result<i64> {
    note(by).execute(&mut **tx).await?;
    raise(tx).await
}

/// Raises the access version. A version at which sessions are ended is theirs alone: servers look
/// at nothing else then.
async fn raise(tx: &mut sqlx::Transaction<'static, Sqlite>) -> Result<i64> {
    Ok(sqlx::query_scalar(sql!("raise_version")).fetch_one(&mut **tx).await?)
}

pub(super) async fn end_setup_codes(tx: &mut sqlx::Transaction<'static, Sqlite>) -> Result<()> {
    sqlx::query("DELETE FROM setup_codes").execute(&mut **tx).await?;
    Ok(())
}

pub(super) fn note(
    note: &AuditNote,
) -> sqlx::query::Query<'_, Sqlite, sqlx::sqlite::SqliteArguments> {
    sqlx::query(sql!("note"))
        .bind(&note.actor)
        .bind(note.action)
        .bind(&note.subject)
        .bind(note.detail.to_string())
        .bind(&note.address)
        .bind(clock_ms())
}

fn key(row: &SqliteRow) -> Result<ApiKeyRow> {
    Ok(ApiKeyRow {
        id: row.try_get("id")?,
        hash: row.try_get("hash")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
        may_read: row.try_get("may_read")?,
        facilities: row.try_get("facilities")?,
        created_ms: row.try_get("created_ms")?,
        created_by: row.try_get("created_by")?,
        expires_ms: row.try_get("expires_ms")?,
        used_ms: row.try_get("used_ms")?,
        revoked_ms: row.try_get("revoked_ms")?,
        revoked_by: row.try_get("revoked_by")?,
    })
}

fn denial(row: &SqliteRow) -> Result<DenialRow> {
    Ok(DenialRow {
        id: row.try_get("id")?,
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        token_id: row.try_get("token_id")?,
        until_ms: row.try_get("until_ms")?,
        created_ms: row.try_get("created_ms")?,
        created_by: row.try_get("created_by")?,
    })
}

fn entry(row: &SqliteRow) -> Result<AuditEntry> {
    Ok(AuditEntry {
        id: row.try_get("id")?,
        at_ms: row.try_get("at_ms")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        detail: row.try_get("detail")?,
        address: row.try_get("address")?,
    })
}
