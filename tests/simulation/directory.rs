//! The directory of a replica: the service's own code, which reads facilities from the simulated
//! database in steps.

use facility_summary::{directory::ReadTask, protocol::Watermark};
use uuid::Uuid;

use crate::{
    mutants::Mutant,
    world::{Sim, called},
};

/// Reads all facilities once. Then reads again each facility that a message names, without end.
pub async fn read_for_ever(sim: Sim, r: usize) {
    let _ = read(&sim, r, None, false).await;
    let directory = sim.directory(r);
    loop {
        // What was not taken over is read again.
        let _ = match directory.next().await {
            ReadTask::All => read(&sim, r, None, false).await,
            ReadTask::These(ids) => read(&sim, r, Some(&ids), false).await,
        };
    }
}

/// The rows are of another epoch than the one that is served, and were not taken over.
#[derive(Debug)]
pub struct OtherEpoch;

/// Reads these facilities again.
pub async fn reload(sim: &Sim, r: usize, ids: &[Uuid]) -> Result<(), OtherEpoch> {
    read(sim, r, Some(ids), false).await
}

/// Reads all facilities; the directory is then exact as of now.
pub async fn catch_up(sim: &Sim, r: usize) -> Result<(), OtherEpoch> {
    read(sim, r, None, true).await
}

async fn read(sim: &Sim, r: usize, ids: Option<&[Uuid]>, is_proof: bool) -> Result<(), OtherEpoch> {
    let directory = sim.directory(r);
    let mut reading = directory.begin_reading(ids).await;
    sim.step().await;
    if is_proof {
        reading = reading.exact_as_of(sim.world().now);
        sim.step().await;
    }
    let mut found = sim.world().db.read_facilities(ids);
    sim.step().await;
    let served = sim.epoch(r);
    let mutant = sim.world().mutant;
    match (mutant, served) {
        (Some(Mutant::NoFenceOfLives), _) => {
            found.rows.iter_mut().for_each(|row| row.removed_at_version = 0)
        }
        (Some(Mutant::FacilitiesOfAnyHistory), Some(served)) => found.epoch = served,
        (Some(Mutant::FacilitiesOfAnyCopy), _) => {
            let position = sim.token(r).position;
            found.watermark = Some(Watermark { at_ms: i64::MAX, position });
        }
        _ => {}
    }
    let told: Vec<_> =
        found.rows.iter().map(|row| (row.id.as_u128(), row.timezone.clone())).collect();
    let result = directory.finish_reading(reading, found).map(drop).map_err(|_| OtherEpoch);
    sim.tell(called(r), || format!("has read {told:?} of {ids:?}: {result:?}"));
    result
}
