//! Changes of the directory that are hard to follow: facilities that change zones,
//! go and return, banks that move, transactions that stay open.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, seq::IndexedRandom};
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use super::{
    post::post,
    seen::Stating,
    settings::ZONES,
    sql,
    statements::{activity_event, activity_sql, bank_registration, registration, sql_kind},
    world::World,
    writers::{Bank, Writer},
};
use crate::history::Fate;

/// Moves the facility to another zone and back. In between it makes a request whose date differs in
/// the two zones.
pub async fn there_and_back(writer: &mut Writer, at: usize) {
    let home = writer.sites[at].zone;
    writer.sites[at].zone = ZONES[writer.rng.random_range(0..ZONES.len())];
    writer.register(at).await;
    let (then_ms, world) = (writer.near_a_midnight(at), writer.world.clone());
    let id = writer.sites[at].requests.first().copied().unwrap_or_else(Uuid::new_v4);
    let statement = activity_sql(true, id, writer.sites[at].id, 0, 1, then_ms);
    writer.plain.run(&world, &statement).await;
    let pause = writer.rng.random_range(0..1_500);
    tokio::time::sleep(Duration::from_millis(pause)).await;
    writer.sites[at].zone = home;
    writer.register(at).await;
}

/// Changes the zone at one replica while another replica takes a request.
pub async fn zone_beside_an_event(writer: &mut Writer, at: usize) {
    writer.sites[at].zone = ZONES[writer.rng.random_range(0..ZONES.len())];
    let (one, other, then_ms) = (writer.replica(), writer.replica(), writer.near_a_midnight(at));
    let (facility, id, now_ms) = (writer.sites[at].id, Uuid::new_v4(), writer.world.now_ms());
    writer.sites[at].requests.pop();
    writer.sites[at].requests.push(id);
    let moved = [registration(&writer.sites[at], now_ms)];
    let (request, _) = activity_event(true, id, facility, 2, 1, then_ms, now_ms);
    let requested = [request];
    let (moved, requested) = futures_util::future::join(
        post(&writer.world, &writer.client, one, &moved),
        post(&writer.world, &writer.client, other, &requested),
    )
    .await;
    writer.stated.extend(moved.stated(&[(Stating::Facility, facility, now_ms)]));
    writer.stated.extend(requested.stated(&[(Stating::Request, id, now_ms)]));
}

/// Removes the facility with all its rows, by SQL: there is no event for that.
pub async fn leave(writer: &mut Writer, at: usize) {
    let (facility, world) = (writer.sites[at].id, writer.world.clone());
    let statements = format!(
        "BEGIN; DELETE FROM blood_inventory WHERE blood_bank_id IN (SELECT id FROM blood_banks \
         WHERE facility_id = '{facility}');
         DELETE FROM blood_banks WHERE facility_id = '{facility}'; DELETE FROM blood_distributions \
         WHERE dispatched_to_id = '{facility}';
         DELETE FROM blood_requests WHERE facility_id = '{facility}'; DELETE FROM facilities WHERE \
         id = '{facility}'; COMMIT"
    );
    if writer.plain.run(&world, &statements).await {
        let site = &mut writer.sites[at];
        (site.exists, site.banks, site.requests, site.deliveries) =
            (false, Vec::new(), Vec::new(), Vec::new());
    }
}

/// Registers the facility again with the same id, and mostly with the former zone.
pub async fn come_back(writer: &mut Writer, at: usize) {
    if writer.rng.random_bool(0.2) {
        writer.sites[at].zone = ZONES[writer.rng.random_range(0..ZONES.len())];
    }
    if writer.sites[at].exists || !writer.register(at).await {
        return;
    }
    writer.sites[at].exists = true;
    let (bank, facility, now_ms) = (Bank::new(), writer.sites[at].id, writer.world.now_ms());
    let is_there = if writer.by_event() {
        writer
            .post(
                &[bank_registration(bank.id, facility, now_ms)],
                &[(Stating::Bank, bank.id, now_ms)],
            )
            .await
            .fate
            == Fate::Acknowledged
    } else {
        let world = writer.world.clone();
        writer
            .plain
            .run(
                &world,
                &format!(
                    "INSERT INTO blood_banks (id, facility_id) VALUES ('{}', '{facility}')",
                    bank.id
                ),
            )
            .await
    };
    if is_there {
        writer.sites[at].banks.push(bank);
    }
}

