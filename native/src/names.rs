//! Symbols' texts, and which index each has.

use std::collections::HashMap;

use crate::hash::Folded;
use crate::message::Span;

pub const MAX_SYMBOLS: usize = 10_000;
/// Texts of this length fit into a number together with their length.
const SHORT: usize = 15;

/// A symbol's text: itself where it is short, as nearly all are, else where it stands in `Parsed::text`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The text, its length in the last byte.
    Short(u128),
    Long(Span),
}

impl Default for Name {
    fn default() -> Self {
        Self::Short(0)
    }
}

impl Name {
    /// The name at the start of sixteen bytes and its length; None when it is no plain text of 1 to 15 bytes, or ends
    /// with something else than a quote.
    #[inline(always)]
    pub fn up_to_quote(text: &[u8; 16]) -> Option<(Self, usize)> {
        let (halves, _) = text.as_chunks::<8>();
        let [first, second] = [u64::from_le_bytes(halves[0]), u64::from_le_bytes(halves[1])];
        const ONES: u64 = 0x0101_0101_0101_0101;
        let both = |first: u64, second: u64| u128::from(second) << 64 | u128::from(first);
        // The lowest top bit set is that of the first such byte; higher ones may be set for no reason.
        let equals = |bytes: u64, byte: u8| {
            let differing = bytes ^ (ONES * u64::from(byte));
            differing.wrapping_sub(ONES) & !differing & (ONES << 7)
        };
        let length = both(equals(first, b'"'), equals(second, b'"')).trailing_zeros() as usize / 8;
        if !(1..=SHORT).contains(&length) {
            return None;
        }
        let text = both(first, second) & ((1 << (8 * length)) - 1);
        let is_plain = |bytes: u64| {
            // Below a space, or beyond a tilde, or a backslash.
            let blanks = bytes & (ONES << 7) | !bytes.wrapping_add(ONES * 0x60) & (ONES << 7);
            blanks | bytes.wrapping_add(ONES) & (ONES << 7) | equals(bytes, b'\\') == 0
        };
        // In the place of what does not belong to it, something plain.
        let padded = text | u128::from_ne_bytes([b'A'; 16]) << (8 * length);
        let plain = is_plain(padded as u64) & is_plain((padded >> 64) as u64);
        plain.then_some((Self::Short(text | (length as u128) << 120), length))
    }

    /// The name of a short text.
    pub fn short(text: &[u8]) -> Option<Self> {
        if text.len() > SHORT {
            return None;
        }
        let mut bytes = [0; SHORT + 1];
        bytes[..text.len()].copy_from_slice(text);
        bytes[SHORT] = text.len() as u8;
        Some(Self::Short(u128::from_le_bytes(bytes)))
    }

    /// How many bytes it has.
    #[inline(always)]
    pub fn len(self) -> usize {
        match self {
            Self::Short(text) => (text >> 120) as usize,
            Self::Long(span) => span.range().len(),
        }
    }

    /// `kept`: `Parsed::text`.
    pub fn text(self, kept: &[u8]) -> Vec<u8> {
        match self {
            Self::Short(text) => text.to_le_bytes()[..self.len()].to_vec(),
            Self::Long(span) => kept[span.range()].to_vec(),
        }
    }
}

/// The index of each name.
#[derive(Default)]
pub struct Names {
    short: HashMap<u128, usize, Folded>,
    long: HashMap<Box<[u8]>, usize>,
    /// The short one that was asked for last: often it is the next too.
    last: (u128, usize),
}

impl Names {
    /// `kept`: `Parsed::text`.
    #[inline(always)]
    pub fn get(&mut self, name: Name, kept: &[u8]) -> Option<usize> {
        match name {
            Name::Short(text) if text == self.last.0 && text != 0 => Some(self.last.1),
            Name::Short(text) => {
                let index = *self.short.get(&text)?;
                self.last = (text, index);
                Some(index)
            }
            Name::Long(span) => self.long.get(&kept[span.range()]).copied(),
        }
    }

    /// The index of a text.
    #[inline(always)]
    pub fn get_text(&mut self, text: &[u8]) -> Option<usize> {
        match Name::short(text) {
            Some(name) => self.get(name, &[]),
            None => self.long.get(text).copied(),
        }
    }

    /// The index of a new text; None when there are too many.
    pub fn add(&mut self, text: &[u8]) -> Option<usize> {
        let index = self.short.len() + self.long.len();
        if index >= MAX_SYMBOLS {
            return None;
        }
        match Name::short(text) {
            Some(Name::Short(text)) => self.short.insert(text, index),
            _ => self.long.insert(text.into(), index),
        };
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let mut names = Names::default();
        let all: [&[u8]; 6] = [b"", b"\0", b"A", b"A\0", b"ABCDEFGHIJKLMNO", b"ABCDEFGHIJKLMNOP"];
        for (index, name) in all.into_iter().enumerate() {
            assert_eq!(names.get_text(name), None);
            assert_eq!(names.add(name), Some(index));
        }
        for (index, name) in all.into_iter().enumerate() {
            assert_eq!(names.get_text(name), Some(index));
        }
    }

    #[test]
    fn names_are_read_up_to_their_quote() {
        for length in 0..16 {
            for byte in 0..=255u8 {
                for at in 0..16 {
                    let mut text = *b"ABC/DEF GHI~JKL!";
                    text[length] = b'"';
                    text[at] = byte;
                    let end = text.iter().position(|byte| *byte == b'"');
                    let plain = |name: &[u8]| name.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\');
                    let expected = end.filter(|end| (1..=SHORT).contains(end) && plain(&text[..*end]));
                    let expected = expected.map(|end| (Name::short(&text[..end]).unwrap(), end));
                    assert_eq!(Name::up_to_quote(&text), expected, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn names_are_bounded() {
        let mut names = Names::default();
        let added = (0..20_000).filter(|number| names.add(format!("S{number}").as_bytes()).is_some());
        assert_eq!(added.count(), MAX_SYMBOLS);
    }
}
