//! The directory of a replica: the service's own code, which reads facilities from the simulated
//! database in steps.

use facility_summary::{directory::ReadTask, store::FacilityRow};
use uuid::Uuid;

use crate::{
    mutants::Mutant,
    world::{Sim, called},
};

/// Reads all facilities once. Then reads again each facility that a message names, without end.
pub async fn read_for_ever(sim: Sim, r: usize) {
    read(&sim, r, None, false).await;
    let directory = sim.directory(r);
    loop {
        match directory.next().await {
            ReadTask::All => read(&sim, r, None, false).await,
            ReadTask::These(ids) => read(&sim, r, Some(&ids), false).await,
        }
    }
}

/// Reads these facilities again.
pub async fn reload(sim: &Sim, r: usize, ids: &[Uuid]) {
    read(sim, r, Some(ids), false).await;
}

/// Reads all facilities; the directory is then exact as of now.
pub async fn catch_up(sim: &Sim, r: usize) {
    read(sim, r, None, true).await;
}

async fn read(sim: &Sim, r: usize, ids: Option<&[Uuid]>, is_proof: bool) {
    let directory = sim.directory(r);
    let mut reading = directory.begin_reading(ids).await;
    sim.step().await;
    if is_proof {
        reading = reading.exact_as_of(sim.world().now);
        sim.step().await;
    }
    let rows = {
        let world = sim.world();
        let fence = |row: FacilityRow| FacilityRow {
            removed_at_version: if world.mutant == Some(Mutant::NoFenceOfLives) {
                0
            } else {
                row.removed_at_version
            },
            ..row
        };
        world.db.facility_rows(ids).into_iter().map(fence).collect::<Vec<_>>()
    };
    sim.step().await;
    sim.tell(called(r), || {
        format!(
            "has read {:?} of {ids:?}",
            rows.iter().map(|row| (row.id.as_u128(), &row.timezone)).collect::<Vec<_>>()
        )
    });
    directory.finish_reading(reading, rows);
}
