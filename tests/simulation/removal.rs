//! How the drain removes the rows of a facility that is gone.

use facility_summary::store::Mark;
use uuid::Uuid;

use crate::{
    database::About,
    directory,
    locks::Lock,
    mutants::Mutant,
    places::facility_of,
    world::{Sim, called},
};

/// The outcome for a facility that was to be removed.
#[derive(Debug, PartialEq, Eq)]
pub enum Removed {
    Yes,
    /// It was registered again.
    IsBack,
    /// The directory could not be read again.
    OtherEpoch,
}

/// Removes the rows of a facility that is gone, with its marks, as `Drain::remove` does. `None`
/// when another transaction holds its lock.
pub async fn remove(sim: &Sim, r: usize, id: Uuid, marks: &[(Mark, About)]) -> Option<Removed> {
    let is_one =
        |(id, about): &(i64, About)| marks.iter().any(|(mark, of)| mark.id == *id && of == about);
    let run = sim.world().run;
    if id.is_nil() {
        // These are marks of banks that are in no facility.
        let world = &mut *sim.world();
        world.db.marks.retain(|mark| !is_one(mark));
        world.committed();
        return Some(Removed::Yes);
    }
    sim.step().await;
    let lock = Lock::take(sim, facility_of(&id), false).await?;
    let is_back = sim.world().db.facilities[facility_of(&id)].zone().is_some();
    if is_back && !sim.breaks(Mutant::RemovesBlindly) {
        drop(lock);
        let read = directory::reload(sim, r, &[id]).await;
        return Some(if read.is_ok() { Removed::IsBack } else { Removed::OtherEpoch });
    }
    sim.step().await;
    {
        let world = &mut *sim.world();
        if world.run != run {
            return None;
        }
        world.db.marks.retain(|mark| !is_one(mark));
        world.db.remove_rows(&id);
        let note = world.db.id();
        world.db.notes.push((note, facility_of(&id)));
        world.committed();
    }
    drop(lock);
    sim.tell(called(r), || format!("removes the rows of facility {}", facility_of(&id)));
    let read = directory::reload(sim, r, &[id]).await;
    Some(if read.is_ok() { Removed::Yes } else { Removed::OtherEpoch })
}
