//! The fast path: level3 lines in the form that Kraken writes, read in one pass without looking back.
//!
//! It compares the fixed text of Kraken's key order (the keys of an element may come in any order) and reads
//! numbers, ids and times in Kraken's form (numbers in any that is JSON's). At the first surprise it gives up, and `generic`, the fallback, parses the line from its start.
//! What it does accept, `generic` would read to the same result (a property test holds the two together).

use crate::decimal::{Decimal, MAX_DIGITS};
use crate::digits::{TENS, front_digits, leading_digits};
use crate::ids;
use crate::json::Cursor;
use crate::message::{Action, Element, Entry, Kind, MAX_ID_BYTES, Number, Parsed, Span};
use crate::names::Name;
use crate::time::CachedTime;

/// No number that is read has so many, its quotes included.
const MAX_NUMBER_BYTES: usize = MAX_DIGITS + 16;

/// Reads the line at the start of `text` (which may go on beyond it). The length of the line without its newline, or
/// None when it has any other form.
#[inline]
pub fn scan(text: &[u8], parsed: &mut Parsed, time: &mut CachedTime) -> Option<usize> {
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
        let id = ids::packed(rest.first_chunk()?)?;
        self.at += N + ids::PACKED_LEN;
        (start == before).then_some(id)
    }

    /// Up to and with the closing quote.
    #[inline(always)]
    fn time(&mut self, time: &mut CachedTime) -> Option<i64> {
        let text = self.chunk::<31>()?;
        let ns = time.parse(text.first_chunk()?)?;
        let is_quoted = text[30] == b'"';
        self.at += 31;
        is_quoted.then_some(ns)
    }

    /// From behind its opening brace to behind its closing one. Each key once, in any order.
    #[inline(always)]
    fn element(&mut self, kind: Kind, parsed: &mut Parsed, time: &mut CachedTime) -> Option<()> {
        let mut element = Element {
            symbol: Name::default(),
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
                    self.literal(br#""timestamp":""#)?;
                    element.ns = self.time(time)?;
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
    fn symbol(&mut self, parsed: &mut Parsed) -> Option<Name> {
        let name = self.chunk().and_then(Name::up_to_quote);
        let Some((name, length)) = name else {
            return self.other_symbol(parsed);
        };
        self.at += length + 1;
        Some(name)
    }

    #[cold]
    fn other_symbol(&mut self, parsed: &mut Parsed) -> Option<Name> {
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
        if count < 8 || !self.text.get(self.at)?.is_ascii_digit() {
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

    /// A number, and past the text that follows it.
    #[inline(always)]
    fn number_before<const N: usize>(&mut self, behind: &[u8; N]) -> Option<Number> {
        let start = self.at;
        if let Some(number) = self.number()
            && self.literal(behind).is_some()
        {
            return Some(number);
        }
        self.at = start;
        let number = self.odd_number()?;
        self.literal(behind)?;
        Some(number)
    }

    /// A number in any other form: with an exponent, in quotes, of many digits.
    #[inline(never)]
    fn odd_number(&mut self) -> Option<Number> {
        let start = self.at;
        let rest = self.text.get(start..)?;
        let in_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-' | b'"');
        let length = rest.iter().take(MAX_NUMBER_BYTES).position(|byte| !in_number(byte))?;
        let text = std::str::from_utf8(&rest[..length]).ok()?;
        let mut cursor = Cursor::new(text, 0);
        cursor.value().ok()?;
        cursor.finish().ok()?;
        let decimal = Decimal::parse(text.as_bytes())?;
        self.at += length;
        Some(Number::new(decimal, start as u32))
    }

    /// A number as Kraken writes it, with at most fifteen digits before the point, and eighteen in all.
    #[inline(always)]
    fn number(&mut self) -> Option<Number> {
        let at = self.at as u32;
        let (whole, count) = self.digits()?;
        if *self.text.get(self.at)? != b'.' {
            return Some(Number { mantissa: whole, high: 0, scale: 0, decimals: 0, at });
        }
        self.at += 1;
        let first = u64::from_le_bytes(*self.chunk::<8>()?);
        let mut decimals = leading_digits(first);
        let mut fraction = front_digits(first, decimals);
        self.at += decimals;
        if decimals == 8 && self.text.get(self.at)?.is_ascii_digit() {
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
            high: 0,
            scale: decimals as i16,
            decimals: decimals as u16,
            at,
        })
    }

    /// From behind the opening bracket to behind the closing one.
    #[inline(always)]
    fn entries(&mut self, kind: Kind, parsed: &mut Parsed, time: &mut CachedTime) -> Option<Span> {
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
    fn entry(&mut self, kind: Kind, time: &mut CachedTime) -> Option<Entry> {
        let (action, id) = match (kind, self.chunk::<14>()?) {
            (Kind::Update, br#"{"event":"add""#) => (Action::Add, self.id(br#"{"event":"add","order_id":""#)?),
            (Kind::Update, br#"{"event":"dele"#) => (Action::Delete, self.id(br#"{"event":"delete","order_id":""#)?),
            (Kind::Update, br#"{"event":"modi"#) => (Action::Modify, self.id(br#"{"event":"modify","order_id":""#)?),
            (Kind::Snapshot, _) => (Action::Add, self.id(br#"{"order_id":""#)?),
            _ => return None,
        };
        self.literal(br#"","limit_price":"#)?;
        let mut price = self.number_before(br#","order_qty":"#)?;
        let qty = self.number_before(br#","timestamp":""#)?;
        let ns = self.time(time)?;
        self.literal(b"}")?;
        if action == Action::Delete {
            price = Number::NONE;
        }
        Some(Entry { id, ns, price, qty, action, numbers: true, readable: true })
    }
}
