//! The fast scanner: level3 lines in the form that Kraken usually writes, read in one pass without looking back.
//!
//! It compares the fixed text of the usual key order (the keys of an element may come in any order) and reads numbers,
//! ids and times in their usual form. At the first surprise it gives up, and `generic` parses the line from its start.
//! What it does accept, `generic` would read to the same result (a property test holds the two together).

use crate::ids;
use crate::message::{Action, Element, Entry, Kind, MAX_ID_BYTES, Number, Parsed, Span};
use crate::time::UsualTime;

/// Reads the line at the start of `text` (which may go on beyond it). The length of the line without its newline, or
/// None when it is not in the usual form.
#[inline]
pub fn scan(text: &[u8], parsed: &mut Parsed, time: &mut UsualTime) -> Option<usize> {
    parsed.clear();
    let mut scanner = Scanner { text, at: 0 };
    let kind = if scanner.literal(br#"{"channel":"level3","type":"update","data":[{"#).is_some() {
        Kind::Update
    } else {
        scanner.literal(br#"{"channel":"level3","type":"snapshot","data":[{"#)?;
        Kind::Snapshot
    };
    parsed.kind = Some(kind);
    scanner.element(kind, parsed, time)?;
    scanner.literal(b"]}")?;
    let length = scanner.at;
    match scanner.text.get(length) {
        None | Some(b'\n') => Some(length),
        Some(b'\r') if matches!(scanner.text.get(length + 1), None | Some(b'\n')) => Some(length + 1),
        _ => None,
    }
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    #[inline(always)]
    fn chunk<const N: usize>(&self) -> Option<&[u8; N]> {
        self.text.get(self.at..)?.first_chunk::<N>()
    }

    #[inline(always)]
    fn literal<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        if self.chunk::<N>()? != expected {
            return None;
        }
        self.at += N;
        Some(())
    }

    /// The id behind this text.
    #[inline(always)]
    fn id<const N: usize>(&mut self, before: &[u8; N]) -> Option<ids::Key> {
        let (start, rest) = self.text.get(self.at..)?.split_first_chunk::<N>()?;
        let id = ids::usual(rest.first_chunk()?)?;
        self.at += N + ids::USUAL_LEN;
        (start == before).then_some(id)
    }

    /// The time behind this text, up to and with its closing quote.
    #[inline(always)]
    fn time<const N: usize>(&mut self, before: &[u8; N], time: &mut UsualTime) -> Option<i64> {
        let (start, rest) = self.text.get(self.at..)?.split_first_chunk::<N>()?;
        let text = rest.first_chunk::<31>()?;
        let ns = time.parse(text.first_chunk()?)?;
        self.at += N + 31;
        (start == before && text[30] == b'"').then_some(ns)
    }

    /// From behind its opening brace to behind its closing one. Each key once, in any order.
    #[inline(always)]
    fn element(&mut self, kind: Kind, parsed: &mut Parsed, time: &mut UsualTime) -> Option<()> {
        let mut element = Element {
            symbol: Span::default(),
            checksum: -1,
            ns: 0,
            readable: true,
            bids: Span::default(),
            asks: Span::default(),
        };
        let mut seen = 0u8;
        loop {
            let key = match self.chunk::<3>()? {
                b"\"sy" => {
                    self.literal(br#""symbol":""#)?;
                    element.symbol = self.symbol(parsed)?;
                    1
                }
                b"\"ch" => {
                    self.literal(br#""checksum":"#)?;
                    element.checksum = self.checksum()?;
                    2
                }
                b"\"bi" => {
                    self.literal(br#""bids":["#)?;
                    element.bids = self.entries(kind, parsed, time)?;
                    4
                }
                b"\"as" => {
                    self.literal(br#""asks":["#)?;
                    element.asks = self.entries(kind, parsed, time)?;
                    8
                }
                b"\"ti" => {
                    element.ns = self.time(br#""timestamp":""#, time)?;
                    16
                }
                _ => return None,
            };
            if seen & key != 0 {
                return None;
            }
            seen |= key;
            let next = *self.text.get(self.at)?;
            self.at += 1;
            match next {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        if seen & 1 == 0 {
            return None;
        }
        parsed.elements.push(element);
        Some(())
    }

    /// Up to and with the closing quote. Printable ASCII without escapes.
    #[inline(always)]
    fn symbol(&mut self, parsed: &mut Parsed) -> Option<Span> {
        let rest = self.text.get(self.at..)?;
        let length = rest.iter().position(|byte| !matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~'))?;
        if rest[length] != b'"' || !(1..=MAX_ID_BYTES).contains(&length) {
            return None;
        }
        self.at += length + 1;
        Some(parsed.keep(&rest[..length]))
    }

    #[inline(always)]
    fn checksum(&mut self) -> Option<i64> {
        let number = self.digits()?;
        (number.1 <= 10).then_some(number.0 as i64)
    }

    /// One to sixteen digits without a leading zero: value and count.
    #[inline(always)]
    fn digits(&mut self) -> Option<(u64, usize)> {
        let first = u64::from_le_bytes(*self.chunk::<8>()?);
        let count = leading_digits(first);
        if count == 0 || (first as u8 == b'0' && count > 1) {
            return None;
        }
        let mut value = front_digits(first, count);
        self.at += count;
        if count < 8 {
            return Some((value, count));
        }
        let second = u64::from_le_bytes(*self.chunk::<8>()?);
        let more = leading_digits(second);
        if more == 8 {
            return None;
        }
        value = value * TENS[more] + front_digits(second, more);
        self.at += more;
        Some((value, count + more))
    }

    /// A number with at most fifteen digits before the point, and eighteen in all.
    #[inline(always)]
    fn number(&mut self) -> Option<Number> {
        let at = self.at as u32;
        let (whole, count) = self.digits()?;
        if *self.text.get(self.at)? != b'.' {
            return Some(Number { mantissa: whole, scale: 0, decimals: 0, at });
        }
        self.at += 1;
        let first = u64::from_le_bytes(*self.chunk::<8>()?);
        let mut decimals = leading_digits(first);
        let mut fraction = front_digits(first, decimals);
        self.at += decimals;
        if decimals == 8 {
            let second = u64::from_le_bytes(*self.chunk::<8>()?);
            let more = leading_digits(second);
            if more == 8 {
                return None;
            }
            fraction = fraction * TENS[more] + front_digits(second, more);
            self.at += more;
            decimals += more;
        }
        if decimals == 0 || count + decimals > 18 {
            return None;
        }
        Some(Number {
            mantissa: whole * TENS[decimals] + fraction,
            scale: decimals as i16,
            decimals: decimals as u16,
            at,
        })
    }

    /// From behind the opening bracket to behind the closing one.
    #[inline(always)]
    fn entries(&mut self, kind: Kind, parsed: &mut Parsed, time: &mut UsualTime) -> Option<Span> {
        let start = parsed.entries.len() as u32;
        if *self.text.get(self.at)? == b']' {
            self.at += 1;
            return Some(Span { start, end: start });
        }
        loop {
            let entry = self.entry(kind, time)?;
            parsed.entries.push(entry);
            let next = *self.text.get(self.at)?;
            self.at += 1;
            match next {
                b',' => {}
                b']' => return Some(Span { start, end: parsed.entries.len() as u32 }),
                _ => return None,
            }
        }
    }

    #[inline(always)]
    fn entry(&mut self, kind: Kind, time: &mut UsualTime) -> Option<Entry> {
        let (action, id) = match (kind, self.chunk::<14>()?) {
            (Kind::Update, br#"{"event":"add""#) => (Action::Add, self.id(br#"{"event":"add","order_id":""#)?),
            (Kind::Update, br#"{"event":"dele"#) => (Action::Delete, self.id(br#"{"event":"delete","order_id":""#)?),
            (Kind::Update, br#"{"event":"modi"#) => (Action::Modify, self.id(br#"{"event":"modify","order_id":""#)?),
            (Kind::Snapshot, _) => (Action::Add, self.id(br#"{"order_id":""#)?),
            _ => return None,
        };
        self.literal(br#"","limit_price":"#)?;
        let mut price = self.number()?;
        self.literal(br#","order_qty":"#)?;
        let qty = self.number()?;
        let ns = self.time(br#","timestamp":""#, time)?;
        self.literal(b"}")?;
        if action == Action::Delete {
            price = Number::NONE;
        }
        Some(Entry { id, ns, price, qty, action, numbers: true, readable: true })
    }
}

const TENS: [u64; 20] = {
    let mut tens = [1; 20];
    let mut i = 1;
    while i < 20 {
        tens[i] = tens[i - 1] * 10;
        i += 1;
    }
    tens
};

/// How many of eight bytes, the first lowest, are digits before the first that is none.
#[inline(always)]
fn leading_digits(bytes: u64) -> usize {
    let values = bytes ^ 0x3030_3030_3030_3030;
    let others = ((values & 0x7F7F_7F7F_7F7F_7F7F) + 0x7676_7676_7676_7676) | values;
    ((others & 0x8080_8080_8080_8080).trailing_zeros() / 8) as usize
}

/// The value of the first `count` of eight ASCII digits, the first lowest.
#[inline(always)]
fn front_digits(bytes: u64, count: usize) -> u64 {
    if count == 0 {
        return 0;
    }
    eight_values(bytes << (64 - 8 * count))
}

/// The value of eight ASCII digits, the first lowest; None when one of them is no digit.
#[inline(always)]
pub fn eight_digits(bytes: u64) -> Option<u64> {
    (leading_digits(bytes) == 8).then(|| eight_values(bytes))
}

/// Pairs, then fours, then all eight: three multiplications instead of eight.
#[inline(always)]
fn eight_values(bytes: u64) -> u64 {
    let values = bytes & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (values.wrapping_mul(2561) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(6_553_601) >> 16) & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul(42_949_672_960_001) >> 32
}
