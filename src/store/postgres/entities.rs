//! The source rows that events are about: reading them under lock, writing and removing them.

use std::collections::HashMap;

use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    instants::{floor_ms, some_floor_ms},
    pool::Borrowed,
    text,
};
use crate::{
    domain::{
        blood_type::BloodType,
        event::{Entity, EntityKind, Record},
    },
    store::{LastCounted, Put, Removal, Result, StoreError},
};

/// Reads the rows under lock, and the tombstones of ids without a row. `reserve` has made sure that
/// neither appears in between.
pub(super) async fn load(
    tx: &mut Borrowed,
    kind: EntityKind,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Record>> {
    let statement = match kind {
        EntityKind::Facility => include_str!("../../../sql/postgres/entities/load_facility.sql"),
        EntityKind::BloodBank => include_str!("../../../sql/postgres/entities/load_blood_bank.sql"),
        EntityKind::Inventory => include_str!("../../../sql/postgres/entities/load_inventory.sql"),
        EntityKind::Distribution => {
            include_str!("../../../sql/postgres/entities/load_distribution.sql")
        }
        EntityKind::Request => include_str!("../../../sql/postgres/entities/load_request.sql"),
    };
    let mut records = HashMap::with_capacity(ids.len());
    if !matches!(kind, EntityKind::Facility | EntityKind::BloodBank) {
        let rows = sqlx::query(include_str!("../../../sql/postgres/entities/load_tombstones.sql"))
            .bind(kind.as_str())
            .bind(ids)
            .fetch_all(&mut *tx)
            .await?;
        for row in &rows {
            records.insert(
                row.try_get("id")?,
                Record { event_time_ms: row.try_get("event_time_ms")?, entity: None },
            );
        }
    }
    for row in &sqlx::query(statement).bind(ids).fetch_all(&mut *tx).await? {
        let record = Record {
            event_time_ms: some_floor_ms(row, "event_time")?,
            entity: Some(entity(kind, row)?),
        };
        records.insert(row.try_get("id")?, record);
    }
    Ok(records)
}

fn entity(kind: EntityKind, row: &PgRow) -> Result<Entity> {
    Ok(match kind {
        EntityKind::Facility => {
            let id = row.try_get("id")?;
            Entity::Facility {
                name: text(row, "name", "facilities", id)?,
                timezone: text(row, "timezone", "facilities", id)?,
            }
        }
        EntityKind::BloodBank => {
            let name = text(row, "name", "blood_banks", row.try_get("id")?)?;
            Entity::BloodBank { facility_id: row.try_get("facility_id")?, name }
        }
        EntityKind::Inventory => Entity::Inventory {
            blood_bank_id: row.try_get("blood_bank_id")?,
            blood_type: blood_type(row)?,
            expires_at_ms: floor_ms(row, "expires_at")?,
            quantity: row.try_get("quantity")?,
        },
        EntityKind::Distribution => Entity::Distribution {
            blood_type: blood_type(row)?,
            date_delivered_ms: floor_ms(row, "date_delivered")?,
            dispatched_to_id: row.try_get("dispatched_to_id")?,
            quantity: row.try_get("quantity")?,
        },
        EntityKind::Request => Entity::Request {
            blood_type: blood_type(row)?,
            created_at_ms: some_floor_ms(row, "created_at")?,
            facility_id: row.try_get("facility_id")?,
            quantity: row.try_get("quantity")?,
        },
    })
}

fn blood_type(row: &PgRow) -> Result<Option<BloodType>> {
    let text: Option<&str> = row.try_get("blood_type")?;
    Ok(text.and_then(BloodType::from_canonical))
}

pub(super) async fn put(tx: &mut Borrowed, kind: EntityKind, rows: &[Put]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(rows);
    let query = match kind {
        EntityKind::Facility => {
            sqlx::query(include_str!("../../../sql/postgres/entities/put_facility.sql"))
        }
        EntityKind::BloodBank => {
            sqlx::query(include_str!("../../../sql/postgres/entities/put_blood_bank.sql"))
        }
        EntityKind::Inventory => {
            sqlx::query(include_str!("../../../sql/postgres/entities/put_inventory.sql"))
        }
        EntityKind::Distribution => {
            sqlx::query(include_str!("../../../sql/postgres/entities/put_distribution.sql"))
        }
        EntityKind::Request => {
            sqlx::query(include_str!("../../../sql/postgres/entities/put_request.sql"))
        }
    };
    let query = query
        .bind(rows.iter().map(|r| r.id).collect::<Vec<Uuid>>())
        .bind(rows.iter().map(|r| r.event_time_ms).collect::<Vec<i64>>());
    let query = match kind {
        EntityKind::Facility => query.bind(columns.names).bind(columns.timezones),
        EntityKind::BloodBank => query.bind(columns.owners).bind(columns.names),
        EntityKind::Inventory | EntityKind::Distribution | EntityKind::Request => query
            .bind(columns.owners)
            .bind(columns.blood_types)
            .bind(columns.quantities)
            .bind(columns.instants),
    };
    let written = query.fetch_all(&mut *tx).await?;
    let is_new: HashMap<Uuid, bool> = rows.iter().map(|r| (r.id, r.is_new)).collect();
    for row in &written {
        let (id, inserted): (Uuid, bool) = (row.try_get("id")?, row.try_get("inserted")?);
        // `load` did not find this row, and another transaction has committed it since. The
        // decision was based on its absence, so it no longer holds.
        if !inserted && is_new.get(&id) == Some(&true) {
            return Err(StoreError::Conflict);
        }
    }
    if !matches!(kind, EntityKind::Facility | EntityKind::BloodBank) {
        let ids: Vec<Uuid> = rows.iter().filter(|r| r.is_new).map(|r| r.id).collect();
        if !ids.is_empty() {
            sqlx::query("DELETE FROM tombstones WHERE kind = $1 AND id = ANY ($2)")
                .bind(kind.as_str())
                .bind(ids)
                .execute(&mut *tx)
                .await?;
        }
    }
    Ok(())
}

/// The entities' fields as arrays. `owners` holds the bank, the facility or the destination;
/// `instants` holds the expiry, the delivery or the creation.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
    timezones: Vec<String>,
    owners: Vec<Uuid>,
    blood_types: Vec<Option<&'static str>>,
    quantities: Vec<Option<i32>>,
    instants: Vec<Option<i64>>,
}

