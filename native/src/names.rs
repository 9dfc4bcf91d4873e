//! Symbols to their indexes.

use std::collections::HashMap;

use crate::hash::Folded;

pub const MAX_SYMBOLS: usize = 10_000;
/// Names of this length fit into a number together with their length.
const SHORT: usize = 15;

#[derive(Default)]
pub struct Names {
    short: HashMap<u128, usize, Folded>,
    long: HashMap<Box<[u8]>, usize>,
}

impl Names {
    #[inline(always)]
    pub fn get(&self, name: &[u8]) -> Option<usize> {
        match packed(name) {
            Some(number) => self.short.get(&number),
            None => self.long.get(name),
        }
        .copied()
    }

    /// The index of a new name; None when there are too many.
    pub fn add(&mut self, name: &[u8]) -> Option<usize> {
        let index = self.short.len() + self.long.len();
        if index >= MAX_SYMBOLS {
            return None;
        }
        match packed(name) {
            Some(number) => self.short.insert(number, index),
            None => self.long.insert(name.into(), index),
        };
        Some(index)
    }
}

#[inline(always)]
fn packed(name: &[u8]) -> Option<u128> {
    if name.len() > SHORT {
        return None;
    }
    let mut bytes = [0; SHORT + 1];
    bytes[..name.len()].copy_from_slice(name);
    bytes[SHORT] = name.len() as u8;
    Some(u128::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let mut names = Names::default();
        let all: [&[u8]; 6] = [b"", b"\0", b"A", b"A\0", b"ABCDEFGHIJKLMNO", b"ABCDEFGHIJKLMNOP"];
        for (index, name) in all.into_iter().enumerate() {
            assert_eq!(names.get(name), None);
            assert_eq!(names.add(name), Some(index));
        }
        for (index, name) in all.into_iter().enumerate() {
            assert_eq!(names.get(name), Some(index));
        }
    }

    #[test]
    fn names_are_bounded() {
        let mut names = Names::default();
        let added = (0..20_000).filter(|number| names.add(format!("S{number}").as_bytes()).is_some());
        assert_eq!(added.count(), MAX_SYMBOLS);
    }
}
