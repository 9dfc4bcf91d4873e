//! One side of the book: its price levels, the worst first and the best at the end, where nearly everything happens.

use crate::crc::{Piece, Tables};
use crate::level::Levels;

/// How many levels a side Kraken's checksum covers, whatever the subscribed depth.
pub const CHECKSUM_LEVELS: usize = 10;
/// Levels at the best end that are looked through before a binary search in the rest.
const NEAR: usize = 16;
/// Room that may be left at the worst end before it is given back.
const SLACK: usize = 256;

/// Sorted keys (a bid's price, minus an ask's) with the number of each level in `Levels`.
///
/// What stands before `start` is cut off; so cutting the worst level moves nothing.
#[derive(Clone, Debug)]
pub struct Side {
    keys: Vec<i64>,
    slots: Vec<u32>,
    start: usize,
    /// `chain[n]`: the checksum text of the `n` best levels, correct for `n <= valid`.
    chain: [Piece; CHECKSUM_LEVELS + 1],
    valid: usize,
    /// So many of the best levels, at most `CHECKSUM_LEVELS`, are as they were shown last.
    shown: usize,
}

impl Side {
    /// An empty side whose checksum goes on from `crc`.
    pub fn new(crc: u32) -> Self {
        Self {
            keys: Vec::new(),
            slots: Vec::new(),
            start: 0,
            chain: [Piece { crc, len: 0 }; CHECKSUM_LEVELS + 1],
            valid: 0,
            shown: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len() - self.start
    }

    pub fn best(&self) -> Option<i64> {
        self.keys.get(self.start..)?.last().copied()
    }

    /// Whether the checksum covers a level with this key, which no other is worse than (or, of bids, better).
    #[inline(always)]
    pub fn covers_extreme(&self, key: i64) -> bool {
        let best = self.best() == Some(key);
        best || (self.len() <= CHECKSUM_LEVELS && self.keys.get(self.start) == Some(&key))
    }

    /// The levels' numbers, best first.
    pub fn best_first(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots[self.start..].iter().rev().copied()
    }

    /// How many levels are better than this key; the level itself, if it is there.
    #[inline(always)]
    pub fn find(&self, key: i64) -> (usize, Option<u32>) {
        let at = self.position(key);
        let found = self.keys.get(at) == Some(&key);
        (self.keys.len() - at - usize::from(found), found.then(|| self.slots[at]))
    }

    /// Index of the first key that is not below this one.
    #[inline(always)]
    fn position(&self, key: i64) -> usize {
        let end = self.keys.len();
        let near = self.start.max(end.saturating_sub(NEAR));
        let tail = &self.keys[near..];
        if near == self.start || tail[0] < key {
            return near + tail.iter().map(|other| usize::from(*other < key)).sum::<usize>();
        }
        self.start + self.keys[self.start..=near].partition_point(|other| *other < key)
    }

    /// Puts in a level that is not there, with `rank` better ones.
    #[inline(always)]
    pub fn insert(&mut self, rank: usize, key: i64, slot: u32) {
        let at = self.keys.len() - rank;
        if self.start > 0 && rank > self.len() / 2 {
            self.keys.copy_within(self.start..at, self.start - 1);
            self.slots.copy_within(self.start..at, self.start - 1);
            self.start -= 1;
            self.keys[at - 1] = key;
            self.slots[at - 1] = slot;
        } else {
            self.keys.insert(at, key);
            self.slots.insert(at, slot);
        }
        self.touch(rank);
    }

    /// Takes out the level that has `rank` better ones.
    #[inline(always)]
    pub fn remove(&mut self, rank: usize) {
        let at = self.keys.len() - 1 - rank;
        if rank > self.len() / 2 {
            self.keys.copy_within(self.start..at, self.start + 1);
            self.slots.copy_within(self.start..at, self.start + 1);
            self.start += 1;
        } else {
            self.keys.remove(at);
            self.slots.remove(at);
        }
        self.touch(rank);
    }

    /// Takes out the worst level.
    pub fn pop_worst(&mut self) -> u32 {
        let slot = self.slots[self.start];
        self.start += 1;
        self.touch(self.len());
        if self.start > SLACK + self.len() {
            self.keys.drain(..self.start);
            self.slots.drain(..self.start);
            self.start = 0;
        }
        slot
    }

    /// The level with `rank` better ones has changed.
    #[inline(always)]
    pub fn touch(&mut self, rank: usize) {
        self.valid = self.valid.min(rank);
        self.shown = self.shown.min(rank);
    }

    /// How many of the best levels are as they were when this was last asked, at most `CHECKSUM_LEVELS`.
    #[inline(always)]
    pub fn show(&mut self) -> usize {
        std::mem::replace(&mut self.shown, CHECKSUM_LEVELS)
    }

    /// None of the levels was shown.
    pub fn hide(&mut self) {
        self.shown = 0;
    }

    /// A level has changed; its rank matters only if the checksum covers it.
    #[inline(always)]
    pub fn touch_key(&mut self, key: i64) {
        let end = self.keys.len();
        let top = &self.keys[self.start.max(end.saturating_sub(CHECKSUM_LEVELS))..];
        if top.first().is_some_and(|tenth| key >= *tenth) {
            let rank = top.iter().map(|other| usize::from(*other > key)).sum();
            self.touch(rank);
        }
    }

    /// The checksum text of the best levels.
    #[inline(always)]
    pub fn top(&mut self, levels: &mut Levels, tables: &Tables) -> Piece {
        let end = self.slots.len();
        let count = self.len().min(CHECKSUM_LEVELS);
        for rank in self.valid..count {
            let piece = levels.piece(self.slots[end - 1 - rank], tables);
            self.chain[rank + 1] = tables.join(self.chain[rank], piece);
        }
        self.valid = self.valid.max(count);
        self.chain[count]
    }
}
