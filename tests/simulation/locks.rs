//! The lock of a facility's row.

use crate::world::Sim;

/// The lock of a facility's row, until it is dropped.
pub struct Lock {
    sim: Sim,
    facility: usize,
    transaction: u64,
}

impl Lock {
    /// Waits some steps for the lock; `None` when another transaction holds it longer.
    pub async fn take(sim: &Sim, facility: usize, is_shared: bool) -> Option<Lock> {
        for _ in 0..6 {
            {
                let mut world = sim.world();
                if world.locks[facility].is_none() || is_shared {
                    world.transactions += 1;
                    let transaction = world.transactions;
                    world.locks[facility] = Some(transaction);
                    return Some(Lock { sim: sim.clone(), facility, transaction });
                }
            }
            sim.step().await;
        }
        None
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut world = self.sim.world();
        if world.locks[self.facility] == Some(self.transaction) {
            world.locks[self.facility] = None;
        }
    }
}
