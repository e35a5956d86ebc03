//! Accounts and sessions, in Postgres.

use async_trait::async_trait;
use sqlx::{Row, postgres::PgRow};

use super::{
    PostgresStore,
    access::{changed, end_setup_codes, note, raised},
    pool::Borrowed,
    session::BEGIN,
    transaction::COMMIT,
};
use crate::store::{
    Result,
    access::AuditNote,
    people::{EndedByProvider, PeopleStore, SessionRow, UserRow},
};

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../sql/postgres/people/", $name, ".sql"))
    };
}

#[async_trait]
impl PeopleStore for PostgresStore {
    async fn users(&self) -> Result<Vec<UserRow>> {
        let rows = sqlx::query(sql!("users")).fetch_all(&self.pool).await?;
        rows.iter().map(user).collect()
    }

    async fn has_users(&self) -> Result<bool> {
        let has = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users)");
        Ok(has.fetch_one(&self.pool).await?)
    }

    async fn user(&self, name: &str) -> Result<Option<UserRow>> {
        let row = sqlx::query(sql!("user")).bind(name).fetch_optional(&self.pool).await?;
        row.as_ref().map(user).transpose()
    }

    async fn add_user(&self, user: &UserRow, note: &AuditNote) -> Result<bool> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        if !add(&mut tx, user).await? {
            return Ok(false);
        }
        changed(&mut tx, note).await?;
        tx.commit(COMMIT).await?;
        Ok(true)
    }

    async fn disable_user(&self, name: &str, by: &AuditNote) -> Result<bool> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let disable = sqlx::query(sql!("disable_user")).bind(name).bind(&by.actor);
        if disable.execute(&mut tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        let version = changed(&mut tx, by).await?;
        end_sessions_of(&mut tx, name, by, version).await?;
        tx.commit(COMMIT).await?;
        Ok(true)
    }

    async fn enable_user(&self, name: &str, by: &AuditNote) -> Result<bool> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let enable = "UPDATE users SET disabled_ms = NULL, disabled_by = NULL
            WHERE name = $1 AND disabled_ms IS NOT NULL";
        if sqlx::query(enable).bind(name).execute(&mut tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        changed(&mut tx, by).await?;
        tx.commit(COMMIT).await?;
        Ok(true)
    }

    async fn reset_user(&self, name: &str, password_hash: &str, by: &AuditNote) -> Result<bool> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let reset = sqlx::query("UPDATE users SET password_hash = $2 WHERE name = $1");
        let reset = reset.bind(name).bind(password_hash);
        if reset.execute(&mut tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        let version = changed(&mut tx, by).await?;
        end_sessions_of(&mut tx, name, by, version).await?;
        tx.commit(COMMIT).await?;
        Ok(true)
    }

    async fn add_session(
        &self,
        session: &SessionRow,
        password_hash: Option<&str>,
        by: &AuditNote,
    ) -> Result<bool> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        if let Some(name) = &session.user_name {
            let sign_in = sqlx::query(sql!("sign_in_user")).bind(name).bind(password_hash);
            if sign_in.execute(&mut tx).await?.rows_affected() == 0 {
                return Ok(false);
            }
        }
        if session.subject.is_some() {
            // A denial that is being stored waits for this one, and then ends it; or the reverse.
            let lock = sqlx::query("SELECT 1 FROM fleet FOR SHARE");
            lock.execute(&mut tx).await?;
        }
        let add = sqlx::query(sql!("add_session"))
            .bind(&session.id)
            .bind(&session.hash)
            .bind(&session.principal)
            .bind(&session.name)
            .bind(&session.role)
            .bind(&session.facilities)
            .bind(&session.user_name)
            .bind(&session.issuer)
            .bind(&session.subject)
            .bind(&session.provider_sid)
            .bind(session.expires_ms)
            .bind(&session.address)
            .bind(&session.agent);
        if add.execute(&mut tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        note(by).execute(&mut tx).await?;
        tx.commit(COMMIT).await?;
        Ok(true)
    }

    async fn session(&self, id: &str) -> Result<Option<SessionRow>> {
        let row = sqlx::query(sql!("session")).bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(session).transpose()
    }

    async fn sessions(
        &self,
        principal: Option<&str>,
        now_ms: i64,
        used_after_ms: i64,
        limit: usize,
    ) -> Result<Vec<SessionRow>> {
        let list = sqlx::query(sql!("sessions"))
            .bind(principal)
            .bind(now_ms)
            .bind(used_after_ms)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        list.fetch_all(&self.pool).await?.iter().map(session).collect()
    }

    async fn end_session(&self, id: &str, of: Option<&str>, by: &AuditNote) -> Result<bool> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let version = changed(&mut tx, by).await?;
        let end = sqlx::query(sql!("end_session")).bind(id).bind(of).bind(&by.actor).bind(version);
        if end.execute(&mut tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        tx.commit(COMMIT).await?;
        Ok(true)
    }

    async fn end_sessions_by_provider(
        &self,
        of: EndedByProvider<'_>,
        by: &AuditNote,
    ) -> Result<u64> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let version = changed(&mut tx, by).await?;
        let ended = end_by_provider(&mut tx, of, by, version).await?;
        if ended > 0 {
            tx.commit(COMMIT).await?;
        }
        Ok(ended)
    }

    async fn sessions_ended_after(&self, version: i64) -> Result<Vec<(String, i64)>> {
        let ended =
            sqlx::query_as("SELECT id, ended_version FROM sessions WHERE ended_version > $1");
        Ok(ended.bind(version).fetch_all(&self.pool).await?)
    }

    async fn note_session_uses(&self, uses: &[(String, i64)]) -> Result<()> {
        let (ids, at_ms): (Vec<_>, Vec<_>) = uses.iter().cloned().unzip();
        sqlx::query(sql!("note_uses")).bind(ids).bind(at_ms).execute(&self.pool).await?;
        Ok(())
    }

    async fn add_setup_code(&self, hash: &[u8]) -> Result<bool> {
        let add = sqlx::query(sql!("add_setup_code")).bind(hash);
        Ok(add.execute(&self.pool).await?.rows_affected() == 1)
    }

    async fn set_up(&self, hash: &[u8], user: &UserRow, notes: &[AuditNote; 2]) -> Result<bool> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        // Locks the row of the fleet: of several at the same time, one finds nobody.
        raised(&mut tx, &notes[0]).await?;
        let take = sqlx::query(sql!("take_setup_code")).bind(hash);
        if take.execute(&mut tx).await?.rows_affected() == 0 || !add(&mut tx, user).await? {
            return Ok(false);
        }
        note(&notes[1]).execute(&mut tx).await?;
        end_setup_codes(&mut tx).await?;
        tx.commit(COMMIT).await?;
        Ok(true)
    }
}

