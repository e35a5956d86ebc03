//! Subscribers in schedules written by hand: they do only what the schedule tells them.

use facility_summary::live::{shard::ticks, wire::Transport};
use rand::SeedableRng;
use rand_pcg::Pcg64;

use super::{
    Subscribers, pump,
    subscriber::{Subscriber, Wish},
    tell_time, turn,
};
use crate::{stage::Stage, world::REPLICAS};

/// Ticks in which an epoch becomes certain, all is read, and a heartbeat comes.
const MANY_TICKS: usize = 100;

impl Stage {
    /// Replicas, which have not started yet, have hubs, and these subscribers may connect.
    pub fn have(&mut self, subscribers: impl IntoIterator<Item = (Transport, Wish)>) {
        let all = subscribers.into_iter().map(|(transport, wish)| Subscriber::of(transport, wish));
        let mut world = self.world();
        world.subscribers = Some(Subscribers::of(Pcg64::seed_from_u64(0), all.collect()));
        world.has_hubs = true;
        (0..REPLICAS).for_each(|r| world.replace(r));
    }

    fn with_subscribers<T>(&mut self, act: impl FnOnce(&mut Self, &mut Subscribers) -> T) -> T {
        let mut subscribers = self.world().subscribers.take().expect("it has subscribers");
        let result = act(self, &mut subscribers);
        self.world().subscribers = Some(subscribers);
        result
    }

    /// A subscriber connects, with what it has.
    pub fn connect(&mut self, s: usize, r: usize) {
        self.with_subscribers(|stage, subscribers| {
            subscribers.all[s].connect_to(&stage.sim, r, true);
        });
        pump(&self.sim);
        self.ticks(r, 1);
    }

    /// A subscriber loses its connection.
    pub fn lose(&mut self, s: usize) {
        self.with_subscribers(|stage, subscribers| subscribers.all[s].lose(&stage.sim));
    }

    /// A replica's shard takes so many turns, each with a tick and with what its tasks do.
    pub fn ticks(&mut self, r: usize, count: usize) {
        for _ in 0..count {
            self.world().now += 50;
            tell_time(&self.world());
            self.with_subscribers(|stage, subscribers| {
                if let Some(live) = stage.sim.live(r) {
                    turn(&stage.sim, subscribers, &live, (r, 1));
                }
            });
            pump(&self.sim);
            (0..REPLICAS).for_each(|_| self.step(r, false));
        }
    }

    /// The same, so many times that everything of it has come to an end.
    pub fn many_ticks(&mut self, r: usize) {
        self.ticks(r, MANY_TICKS);
    }

    /// Turns, until a heartbeat is due at the next tick for the first client of a shard.
    pub fn ticks_before_heartbeat(&mut self, r: usize) {
        let is_next = |stage: &Stage| {
            let live = stage.sim.live(r).expect("replicas have hubs");
            (live.shard().ticks_now() + 1).is_multiple_of(ticks(1))
        };
        while !is_next(self) {
            self.ticks(r, 1);
        }
    }

    /// A subscriber reads all that was sent.
    pub fn read_all(&mut self, s: usize) {
        let read = self.with_subscribers(|stage, subscribers| {
            subscribers.all[s].read(&stage.sim, usize::MAX, &mut subscribers.claims)
        });
        if self.result.is_ok() {
            self.result = read;
        }
    }
}
