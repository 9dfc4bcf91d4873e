//! CRC-32 (IEEE, as zlib computes it) without rendering text.
//!
//! Every function works on the *linear* form of the checksum: start value 0 and no final inversion. In that form
//! `crc(A + B) = shift(crc(A), len(B)) ^ crc(B)`, so an order keeps the CRC and length of its token, a level those of
//! its orders in a row, and a change costs only the levels it touched. `finish` turns the result into zlib's number.

use std::sync::OnceLock;

const POLYNOMIAL: u32 = 0xEDB8_8320;
/// What the standard CRC starts from and what it is inverted with at the end.
const ONES: u32 = 0xFFFF_FFFF;
/// Lengths with a table of their own; longer shifts are made of these steps.
const DIRECT: usize = 256;
/// Digits that one pass over the byte tables takes.
const WIDTH: usize = 16;

type ByteTable = [u32; 256];
/// For each of a CRC's eight half bytes one cache line: more look-ups than with whole bytes, but all of them hit the
/// first-level cache, which tables of whole bytes for all lengths in use do not fit into.
type Step = [[u32; 16]; 8];

/// A piece of text as the checksum sees it: linear CRC and length in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    pub crc: u32,
    pub len: u32,
}

/// The tables behind `shift` and the digit CRC.
pub struct Tables {
    /// `after[k][b]`: the byte `b` followed by `k` zero bytes.
    after: Vec<ByteTable>,
    /// `steps[n][i][b]`: half byte `i` of a CRC moved by `n` bytes.
    steps: Vec<Step>,
}

/// The process-wide tables, built on first use (144 KiB, well under a millisecond).
pub fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(Tables::build)
}

impl Tables {
    fn build() -> Self {
        let mut first = [0u32; 256];
        for (byte, entry) in (0u32..).zip(first.iter_mut()) {
            *entry = (0..8).fold(byte, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 });
        }
        let mut after = vec![first];
        while after.len() < WIDTH {
            after.push(moved_on(&after[after.len() - 1], &first));
        }
        let mut steps: Vec<Step> = vec![std::array::from_fn(|i| std::array::from_fn(|half| (half as u32) << (4 * i)))];
        while steps.len() < DIRECT {
            let last = &steps[steps.len() - 1];
            steps.push(std::array::from_fn(|i| moved_on(&last[i], &first)));
        }
        Self { after, steps }
    }

    /// The CRC moved on by `len` bytes: what it becomes when that many more bytes follow, before they are added.
    #[inline(always)]
    pub fn shift(&self, crc: u32, len: u32) -> u32 {
        let mut crc = crc;
        let mut len = len as usize;
        while len >= DIRECT {
            crc = apply(&self.steps[DIRECT - 1], crc);
            len -= DIRECT - 1;
        }
        apply(&self.steps[len], crc)
    }

    /// Two pieces of text in a row.
    #[inline(always)]
    pub fn join(&self, left: Piece, right: Piece) -> Piece {
        Piece { crc: self.shift(left.crc, right.len) ^ right.crc, len: left.len + right.len }
    }

    /// The decimal digits of a number without leading zeros; nothing at all for zero.
    #[inline(always)]
    pub fn digits(&self, value: u128) -> Piece {
        match u64::try_from(value) {
            Ok(value) if value < 10_000_000_000_000_000 => self.short_digits(value),
            _ => self.bytes(value.to_string().as_bytes()),
        }
    }

    #[inline(always)]
    fn short_digits(&self, value: u64) -> Piece {
        let low = ascii_digits((value % 100_000_000) as u32, value >= 100_000_000);
        let mut piece = Piece { crc: self.eight(low.0, 0), len: low.1 };
        if value >= 100_000_000 {
            let high = ascii_digits((value / 100_000_000) as u32, false);
            piece.crc ^= self.eight(high.0, 8);
            piece.len += high.1;
        }
        piece
    }

    /// Eight bytes, first byte lowest, with `behind` (0 or 8) more to come. Zero bytes in front add nothing.
    #[inline(always)]
    fn eight(&self, bytes: u64, behind: usize) -> u32 {
        let mut crc = 0;
        for (i, byte) in bytes.to_le_bytes().into_iter().enumerate() {
            crc ^= self.after[behind + 7 - i][usize::from(byte)];
        }
        crc
    }

    /// Any bytes, one after another.
    pub fn bytes(&self, text: &[u8]) -> Piece {
        let crc = text.iter().fold(0u32, |crc, byte| self.after[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8));
        Piece { crc, len: text.len() as u32 }
    }

    /// zlib's CRC-32 of the text that this piece stands for.
    #[inline(always)]
    pub fn finish(&self, piece: Piece) -> u32 {
        self.shift(ONES, piece.len) ^ piece.crc ^ ONES
    }
}

fn moved_on<const N: usize>(table: &[u32; N], first: &ByteTable) -> [u32; N] {
    table.map(|crc| first[usize::from(crc as u8)] ^ (crc >> 8))
}

#[inline(always)]
fn apply(step: &Step, crc: u32) -> u32 {
    let half = |i: usize| step[i][(crc >> (4 * i)) as usize & 15];
    (half(0) ^ half(1)) ^ (half(2) ^ half(3)) ^ ((half(4) ^ half(5)) ^ (half(6) ^ half(7)))
}

/// The eight digits of a number below 10^8 as ASCII, first digit lowest, leading zeros as zero bytes unless `full`;
/// and how many bytes count.
#[inline(always)]
fn ascii_digits(value: u32, full: bool) -> (u64, u32) {
    let merged = u64::from(value / 10_000) | (u64::from(value % 10_000) << 32);
    let top = ((merged * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let hundreds = ((merged - 100 * top) << 16) + top;
    let tens = ((hundreds * 103) >> 10) & 0x000F_000F_000F_000F;
    let digits = tens + ((hundreds - 10 * tens) << 8);
    let ascii = digits | 0x3030_3030_3030_3030;
    if full {
        return (ascii, 8);
    }
    let leading = digits.trailing_zeros() / 8;
    if leading >= 8 {
        return (0, 0);
    }
    (ascii & (u64::MAX << (8 * leading)), 8 - leading)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zlib(text: &[u8]) -> u32 {
        crc32fast::hash(text)
    }

    #[test]
    fn known_answer() {
        let tables = tables();
        assert_eq!(tables.finish(tables.bytes(b"123456789")), 0xCBF4_3926);
        assert_eq!(tables.finish(Piece::default()), 0);
    }

    #[test]
    fn zero_has_no_digits() {
        assert_eq!(tables().digits(0), Piece::default());
    }

    proptest! {
        #[test]
        fn joined_pieces_are_the_whole(left in proptest::collection::vec(any::<u8>(), 0..400),
                                       right in proptest::collection::vec(any::<u8>(), 0..400)) {
            let tables = tables();
            let joined = tables.join(tables.bytes(&left), tables.bytes(&right));
            let whole = [left, right].concat();
            prop_assert_eq!(joined, tables.bytes(&whole));
            prop_assert_eq!(tables.finish(joined), zlib(&whole));
        }

        #[test]
        fn digits_are_the_text(value in 1u128.., cut in 0u32..127) {
            let tables = tables();
            let value = (value >> cut).max(1);
            prop_assert_eq!(tables.digits(value), tables.bytes(value.to_string().as_bytes()));
        }
    }
}
