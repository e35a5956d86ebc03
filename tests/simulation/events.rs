//! Events: what they state, and what they change when they are committed.

use crate::{
    database::{Activity, Change, Database},
    sources::{committed, stay_of_bank, stay_of_facility},
    world::World,
};

/// What an event states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A delivery, or a request.
    Activity {
        facility: usize,
        place: usize,
    },
    Units {
        bank: usize,
    },
    Moved {
        bank: usize,
        to: usize,
    },
    Registered {
        facility: usize,
        zone: usize,
    },
}

/// What an event changes; the time follows when it is committed.
pub struct Own {
    /// What it states.
    pub event: Event,
    /// The changes of its transaction.
    pub changes: Vec<Change>,
    /// The facility's life, or the place of the bank: no other transaction can change it while this
    /// one runs.
    pub relies_on: Vec<(usize, u32, Option<usize>)>,
}

impl Own {
    /// Whether what it relies on is unchanged. Any other transaction would have waited.
    pub fn holds(&self, world: &World) -> bool {
        let life =
            |f: usize| (f, world.db.facilities[f].life(), world.db.facilities[f].zone().map(|_| 0));
        let bank = |bank: usize| (bank, world.db.banks[bank].stays.len() as u32, None);
        let now = match self.event {
            Event::Activity { facility, .. } => vec![life(facility)],
            Event::Units { bank: b } => vec![bank(b)],
            Event::Moved { bank: b, to } => vec![bank(b), life(to)],
            Event::Registered { facility, .. } => {
                vec![(facility, world.db.facilities[facility].stays.len() as u32, None)]
            }
        };
        let is_there = !matches!(self.event, Event::Activity { .. } | Event::Moved { .. })
            || now.last().is_some_and(|(_, _, zone)| zone.is_some());
        is_there && now == self.relies_on
    }

    /// Commits the event.
    pub fn apply(&self, db: &mut Database, now: i64, era: usize) {
        match self.event {
            Event::Activity { facility, place } => {
                let life = db.facilities[facility].life();
                db.facilities[facility].activity.extend(
                    committed(&self.changes, now, era).map(|change| Activity {
                        change,
                        place,
                        life,
                    }),
                );
            }
            Event::Units { bank } => {
                db.banks[bank].units.extend(committed(&self.changes, now, era))
            }
            Event::Moved { bank, to } => stay_of_bank(db, bank, to, now, era),
            Event::Registered { facility, zone } => {
                stay_of_facility(db, facility, Some(zone), now, era)
            }
        }
    }
}
