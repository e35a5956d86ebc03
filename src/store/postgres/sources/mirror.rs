//! The mirror of mapped facilities in our table `facilities`. A facility has the same id as long as
//! its key stays: the key itself where that is a UUID, else a UUIDv5 of this installation, the
//! mapped table and the key.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{Mapping, figures};
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
    let select = figures::differing(&mapping.facilities, ids.is_some(), &mapping.key_type);
    let mut connection = pool.acquire().await?;
    let at_ms = mapping.latest.check(&mut connection).await?;
    let differing = read(&mut connection, &select, ids).await?;
    if differing.is_empty() {
        if ids.is_none() {
            mapping.latest.note_mirrored(&mut connection, at_ms).await?;
        }
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
    let changed = write(&mut tx, mapping, &differing).await?;
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
    if ids.is_none() {
        mapping.latest.note_mirrored(&mut tx, at_ms).await?;
    }
    tx.commit(COMMIT).await?;
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

/// Writes new and changed facilities, their keys, and the closed stock of those that come back.
/// Returns how many.
async fn write(tx: &mut Borrowed, mapping: &Mapping, differing: &[Differing]) -> Result<usize> {
    let (mut ids, mut keys, mut names, mut zones) = (vec![], vec![], vec![], vec![]);
    for one in differing.iter().filter(|one| one.is_theirs) {
        let (Some(key), Some(zone)) = (&one.key, &one.timezone) else { continue };
        ids.push(one.facility_id.unwrap_or_else(|| id_of(mapping, key)));
        keys.push(key.clone());
        names.push(one.name.clone().unwrap_or_else(|| key.clone()));
        zones.push(zone.clone());
    }
    if ids.is_empty() {
        return Ok(0);
    }
    let add_keys = format!(
        "INSERT INTO facility_key (facility_id, key) SELECT n.id, n.key::{} FROM \
         unnest($1::uuid[], $2::text[]) AS n (id, key) ON CONFLICT DO NOTHING",
        mapping.key_type
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
    Ok(ids.len())
}

/// The id of a facility whose key is seen for the first time.
fn id_of(mapping: &Mapping, key: &str) -> Uuid {
    match key.parse() {
        Ok(id) if mapping.key_type == "uuid" => id,
        _ => {
            let table = mapping.facilities.from.split_whitespace().next().unwrap_or_default();
            Uuid::new_v5(&mapping.namespace, format!("{table}\u{1f}{key}").as_bytes())
        }
    }
}