/// Moves a bank to another facility, perhaps while a transaction on its units is open.
pub async fn move_bank(writer: &mut Writer, from: usize, while_held: bool) {
    let others: Vec<usize> =
        (0..writer.sites.len()).filter(|at| *at != from && writer.sites[*at].exists).collect();
    let Some(to) = others.choose(&mut writer.rng).copied() else { return };
    if writer.sites[from].banks.is_empty() {
        return;
    }
    let place = writer.rng.random_range(0..writer.sites[from].banks.len());
    if while_held {
        let (unit, kind, quantity) =
            (writer.unit(from, place), writer.kind(), writer.rng.random_range(1..1_000));
        let (bank, kind) = (writer.sites[from].banks[place].id, sql_kind(kind));
        let statement = format!(
            "INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity) VALUES \
             ('{unit}', '{bank}', {kind}, {quantity})
             ON CONFLICT (id) DO UPDATE SET quantity = excluded.quantity, expires_at = NULL"
        );
        hold_open(writer, statement, 200..2_500);
        let pause = writer.rng.random_range(20..200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    let (bank, facility, now_ms) =
        (writer.sites[from].banks[place].id, writer.sites[to].id, writer.world.now_ms());
    let has_moved = if writer.by_event() {
        writer
            .post(&[bank_registration(bank, facility, now_ms)], &[(Stating::Bank, bank, now_ms)])
            .await
            .fate
            != Fate::Refused
    } else {
        let world = writer.world.clone();
        writer
            .plain
            .run(
                &world,
                &format!("UPDATE blood_banks SET facility_id = '{facility}' WHERE id = '{bank}'"),
            )
            .await
    };
    if has_moved {
        let bank = writer.sites[from].banks.remove(place);
        writer.sites[to].banks.push(bank);
    }
}

/// Opens a transaction that stays open while others go on.
pub fn hold(writer: &mut Writer, at: usize) {
    let (then_ms, kind, facility) =
        (writer.near_a_midnight(at), writer.kind(), writer.sites[at].id);
    let is_request = writer.rng.random_bool(0.5);
    hold_open(
        writer,
        activity_sql(is_request, Uuid::new_v4(), facility, kind, 7, then_ms),
        500..5_000,
    );
}

fn hold_open(writer: &mut Writer, statement: String, for_ms: std::ops::Range<u64>) {
    let (world, for_ms, commits) =
        (writer.world.clone(), writer.rng.random_range(for_ms), writer.rng.random_bool(0.85));
    writer.held.spawn(async move {
        // Otherwise the transaction ends with its connection.
        let _ = held(&world, &statement, for_ms, commits).await;
    });
}

async fn held(world: &Arc<World>, statement: &str, for_ms: u64, commits: bool) -> sqlx::Result<()> {
    let mut connection = sql::connect(world).await?;
    connection.execute("BEGIN").await?;
    connection
        .execute(AssertSqlSafe(statement))
        .await
        .inspect_err(|error| sql::complain_of_syntax(error, statement))?;
    tokio::time::sleep(Duration::from_millis(for_ms)).await;
    connection.execute(if commits { "COMMIT" } else { "ROLLBACK" }).await?;
    Ok(())
}

/// Empties a table. The statement blocks all others while it waits for its lock, so it waits only
/// for a short time.
pub async fn truncate(writer: &mut Writer) {
    let table = ["blood_inventory", "blood_distributions", "blood_requests"]
        .choose(&mut writer.rng)
        .expect("there are three");
    let world = writer.world.clone();
    writer
        .plain
        .run(&world, &format!("BEGIN; SET LOCAL lock_timeout = '200ms'; TRUNCATE {table}; COMMIT"))
        .await;
}