impl Columns {
    fn of(rows: &[Put]) -> Self {
        let mut columns = Columns::default();
        for row in rows {
            match &row.entity {
                Entity::Facility { name, timezone } => {
                    columns.names.push(name.clone());
                    columns.timezones.push(timezone.clone());
                }
                Entity::BloodBank { facility_id, name } => {
                    columns.owners.push(*facility_id);
                    columns.names.push(name.clone());
                }
                Entity::Inventory { blood_bank_id, blood_type, expires_at_ms, quantity } => {
                    columns.unit(*blood_bank_id, *blood_type, Some(*quantity), *expires_at_ms);
                }
                Entity::Distribution {
                    blood_type,
                    date_delivered_ms,
                    dispatched_to_id,
                    quantity,
                } => {
                    columns.unit(
                        *dispatched_to_id,
                        *blood_type,
                        Some(*quantity),
                        *date_delivered_ms,
                    );
                }
                Entity::Request { blood_type, created_at_ms, facility_id, quantity } => {
                    columns.unit(*facility_id, *blood_type, *quantity, Some(*created_at_ms));
                }
            }
        }
        columns
    }

    fn unit(
        &mut self,
        owner: Uuid,
        blood_type: Option<BloodType>,
        quantity: Option<i32>,
        instant: Option<i64>,
    ) {
        self.owners.push(owner);
        self.blood_types.push(blood_type.map(BloodType::as_str));
        self.quantities.push(quantity);
        self.instants.push(instant);
    }
}

pub(super) async fn last_counted(
    tx: &mut Borrowed,
    kind: EntityKind,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, LastCounted>> {
    let query = sqlx::query(include_str!("../../../sql/postgres/entities/last_counted.sql"))
        .bind(kind.as_str())
        .bind(ids);
    let rows = query.fetch_all(&mut *tx).await?;
    rows.iter()
        .map(|r| {
            Ok((
                r.try_get("id")?,
                LastCounted { facility_id: r.try_get("facility_id")?, at_ms: r.try_get("at_ms")? },
            ))
        })
        .collect()
}

pub(super) async fn remove(tx: &mut Borrowed, kind: EntityKind, rows: &[Removal]) -> Result<()> {
    let ids: Vec<Uuid> = rows.iter().map(|r| r.id).collect();
    let delete = match kind {
        EntityKind::Facility => "DELETE FROM facilities WHERE id = ANY ($1)",
        EntityKind::BloodBank => "DELETE FROM blood_banks WHERE id = ANY ($1)",
        EntityKind::Inventory => "DELETE FROM blood_inventory WHERE id = ANY ($1)",
        EntityKind::Distribution => "DELETE FROM blood_distributions WHERE id = ANY ($1)",
        EntityKind::Request => "DELETE FROM blood_requests WHERE id = ANY ($1)",
    };
    sqlx::query(delete).bind(&ids).execute(&mut *tx).await?;
    sqlx::query(include_str!("../../../sql/postgres/entities/put_tombstones.sql"))
        .bind(kind.as_str())
        .bind(&ids)
        .bind(rows.iter().map(|r| r.event_time_ms).collect::<Vec<i64>>())
        .bind(
            rows.iter()
                .map(|r| r.last_counted.map(|c| c.facility_id))
                .collect::<Vec<Option<Uuid>>>(),
        )
        .bind(
            rows.iter().map(|r| r.last_counted.and_then(|c| c.at_ms)).collect::<Vec<Option<i64>>>(),
        )
        .execute(&mut *tx)
        .await?;
    Ok(())
}
