//! The mirror of mapped facilities in our table `facilities`. A facility has the same id as long as
//! its key stays: the key itself where that is a UUID, else a UUIDv5 of this installation, the
//! mapped table and the key.

use std::sync::PoisonError;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Mapping, figures,
    keys::{self, is_of_a_row},
};
use crate::store::{
    Result,
    postgres::{
        advisory_locks::Lock,
        pool::{Borrowed, PrimaryPool},
        session::BEGIN,
        transaction::COMMIT,
    },
};

/// A mapped facility that is not, or not so, in our table; or one of ours that is no longer mapped.
#[derive(sqlx::FromRow)]
struct Differing {
    /// Our id, where the key was seen before.
    facility_id: Option<Uuid>,
    key: Option<String>,
    name: Option<String>,
    timezone: Option<String>,
    is_ours: bool,
    is_theirs: bool,
    /// How many rows have this key.
    rows: Option<i64>,
}

/// Makes our table equal to the mapped facilities: to all, or to those with these ids, as they are
/// in a snapshot after the call. What changed is marked by our own triggers, as a write of another
/// program would be. Returns whether anything has.
pub(super) async fn mirror(
    pool: &PrimaryPool,
    mapping: &Mapping,
    ids: Option<&[Uuid]>,
) -> Result<bool> {
    let mut connection = pool.acquire().await?;
    let at_ms = mapping.latest.check(&mut connection).await?;
    // Another process may have begun to keep them in another type.
    let kept = keys::kept_now(&mut connection).await?;
    let select = figures::differing(&mapping.facilities, ids.is_some(), &kept);
    let differing = read(&mut connection, &select, ids).await?;
    if differing.is_empty() {
        if ids.is_none() {
            mapping.latest.note_mirrored(&mut connection, at_ms).await?;
        }
        note_left(mapping, ids.is_none(), vec![]);
        return Ok(false);
    }
    drop(connection);
    let mut tx = pool.begin(format!("{BEGIN}; {}", mapping.latest.hold())).await?;
    let at_ms = mapping.latest.check(&mut tx).await?;
    // So that no older state overwrites a newer one.
    sqlx::query("SELECT pg_advisory_xact_lock($1::integer, $2::integer)")
        .bind(mapping.lock_class)
        .bind(Lock::Mirrors.id())
        .execute(&mut tx)
        .await?;
    // Again, since another server may have written a later state meanwhile.
    let differing = read(&mut tx, &select, ids).await?;
    let removed: Vec<Uuid> = differing
        .iter()
        .filter(|one| one.is_ours && !one.is_theirs)
        .filter_map(|one| one.facility_id)
        .collect();
    if !removed.is_empty() {
        sqlx::query("DELETE FROM facilities WHERE id = ANY ($1::uuid[])")
            .bind(&removed)
            .execute(&mut tx)
            .await?;
    }
    let (changed, left) = write(&mut tx, mapping, &kept, &differing).await?;
    if ids.is_none() {
        mapping.latest.note_mirrored(&mut tx, at_ms).await?;
    }
    tx.commit(COMMIT).await?;
    note_left(mapping, ids.is_none(), left);
    if changed + removed.len() > 0 {
        tracing::info!(
            added_or_changed = changed,
            removed = removed.len(),
            "the mapped facilities have changed"
        );
    }
    let shared = differing.iter().filter(|one| one.rows > Some(1)).count();
    if shared > 0 {
        tracing::warn!(
            keys = shared,
            "keys of sources.facilities are on several rows: the least name and zone count; a key \
             must name one facility"
        );
    }
    Ok(changed + removed.len() > 0)
}

async fn read(
    connection: &mut Borrowed,
    select: &str,
    ids: Option<&[Uuid]>,
) -> Result<Vec<Differing>> {
    let query = sqlx::query_as(AssertSqlSafe(select.to_owned()));
    let query = match ids {
        Some(ids) => query.bind(ids),
        None => query,
    };
    Ok(query.fetch_all(connection).await?)
}

/// A facility to be written.
struct New {
    id: Uuid,
    key: String,
    name: String,
    zone: String,
}

