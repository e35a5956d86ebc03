//! Credentials that were verified lately, so that a request costs a look-up. Bounded. Only verified
//! ones get in. They are found by a fast hash of the credential's end, where tokens and keys differ
//! most, and then compared in full, in constant time.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use foldhash::fast::RandomState;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::SignedIn;

const SHARDS: usize = 64;
/// The bytes at the end of a credential that its place is made of.
const TAIL: usize = 32;

/// Verified credentials.
pub(super) struct Remembered {
    shards: Vec<RwLock<Shard>>,
    most_in_shard: usize,
    /// Nobody outside can make many credentials share a place.
    seed: u64,
}

/// Its keys are hashes already, so that the map's own hash may be a fast one.
type Shard = HashMap<u64, Verified, RandomState>;

struct Verified {
    credential: Box<str>,
    who: Arc<SignedIn>,
}

impl Remembered {
    /// Room for about `most` credentials.
    pub fn new(most: usize) -> Self {
        Remembered {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            most_in_shard: most.div_ceil(SHARDS).max(1),
            seed: rand::random(),
        }
    }

    /// Whose credential it is, if it was verified.
    pub fn find(&self, credential: &str) -> Option<Arc<SignedIn>> {
        let place = self.place(credential);
        let shard = self.shard(place).read().unwrap_or_else(PoisonError::into_inner);
        let verified = shard.get(&place)?;
        verify_slices_are_equal(verified.credential.as_bytes(), credential.as_bytes()).ok()?;
        Some(verified.who.clone())
    }

    /// Remembers a verified credential. In a full shard it takes the place of another one.
    pub fn put(&self, credential: &str, who: Arc<SignedIn>) {
        let place = self.place(credential);
        let mut shard = self.shard(place).write().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= self.most_in_shard && !shard.contains_key(&place) {
            // A map gives its entries in no order that anybody outside knows.
            let gone = shard.keys().next().copied();
            gone.map(|gone| shard.remove(&gone));
        }
        shard.insert(place, Verified { credential: credential.into(), who });
    }

    /// Forgets the credentials that `is_over` names.
    pub fn forget(&self, is_over: impl Fn(&SignedIn) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, verified| !is_over(&verified.who));
        }
    }

    /// Whether there is such a one, also one that is over.
    pub fn any(&self, is_so: impl Fn(&SignedIn) -> bool) -> bool {
        self.shards.iter().any(|shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.values().any(|verified| is_so(&verified.who))
        })
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn place(&self, credential: &str) -> u64 {
        let bytes = credential.as_bytes();
        xxh3_64_with_seed(&bytes[bytes.len().saturating_sub(TAIL)..], self.seed)
    }

    fn shard(&self, place: u64) -> &RwLock<Shard> {
        &self.shards[place as usize % SHARDS]
    }
}