/// Ends sessions at this access version. Returns how many.
pub(super) async fn end_by_provider(
    tx: &mut Borrowed,
    of: EndedByProvider<'_>,
    by: &AuditNote,
    version: i64,
) -> Result<u64> {
    let end = sqlx::query(sql!("end_sessions_by_provider"))
        .bind(of.issuer)
        .bind(of.sid)
        .bind(of.subject)
        .bind(of.until_ms)
        .bind(&by.actor)
        .bind(version);
    Ok(end.execute(tx).await?.rows_affected())
}

async fn add(tx: &mut Borrowed, user: &UserRow) -> Result<bool> {
    let add = sqlx::query(sql!("add_user"))
        .bind(&user.name)
        .bind(&user.password_hash)
        .bind(&user.role)
        .bind(&user.facilities)
        .bind(&user.created_by);
    Ok(add.execute(tx).await?.rows_affected() == 1)
}

async fn end_sessions_of(
    tx: &mut Borrowed,
    user: &str,
    by: &AuditNote,
    version: i64,
) -> Result<()> {
    let end = sqlx::query(sql!("end_sessions_of_user")).bind(user).bind(&by.actor).bind(version);
    end.execute(tx).await?;
    Ok(())
}

fn user(row: &PgRow) -> Result<UserRow> {
    Ok(UserRow {
        name: row.try_get("name")?,
        password_hash: row.try_get("password_hash")?,
        role: row.try_get("role")?,
        facilities: row.try_get("facilities")?,
        created_ms: row.try_get("created_ms")?,
        created_by: row.try_get("created_by")?,
        signed_in_ms: row.try_get("signed_in_ms")?,
        disabled_ms: row.try_get("disabled_ms")?,
        disabled_by: row.try_get("disabled_by")?,
    })
}

fn session(row: &PgRow) -> Result<SessionRow> {
    Ok(SessionRow {
        id: row.try_get("id")?,
        hash: row.try_get("hash")?,
        principal: row.try_get("principal")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
        facilities: row.try_get("facilities")?,
        user_name: row.try_get("user_name")?,
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        provider_sid: row.try_get("provider_sid")?,
        created_ms: row.try_get("created_ms")?,
        expires_ms: row.try_get("expires_ms")?,
        used_ms: row.try_get("used_ms")?,
        ended_ms: row.try_get("ended_ms")?,
        ended_by: row.try_get("ended_by")?,
        address: row.try_get("address")?,
        agent: row.try_get("agent")?,
    })
}
