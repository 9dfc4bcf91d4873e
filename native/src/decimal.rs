//! Exact decimals: the same rules as `kraken_l3.model.decimals`, which is the reference.

/// A longer number is refused instead of growing memory.
pub const MAX_DIGITS: usize = 38;

/// 10^38, the first value out of range.
const LIMIT: u128 = 10u128.pow(MAX_DIGITS as u32);

/// A number as the wire wrote it: `mantissa / 10^scale`. The scale is negative after a large exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    pub mantissa: u128,
    pub scale: i32,
}

/// Why a text cannot be used as a price or quantity at some precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Not a number >= 0, or over `MAX_DIGITS`.
    NotANumber,
    /// Too large when written at the precision.
    OutOfRange,
    /// Nonzero digits behind the precision.
    TooPrecise,
}

impl Decimal {
    /// Reads `12.50`, `1e-05`, `"12.50"`: digits, an optional point, an optional exponent of up to three digits.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.strip_prefix(b"\"").unwrap_or(text);
        let text = text.strip_suffix(b"\"").unwrap_or(text);
        let (mut mantissa, mut digits, rest) = digits_of(text, 0);
        let mut fraction = 0;
        if digits == 0 {
            return None;
        }
        let mut rest = rest;
        if let Some(behind) = rest.strip_prefix(b".") {
            (mantissa, fraction, rest) = digits_of(behind, mantissa);
            digits += fraction;
        }
        if digits > MAX_DIGITS {
            return None;
        }
        let exponent = exponent_of(rest)?;
        Some(Self { mantissa, scale: fraction as i32 - exponent })
    }

    /// How many decimals the text wrote, trailing zeros included.
    pub fn decimals(self) -> u32 {
        self.scale.max(0).unsigned_abs()
    }

    /// The number times 10^precision, exactly.
    #[inline]
    pub fn scaled(self, precision: u32) -> Result<u128, Unfit> {
        let shift = precision as i32 - self.scale;
        if shift == 0 || self.mantissa == 0 {
            return Ok(self.mantissa);
        }
        if shift > 0 {
            return times_power(self.mantissa, shift.unsigned_abs()).ok_or(Unfit::OutOfRange);
        }
        let Some(unit) = 10u128.checked_pow(shift.unsigned_abs()) else {
            return Err(Unfit::TooPrecise);
        };
        if !self.mantissa.is_multiple_of(unit) {
            return Err(Unfit::TooPrecise);
        }
        Ok(self.mantissa / unit)
    }
}

fn times_power(mantissa: u128, exponent: u32) -> Option<u128> {
    let value = mantissa.checked_mul(10u128.checked_pow(exponent)?)?;
    (value < LIMIT).then_some(value)
}

/// Appends the digits at the front of the text to the mantissa (meaningless beyond 38 of them); their number, the rest.
fn digits_of(text: &[u8], mut mantissa: u128) -> (u128, usize, &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    for byte in &text[..count] {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u128::from(byte - b'0'));
    }
    (mantissa, count, &text[count..])
}

fn exponent_of(text: &[u8]) -> Option<i32> {
    let Some((b'e' | b'E', rest)) = text.split_first() else {
        return text.is_empty().then_some(0);
    };
    let (negative, rest) = match rest.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, rest),
    };
    let (value, digits, rest) = digits_of(rest, 0);
    if !(1..=3).contains(&digits) || !rest.is_empty() {
        return None;
    }
    let value = value as i32;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scaled(text: &str, precision: u32) -> Option<u128> {
        Decimal::parse(text.as_bytes())?.scaled(precision).ok()
    }

    #[test]
    fn reads_what_the_wire_writes() {
        assert_eq!(scaled("44939.4", 1), Some(449_394));
        assert_eq!(scaled("0.10000000", 8), Some(10_000_000));
        assert_eq!(scaled("1e-05", 8), Some(1000));
        assert_eq!(scaled("\"1E+2\"", 2), Some(10_000));
        assert_eq!(scaled("0E0", 8), Some(0));
        assert_eq!(scaled("1.", 1), Some(10));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "-1", "+1", "1e", "1e+", "1e1000", "0x10", ".5", "1 ", "nan", "null", "1.2.3", "1_0"] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Decimal::parse("1".repeat(39).as_bytes()), None);
        assert_eq!(scaled("1.25", 1), None);
        assert_eq!(scaled("1e308", 1), None);
        assert_eq!(scaled("1e-308", 8), None);
    }

    #[test]
    fn zero_fits_whatever_its_exponent() {
        assert_eq!(scaled("0e999", 8), Some(0));
        assert_eq!(scaled("0.000e-999", 0), Some(0));
    }

    #[test]
    fn counts_written_decimals() {
        let decimals = |text: &str| Decimal::parse(text.as_bytes()).map(Decimal::decimals);
        assert_eq!(decimals("1E-8"), Some(8));
        assert_eq!(decimals("1.250"), Some(3));
        assert_eq!(decimals("1e5"), Some(0));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in 0u128..LIMIT, precision in 0u32..20) {
            let unit = 10u128.pow(precision);
            let text = format!("{}.{:0width$}", value / unit, value % unit, width = precision as usize);
            let text = if precision == 0 { value.to_string() } else { text };
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            prop_assert_eq!(scaled(&text, precision), (digits <= MAX_DIGITS).then_some(value));
        }

        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..60), precision in 0u32..40) {
            if let Some(number) = Decimal::parse(&text) {
                let _ = number.scaled(precision);
            }
        }
    }
}
