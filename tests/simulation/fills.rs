//! Reads from the tiers below memory: from the primary, from a standby, from Redis.

use std::{collections::HashMap, rc::Rc};

use facility_summary::{
    cache::memory::{Fill, FillToken},
    domain::summary::SummaryRow,
    service::tier_row::TierRow,
};
use rand::RngExt;

use crate::{
    database::Database,
    mutants::Mutant,
    places::{DATES, day, facility_id, told, zone_of},
    refresh::pass_on,
    world::{Sim, World, called},
};

/// Reads a key from the primary and puts it into memory.
pub async fn from_primary(sim: Sim, r: usize, k: usize) {
    let Some(located) = sim.directory(r).get(facility_id(k / DATES)) else { return };
    let day = day(k, zone_of(&located.zone.name));
    let now = sim.world().clock(r);
    let memory = sim.memory(r);
    let (token, table_ms) = (memory.fill_token(), memory.table_ms());
    sim.step().await;
    let mut read = sim.world().db.read(&[k]);
    if sim.breaks(Mutant::WatermarkReadLater) {
        sim.step().await;
        read.watermark = sim.world().db.read(&[]).watermark;
    }
    if sim.breaks(Mutant::ZoneOfTheDirectory) {
        read.zones = HashMap::from([(located.id, located.zone.name.clone())]);
    }
    sim.step().await;
    let serves = sim.epoch(r).as_ref() == Some(&read.epoch) || sim.breaks(Mutant::FillsOldHistory);
    let Some(found) =
        TierRow::on_primary(read, &located, &day, &token, table_ms, now).filter(|_| serves)
    else {
        return;
    };
    if let Some(token) = keep(&sim, r, &found, token, "the primary").await {
        pass_on(&sim, r, &token, &[&found.row.known_as_of(found.as_of_ms)], false).await;
    }
}

/// Reads a key from a standby, which lags by a random number of commits, and puts it into memory.
pub async fn from_standby(sim: Sim, r: usize, k: usize) {
    let lagging = |world: &mut World| {
        let lag = world.rng.random_range(0..world.pace.lag).min(world.committed.len() - 1);
        world.committed[world.committed.len() - 1 - lag].clone()
    };
    from_this_standby(sim, r, k, lagging).await;
}

/// Reads a key from this standby and puts it into memory.
pub async fn from_this_standby(
    sim: Sim,
    r: usize,
    k: usize,
    standby: impl FnOnce(&mut World) -> Rc<Database>,
) {
    let Some(located) = sim.directory(r).get(facility_id(k / DATES)) else { return };
    let day = day(k, zone_of(&located.zone.name));
    let now = sim.world().clock(r);
    let token = sim.token(r);
    sim.step().await;
    let read = standby(&mut sim.world()).read_nearby(k);
    sim.step().await;
    let serves =
        |epoch: &_| sim.epoch(r).as_ref() == Some(epoch) || sim.breaks(Mutant::FillsOldHistory);
    let Some(found) = read
        .filter(|read| serves(&read.epoch))
        .and_then(|read| TierRow::on_standby(read, &located, &day, now))
    else {
        return;
    };
    let since =
        if sim.breaks(Mutant::TrustsLaggingReplicas) { token.position } else { found.since };
    keep(&sim, r, &TierRow { since, ..found }, token, "a standby").await;
}

/// Reads a key from Redis and puts it into memory.
pub async fn from_redis(sim: Sim, r: usize, k: usize) {
    if !sim.world().replicas[r].attachment.is_attached() {
        return;
    }
    let Some(located) = sim.directory(r).get(facility_id(k / DATES)) else { return };
    let token = sim.token(r);
    sim.step().await;
    let Some(epoch) = sim.epoch(r) else { return };
    sim.step().await;
    let found = {
        let world = &mut *sim.world();
        let place = (Some(epoch).filter(|_| world.mutant != Some(Mutant::OneTierForAll)), k);
        world.redis_of(r).and_then(|redis| redis.tier.get(&place).cloned())
    };
    sim.step().await;
    let now = sim.world().clock(r);
    let Some(found) =
        found.and_then(|found| TierRow::in_redis(found, &day(k, zone_of(&located.zone.name)), now))
    else {
        return;
    };
    let since = if sim.breaks(Mutant::TrustsRedis) { token.position } else { found.since };
    keep(&sim, r, &TierRow { since, ..found }, token, "Redis").await;
}

/// Puts a row into memory. `None` when memory does not take it.
async fn keep(
    sim: &Sim,
    r: usize,
    found: &TierRow,
    token: FillToken,
    from: &str,
) -> Option<FillToken> {
    let memory = sim.memory(r);
    let (token, found) = match sim.world().mutant {
        Some(Mutant::LateFillToken) => {
            (memory.fill_token(), TierRow { since: memory.fill_token().position, ..found.clone() })
        }
        Some(Mutant::FillsOldHistory) => (memory.fill_token(), found.clone()),
        Some(Mutant::JoinsOldGenerations) => {
            let generation = memory.fill_token().position.generation;
            (
                token,
                TierRow {
                    since: facility_summary::protocol::Position { generation, ..found.since },
                    ..found.clone()
                },
            )
        }
        Some(Mutant::IgnoresExpiries) => {
            let row = SummaryRow { next_expires_at_ms: None, ..found.row.clone() };
            (token, TierRow { row, ..found.clone() })
        }
        Some(Mutant::NoVersionCompare) => {
            memory.forget_facility(found.row.summary.facility_id);
            (token, found.clone())
        }
        _ => (token, found.clone()),
    };
    let kept = matches!(found.keep(&memory, &token), Fill::Kept(_));
    sim.tell(called(r), || {
        let what = if kept { "keeps" } else { "throws away" };
        format!(
            "{what} version {} as of {} since {:?} of {from}",
            found.row.summary.version,
            told(found.as_of_ms),
            found.since
        )
    });
    kept.then_some(token)
}
