//! API keys, denials and the audit log, in Postgres.

use async_trait::async_trait;
use sqlx::{Row, postgres::PgRow};

use super::{
    PostgresStore, people::end_by_provider, pool::Borrowed, session::BEGIN, transaction::COMMIT,
};
use crate::store::{
    Result,
    access::{
        AccessStore, AccessVersion, ApiKeyRow, AuditEntry, AuditFilter, AuditNote, DenialRow,
    },
    people::EndedByProvider,
};

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../sql/postgres/access/", $name, ".sql"))
    };
}

#[async_trait]
impl AccessStore for PostgresStore {
    async fn access_version(&self) -> Result<AccessVersion> {
        let look = sqlx::query_as("SELECT access_version, access_marks FROM fleet");
        let (number, marks) = look.fetch_one(&self.pool).await?;
        Ok(AccessVersion { number, marks })
    }

    async fn api_keys(&self) -> Result<Vec<ApiKeyRow>> {
        let rows = sqlx::query(sql!("keys")).fetch_all(&self.pool).await?;
        rows.iter().map(key).collect()
    }

    async fn add_api_key(&self, key: &ApiKeyRow, note: &AuditNote) -> Result<i64> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let add = sqlx::query_scalar(sql!("add_key"))
            .bind(&key.id)
            .bind(&key.hash)
            .bind(&key.name)
            .bind(&key.role)
            .bind(key.may_read)
            .bind(&key.facilities)
            .bind(&key.created_by)
            .bind(key.expires_ms);
        let created_ms: i64 = add.fetch_one(&mut tx).await?;
        changed(&mut tx, note).await?;
        tx.commit(COMMIT).await?;
        Ok(created_ms)
    }

    async fn revoke_api_key(&self, id: &str, by: &AuditNote) -> Result<bool> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let revoke = sqlx::query(sql!("revoke_key")).bind(id).bind(&by.actor);
        if revoke.execute(&mut tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        changed(&mut tx, by).await?;
        tx.commit(COMMIT).await?;
        Ok(true)
    }

    async fn denials(&self) -> Result<Vec<DenialRow>> {
        let rows = sqlx::query(sql!("denials")).fetch_all(&self.pool).await?;
        rows.iter().map(denial).collect()
    }

    async fn deny(&self, denial: &DenialRow, note: &AuditNote) -> Result<i64> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let deny = sqlx::query_scalar(sql!("deny"))
            .bind(&denial.id)
            .bind(&denial.issuer)
            .bind(&denial.subject)
            .bind(&denial.token_id)
            .bind(denial.until_ms)
            .bind(&denial.created_by);
        let created_ms: i64 = deny.fetch_one(&mut tx).await?;
        changed(&mut tx, note).await?;
        if denial.token_id.is_none() {
            let version = raise(&mut tx).await?;
            end_by_provider(&mut tx, EndedByProvider::of_denial(denial), note, version).await?;
        }
        tx.commit(COMMIT).await?;
        Ok(created_ms)
    }

    async fn allow(&self, id: &str, by: &AuditNote) -> Result<bool> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let allow = sqlx::query("DELETE FROM denied_principals WHERE id = $1").bind(id);
        if allow.execute(&mut tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        changed(&mut tx, by).await?;
        tx.commit(COMMIT).await?;
        Ok(true)
    }

    async fn note_key_uses(&self, uses: &[(String, i64)]) -> Result<()> {
        let (ids, at_ms): (Vec<_>, Vec<_>) = uses.iter().cloned().unzip();
        sqlx::query(sql!("note_uses")).bind(ids).bind(at_ms).execute(&self.pool).await?;
        Ok(())
    }

    async fn note_audit(&self, entry: &AuditNote) -> Result<()> {
        note(entry).execute(&self.pool).await?;
        Ok(())
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
        page.fetch_all(&self.pool).await?.iter().map(entry).collect()
    }

    async fn prune_access(&self, before_ms: i64) -> Result<()> {
        sqlx::query("DELETE FROM access_log WHERE at_ms < $1")
            .bind(before_ms)
            .execute(&self.pool)
            .await?;
        sqlx::query(sql!("prune_keys")).bind(before_ms).execute(&self.pool).await?;
        sqlx::query("DELETE FROM denied_principals WHERE until_ms < $1")
            .bind(before_ms)
            .execute(&self.pool)
            .await?;
        let prune = include_str!("../../../sql/postgres/people/prune_sessions.sql");
        sqlx::query(prune).bind(before_ms).execute(&self.pool).await?;
        Ok(())
    }
}

/// Adds entries to the audit log in a transaction that does what they tell.
pub(super) async fn note_all(tx: &mut Borrowed, notes: &[AuditNote]) -> Result<()> {
    let of = |text: fn(&AuditNote) -> &str| notes.iter().map(text).collect::<Vec<&str>>();
    let details: Vec<String> = notes.iter().map(|note| note.detail.to_string()).collect();
    let addresses: Vec<Option<&str>> = notes.iter().map(|note| note.address.as_deref()).collect();
    let add = sqlx::query(sql!("note_all"))
        .bind(of(|note| &note.actor))
        .bind(of(|note| note.action))
        .bind(of(|note| &note.subject))
        .bind(details)
        .bind(addresses);
    add.execute(tx).await?;
    Ok(())
}

/// Notes a change of keys, accounts or sessions, and has every server look what it is. Returns the
/// new access version. Codes for the first account end with it.
pub(super) async fn changed(tx: &mut Borrowed, by: &AuditNote) -> Result<i64> {
    let version = raised(tx, by).await?;
    end_setup_codes(tx).await?;
    Ok(version)
}

/// The same, with the codes left in place.
pub(super) async fn raised(tx: &mut Borrowed, by: &AuditNote) -> Result<i64> {
    note(by).execute(&mut *tx).await?;
    raise(tx).await
}

/// Raises the access version. A version at which sessions are ended is theirs alone: servers look
/// at nothing else then.
async fn raise(tx: &mut Borrowed) -> Result<i64> {
    Ok(sqlx::query_scalar(sql!("raise_version")).fetch_one(tx).await?)
}

pub(super) async fn end_setup_codes(tx: &mut Borrowed) -> Result<()> {
    sqlx::query("DELETE FROM setup_codes").execute(tx).await?;
    Ok(())
}

pub(super) fn note(
    note: &AuditNote,
) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query(sql!("note"))
        .bind(&note.actor)
        .bind(note.action)
        .bind(&note.subject)
        .bind(note.detail.to_string())
        .bind(&note.address)
}

fn key(row: &PgRow) -> Result<ApiKeyRow> {
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

fn denial(row: &PgRow) -> Result<DenialRow> {
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

fn entry(row: &PgRow) -> Result<AuditEntry> {
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