/// Writes new and changed facilities, their keys, and the closed stock of those that come back.
/// Returns how many, and what is to be said of those that could not be written: one stands still
/// alone, and not all others with it.
async fn write(
    tx: &mut Borrowed,
    mapping: &Mapping,
    kept: &str,
    differing: &[Differing],
) -> Result<(usize, Vec<String>)> {
    let new = differing.iter().filter(|one| one.is_theirs).filter_map(|one| {
        let (key, zone) = (one.key.clone()?, one.timezone.clone()?);
        let id = one.facility_id.unwrap_or_else(|| id_of(mapping, kept, &key));
        Some(New { id, name: one.name.clone().unwrap_or_else(|| key.clone()), key, zone })
    });
    let new: Vec<New> = new.collect();
    if new.is_empty() || try_write(tx, kept, &new).await?.is_none() {
        return Ok((new.len(), vec![]));
    }
    let (mut written, mut left) = (0, Vec::new());
    for one in &new {
        match try_write(tx, kept, std::slice::from_ref(one)).await? {
            None => written += 1,
            Some(why) => left.push(format!(
                "the facility with the key {:?} is not followed, and the others are ({why})",
                one.key
            )),
        }
    }
    Ok((written, left))
}

/// Writes all of them, or none: then the server's words are returned.
async fn try_write(tx: &mut Borrowed, kept: &str, new: &[New]) -> Result<Option<String>> {
    sqlx::raw_sql("SAVEPOINT facilities").execute(&mut *tx).await?;
    match write_all(tx, kept, new).await {
        Ok(()) => {
            sqlx::raw_sql("RELEASE SAVEPOINT facilities").execute(&mut *tx).await?;
            Ok(None)
        }
        Err(error) if is_of_a_row(&error) => {
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT facilities").execute(&mut *tx).await?;
            let words = error.as_database_error().map(|error| error.message().to_owned());
            Ok(Some(words.unwrap_or_default()))
        }
        Err(error) => Err(error.into()),
    }
}

async fn write_all(tx: &mut Borrowed, kept: &str, new: &[New]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = new.iter().map(|one| one.id).collect();
    let keys: Vec<&str> = new.iter().map(|one| &*one.key).collect();
    let names: Vec<&str> = new.iter().map(|one| &*one.name).collect();
    let zones: Vec<&str> = new.iter().map(|one| &*one.zone).collect();
    // A key that is there already, of another id, is an error: no facility is without its key.
    let add_keys = format!(
        "INSERT INTO facility_key (facility_id, key) SELECT n.id, n.key::{kept} FROM \
         unnest($1::uuid[], $2::text[]) AS n (id, key) ON CONFLICT (facility_id) DO NOTHING"
    );
    sqlx::query(AssertSqlSafe(add_keys)).bind(&ids).bind(&keys).execute(&mut *tx).await?;
    sqlx::query(
        "INSERT INTO facilities (id, name, timezone) SELECT * FROM \
         unnest($1::uuid[], $2::text[], $3::text[]) ON CONFLICT (id) DO UPDATE SET \
         name = excluded.name, timezone = excluded.timezone",
    )
    .bind(&ids)
    .bind(&names)
    .bind(&zones)
    .execute(&mut *tx)
    .await?;
    sqlx::query(include_str!("../../../../sql/postgres/restore_closed_stock.sql"))
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Takes note of the facilities that could not be written: of all, or of some more.
fn note_left(mapping: &Mapping, of_all: bool, left: Vec<String>) {
    let mut known = mapping.left.lock().unwrap_or_else(PoisonError::into_inner);
    for words in left.iter().filter(|words| !known.contains(words)) {
        tracing::error!("{words}");
    }
    match of_all {
        true => *known = left,
        false => {
            let more: Vec<String> =
                left.into_iter().filter(|words| !known.contains(words)).collect();
            known.extend(more);
        }
    }
}

/// The id of a facility whose key is seen for the first time.
fn id_of(mapping: &Mapping, kept: &str, key: &str) -> Uuid {
    match key.parse() {
        Ok(id) if kept == "uuid" => id,
        _ => {
            let table = mapping.facilities.from.split_whitespace().next().unwrap_or_default();
            Uuid::new_v5(&mapping.namespace, format!("{table}\u{1f}{key}").as_bytes())
        }
    }
}
