//! What earlier messages of a symbol leave behind for the classification of later ones. Rules: `kraken_l3.book.classification`.

use std::collections::{HashMap, VecDeque};

use crate::hash::Folded;
use crate::ids::Key;

pub const MAX_AMENDING: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classification {
    None = 0,
    New = 1,
    Reentry = 2,
    Amend = 3,
    Fill = 4,
    PartialFill = 5,
    Cancel = 6,
    Reduction = 7,
    Unknown = 8,
}

pub fn of_delete(stated_qty: i128, stated_ns: i64, order_ns: i64) -> Classification {
    if stated_qty == 0 {
        Classification::Fill
    } else if stated_ns == order_ns && stated_ns != 0 {
        Classification::Amend
    } else if stated_ns > order_ns && order_ns > 0 {
        Classification::Cancel
    } else {
        Classification::Unknown
    }
}

pub fn of_modify(change: i128, requeued: bool, array_fills: bool) -> Classification {
    if requeued || change > 0 {
        Classification::Amend
    } else if change == 0 {
        Classification::Unknown
    } else if array_fills {
        Classification::PartialFill
    } else {
        Classification::Reduction
    }
}

/// The latest entry time, and the ids deleted in order to be added again, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub newest_ns: i64,
    /// When each id was remembered; entries of `order` with another number are stale.
    amending: HashMap<Key, u64, Folded>,
    order: VecDeque<(u64, Key)>,
    count: u64,
}

impl Memory {
    pub fn remember_amend(&mut self, id: Key) {
        self.count += 1;
        self.amending.insert(id, self.count);
        self.order.push_back((self.count, id));
        if self.amending.len() > MAX_AMENDING {
            self.forget_oldest();
        }
        if self.order.len() > 2 * MAX_AMENDING {
            let amending = &self.amending;
            self.order.retain(|(number, id)| amending.get(id) == Some(number));
        }
    }

    fn forget_oldest(&mut self) {
        while let Some((number, id)) = self.order.pop_front() {
            if self.amending.get(&id) == Some(&number) {
                self.amending.remove(&id);
                return;
            }
        }
    }

    /// The classification of an add; an amend is over with it.
    #[inline(always)]
    pub fn of_add(&mut self, id: Key, ns: i64, replaces: bool) -> Classification {
        let amended = !self.amending.is_empty() && self.amending.remove(&id).is_some();
        if amended || replaces {
            Classification::Amend
        } else if ns == 0 {
            Classification::Unknown
        } else if ns <= self.newest_ns {
            Classification::Reentry
        } else {
            Classification::New
        }
    }

    /// The ids being amended, oldest first.
    pub fn amending(&self) -> impl Iterator<Item = Key> + '_ {
        let current = |(number, id): &&(u64, Key)| self.amending.get(id) == Some(number);
        self.order.iter().filter(current).map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amends_are_remembered_in_order_and_forgotten_in_time() {
        let mut memory = Memory::default();
        for id in 0..3 * MAX_AMENDING as Key {
            memory.remember_amend(id % (MAX_AMENDING as Key + 10));
        }
        assert_eq!(memory.amending().count(), MAX_AMENDING);
        let oldest = memory.amending().next().unwrap();
        memory.remember_amend(oldest);
        assert_eq!(memory.amending().last(), Some(oldest));
        assert_eq!(memory.of_add(oldest, 5, false), Classification::Amend);
        assert_eq!(memory.of_add(oldest, 5, false), Classification::New);
    }

    #[test]
    fn list_of_amends_is_bounded() {
        let mut memory = Memory::default();
        for id in 0..100_000 {
            memory.remember_amend(id);
            memory.of_add(id, 1, false);
        }
        assert!(memory.order.len() <= 2 * MAX_AMENDING);
        assert_eq!(memory.amending().count(), 0);
    }
}
