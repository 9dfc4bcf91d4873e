//! A parsed line: what both parsers fill and the engine applies.

use crate::decimal::{Decimal, MAX_DIGITS};
use crate::digits::TENS;
use crate::ids::Key;
use crate::names::Name;

/// Where prices end: all from here on rest at this one, and a checksum that covers it cannot be compared.
pub const TOO_LARGE: i64 = i64::MAX;

/// Longest symbol or order id in bytes.
pub const MAX_ID_BYTES: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Snapshot = 0,
    Update = 1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Add = 0,
    Modify = 1,
    Delete = 2,
}

/// A price or quantity as the wire wrote it, to be scaled when the symbol's precision is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The digits as a number, its lower 64 bits: all of it but in numbers that only the fallback reads.
    pub mantissa: u64,
    pub high: u64,
    pub scale: i16,
    /// Decimals written, trailing zeros included.
    pub decimals: u16,
    /// Where its text starts in the line.
    pub at: u32,
}

/// Why a number cannot be used at a precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    Unreadable,
    TooPrecise,
}

impl Number {
    pub const NONE: Self = Self { mantissa: 0, high: 0, scale: 0, decimals: 0, at: 0 };

    pub fn new(decimal: Decimal, at: u32) -> Self {
        Self {
            mantissa: decimal.mantissa as u64,
            high: (decimal.mantissa >> 64) as u64,
            scale: decimal.scale as i16,
            decimals: decimal.decimals() as u16,
            at,
        }
    }

    fn decimal(self) -> Decimal {
        let mantissa = u128::from(self.high) << 64 | u128::from(self.mantissa);
        Decimal { mantissa, scale: i32::from(self.scale) }
    }

    /// As few decimals as hold the number.
    pub fn needed(self) -> u32 {
        let Decimal { mut mantissa, mut scale } = self.decimal();
        while scale > 0 && mantissa != 0 && mantissa.is_multiple_of(10) {
            mantissa /= 10;
            scale -= 1;
        }
        if mantissa == 0 { 0 } else { scale.max(0).unsigned_abs() }
    }

    /// A price times 10^precision, exactly; from `TOO_LARGE` on, that.
    #[inline(always)]
    pub fn price(self, precision: u32) -> Result<i64, Unfit> {
        if i32::from(self.scale) == precision as i32 && self.high == 0 {
            return Ok(i64::try_from(self.mantissa).unwrap_or(TOO_LARGE));
        }
        if let Some(value) = self.rescaled(precision) {
            return Ok(i64::try_from(value).unwrap_or(TOO_LARGE));
        }
        self.checked(precision).map(|value| i64::try_from(value).unwrap_or(TOO_LARGE))
    }

    /// A quantity times 10^precision, exactly and below 10^38.
    #[inline(always)]
    pub fn qty(self, precision: u32) -> Result<i128, Unfit> {
        if i32::from(self.scale) == precision as i32 && self.high == 0 {
            return Ok(i128::from(self.mantissa));
        }
        if let Some(value) = self.rescaled(precision) {
            return Ok(value.into());
        }
        self.checked(precision)
    }

    /// Without 128 bits: nearly all numbers with more or fewer decimals than the precision. None: `checked` tells.
    #[inline]
    fn rescaled(self, precision: u32) -> Option<u64> {
        if self.high != 0 {
            return None;
        }
        let missing = precision as i32 - i32::from(self.scale);
        let unit = *TENS.get(missing.unsigned_abs() as usize)?;
        if missing >= 0 {
            return self.mantissa.checked_mul(unit);
        }
        self.mantissa.is_multiple_of(unit).then(|| self.mantissa / unit)
    }

    #[cold]
    fn checked(self, precision: u32) -> Result<i128, Unfit> {
        let beyond = i32::from(self.scale) - precision as i32;
        let decimal = self.decimal();
        if decimal.mantissa != 0 && beyond > 2 * MAX_DIGITS as i32 {
            return Err(Unfit::Unreadable);
        }
        match decimal.scaled(precision) {
            Ok(value) => i128::try_from(value).map_err(|_| Unfit::Unreadable),
            Err(crate::decimal::Unfit::TooPrecise) => Err(Unfit::TooPrecise),
            Err(_) => Err(Unfit::Unreadable),
        }
    }
}

/// One order in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: Key,
    /// The order's time, 0 when unknown.
    pub ns: i64,
    pub price: Number,
    pub qty: Number,
    /// `Add` in a snapshot.
    pub action: Action,
    /// Whether its price and quantity, as far as they have to be read, are numbers.
    pub numbers: bool,
    /// Whether all that has to be read of it could be read.
    pub readable: bool,
}

/// One element of `data`: a message of one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    pub symbol: Name,
    /// -1: none.
    pub checksum: i64,
    /// 0: unknown.
    pub ns: i64,
    /// Whether the checksum, if given, could be read.
    pub readable: bool,
    pub bids: Span,
    pub asks: Span,
}

/// A stretch of `Parsed::text` or `Parsed::entries`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A level3 line. Its buffers are used again for the next one.
#[derive(Debug, Default)]
pub struct Parsed {
    pub kind: Option<Kind>,
    pub elements: Vec<Element>,
    pub entries: Vec<Entry>,
    /// Long symbols.
    pub text: Vec<u8>,
}

impl Parsed {
    pub fn clear(&mut self) {
        self.kind = None;
        self.elements.clear();
        self.entries.clear();
        self.text.clear();
    }

    /// A symbol's name; its text is kept where it is long.
    pub fn keep(&mut self, symbol: &[u8]) -> Name {
        if let Some(name) = Name::short(symbol) {
            return name;
        }
        let start = self.text.len() as u32;
        self.text.extend_from_slice(symbol);
        Name::Long(Span { start, end: self.text.len() as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_scaled_as_decimals(text in "[0-9]{1,25}(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?", precision in 0u32..19) {
            let decimal = Decimal::parse(text.as_bytes());
            prop_assume!(decimal.is_some());
            let (decimal, number) = (decimal.unwrap(), Number::new(decimal.unwrap(), 0));
            let exact = decimal.scaled(precision).ok();
            prop_assert_eq!(number.qty(precision).ok(), exact.map(|value| value as i128));
            let price = exact.map(|value| i64::try_from(value).unwrap_or(TOO_LARGE));
            prop_assert_eq!(number.price(precision).ok(), price);
        }
    }
}
