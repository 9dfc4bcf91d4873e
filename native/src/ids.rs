//! Order ids as 128-bit keys.
//!
//! Kraken's ids look like `OXXXXX-XXXXX-XXXXXX`: sixteen bytes carry information, which is the key. Any other text is
//! interned: it gets a number, kept as long as some book or list knows it.

use std::collections::HashMap;

/// Length of an id of Kraken's form, the only one that can be packed into a key.
pub const PACKED_LEN: usize = 19;
/// Marks the number of an interned id; the bytes of a packed id are ASCII, so that this bit is never theirs.
const INTERNED: u128 = 1 << 127;
/// Interned ids that may gather before the unused ones are forgotten: a bound on memory, whatever ids a file holds.
const SWEEP_AT: usize = 4_096;

/// An order id; equal keys are equal ids.
pub type Key = u128;

/// Where an id of Kraken's form has its O and dashes, in its first eight bytes and in the next eight.
const FIXED: [u64; 2] = [0x00FF_0000_0000_00FF, 0x0000_00FF_0000_0000];
const O_AND_DASH: u64 = b'O' as u64 | (b'-' as u64) << 48;
const DASH: u64 = (b'-' as u64) << 32;

/// The key of an id of Kraken's form; None for any other, which has to be interned.
///
/// Its first sixteen bytes, with the last three in the places of the O and the dashes.
#[inline(always)]
pub fn packed(text: &[u8; PACKED_LEN]) -> Option<Key> {
    let [.., x, y, z] = *text;
    let (halves, _) = text.as_chunks::<8>();
    let [first, second] = [u64::from_le_bytes(halves[0]), u64::from_le_bytes(halves[1])];
    if first & FIXED[0] != O_AND_DASH || second & FIXED[1] != DASH {
        return None;
    }
    let low = first & !FIXED[0] | u64::from(x) | u64::from(y) << 48;
    let high = second & !FIXED[1] | u64::from(z) << 32;
    (are_plain(low) & are_plain(high)).then(|| Key::from(high) << 64 | Key::from(low))
}

/// Whether eight bytes are all digits or capital letters.
#[inline(always)]
fn are_plain(bytes: u64) -> bool {
    const TOP: u64 = 0x8080_8080_8080_8080;
    // The top bit of each byte that is not below a limit, as long as all are ASCII.
    let from = |limit: u8| bytes.wrapping_add(u64::from_le_bytes([0x80 - limit; 8]));
    let digit = from(b'0') & !from(b'9' + 1);
    let letter = from(b'A') & !from(b'Z' + 1);
    (digit | letter) & !bytes & TOP == TOP
}

/// Whether the key stands for an interned id.
pub fn is_interned(key: Key) -> bool {
    key & INTERNED != 0
}

/// The text of a packed key.
pub fn packed_text(key: Key) -> [u8; PACKED_LEN] {
    let [low, high] = [key as u64, (key >> 64) as u64];
    let mut text = [0; PACKED_LEN];
    text[..8].copy_from_slice(&(low & !FIXED[0] | O_AND_DASH).to_le_bytes());
    text[8..16].copy_from_slice(&(high & !FIXED[1] | DASH).to_le_bytes());
    text[16..].copy_from_slice(&[low as u8, (low >> 48) as u8, (high >> 32) as u8]);
    text
}

/// Ids of other forms than Kraken's, by number.
#[derive(Default)]
pub struct InternedIds {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Option<Box<str>>>,
    free: Vec<u32>,
    sweep_at: usize,
}

impl InternedIds {
    /// The key of any id.
    pub fn key(&mut self, text: &str) -> Key {
        if let Some(key) = text.as_bytes().try_into().ok().and_then(packed) {
            return key;
        }
        if let Some(number) = self.numbers.get(text) {
            return INTERNED | Key::from(*number);
        }
        let number = self.free.pop().unwrap_or(self.texts.len() as u32);
        if number as usize == self.texts.len() {
            self.texts.push(None);
        }
        self.texts[number as usize] = Some(text.into());
        self.numbers.insert(text.into(), number);
        INTERNED | Key::from(number)
    }

    /// The text behind a key that `key` gave.
    pub fn text(&self, key: Key) -> String {
        if !is_interned(key) {
            return String::from_utf8_lossy(&packed_text(key)).into_owned();
        }
        let number = (key & !INTERNED) as usize;
        let text = self.texts.get(number).and_then(Option::as_deref);
        text.unwrap_or_default().to_owned()
    }

    /// Whether so many interned ids have gathered that it is worth asking which are still in use.
    pub fn wants_sweep(&self) -> bool {
        self.numbers.len() > self.sweep_at.max(SWEEP_AT)
    }

    /// Forgets all interned ids but these.
    pub fn sweep(&mut self, used: impl Iterator<Item = Key>) {
        let mut keep = vec![false; self.texts.len()];
        for key in used.filter(|key| is_interned(*key)) {
            keep[(key & !INTERNED) as usize] = true;
        }
        self.numbers.retain(|_, number| keep[*number as usize]);
        self.free.clear();
        for (number, text) in self.texts.iter_mut().enumerate() {
            if !keep[number] {
                *text = None;
                self.free.push(number as u32);
            }
        }
        self.sweep_at = 2 * self.numbers.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packed_ids_keep_their_text() {
        let mut ids = InternedIds::default();
        let key = ids.key("OTCFZG-YOE2Q-LQKNM3");
        assert!(!is_interned(key));
        assert_eq!(ids.text(key), "OTCFZG-YOE2Q-LQKNM3");
    }

    #[test]
    fn what_is_not_used_is_forgotten() {
        let mut ids = InternedIds::default();
        let kept = ids.key("kept");
        for number in 0..10_000 {
            ids.key(&format!("other {number}"));
        }
        assert!(ids.wants_sweep());
        ids.sweep([kept].into_iter());
        assert!(!ids.wants_sweep());
        assert_eq!(ids.text(kept), "kept");
        assert_eq!(ids.key("kept"), kept);
        let size = ids.texts.len();
        ids.key("new");
        assert_eq!(ids.texts.len(), size);
    }

    proptest! {
        #[test]
        fn equal_keys_are_equal_ids(left in "O?[A-Z2-7a\\-]{0,20}", right in "O[A-Z]{5}-[A-Z0-9]{5}-[A-Z]{6}") {
            let mut ids = InternedIds::default();
            let keys = (ids.key(&left), ids.key(&right));
            prop_assert_eq!(keys.0 == keys.1, left == right);
            prop_assert_eq!((ids.text(keys.0), ids.text(keys.1)), (left, right));
        }
    }
}
