//! A fast hash for order ids. Seeded afresh in each process, so that nobody can choose ids that all collide.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug)]
pub struct Folded(u64, u64);

impl Default for Folded {
    fn default() -> Self {
        static SEEDS: OnceLock<(u64, u64)> = OnceLock::new();
        let seeds = SEEDS.get_or_init(|| (RandomState::new().hash_one(1), RandomState::new().hash_one(2)));
        Self(seeds.0, seeds.1)
    }
}

impl BuildHasher for Folded {
    type Hasher = FoldedHasher;

    #[inline(always)]
    fn build_hasher(&self) -> FoldedHasher {
        FoldedHasher { seeds: *self, value: 0 }
    }
}

pub struct FoldedHasher {
    seeds: Folded,
    value: u64,
}

impl Hasher for FoldedHasher {
    #[inline(always)]
    fn write_u128(&mut self, key: u128) {
        let low = key as u64 ^ self.seeds.0;
        let high = (key >> 64) as u64 ^ self.seeds.1;
        let product = u128::from(low) * u128::from(high);
        self.value = product as u64 ^ (product >> 64) as u64;
    }

    /// Only for completeness: the keys are 128-bit numbers.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(self.value) << 8 | u128::from(*byte));
        }
    }

    #[inline(always)]
    fn finish(&self) -> u64 {
        self.value
    }
}
