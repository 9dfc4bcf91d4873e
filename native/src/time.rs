//! RFC 3339 text to nanoseconds: the same rules as `kraken_l3.model.timestamps.parse_rfc3339`, which is the reference.

use crate::digits::{are_digits, eight_values};

const NS_PER_S: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Nanoseconds since 1970 UTC; None when the text is no such time or lies outside of int64 nanoseconds.
///
/// Digits beyond the ninth are cut, no zone means UTC, a bare date its midnight.
pub fn parse(text: &[u8]) -> Option<i64> {
    let (year, rest) = number::<4>(text)?;
    let (month, rest) = number::<2>(rest.strip_prefix(b"-")?)?;
    let (day, rest) = number::<2>(rest.strip_prefix(b"-")?)?;
    let days = days_from_civil(year, month, day)?;
    let Some((b'T' | b't' | b' ', rest)) = rest.split_first() else {
        return if rest.is_empty() { nanoseconds(days * SECONDS_PER_DAY, 0) } else { None };
    };
    let (hour, rest) = number::<2>(rest)?;
    let (minute, mut rest) = number::<2>(rest.strip_prefix(b":")?)?;
    let (mut second, mut fraction) = (0, 0);
    if let Some(behind) = rest.strip_prefix(b":") {
        (second, rest) = number::<2>(behind)?;
        if let Some(behind) = rest.strip_prefix(b".") {
            (fraction, rest) = fraction_of(behind)?;
        }
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let local = days * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second;
    nanoseconds(local - offset_of(rest)?, fraction)
}

fn nanoseconds(seconds: i64, fraction: i64) -> Option<i64> {
    // In 128 bits: the first second of the range is only whole together with its fraction.
    let ns = i128::from(seconds) * i128::from(NS_PER_S) + i128::from(fraction);
    i64::try_from(ns).ok()
}

fn number<const N: usize>(text: &[u8]) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<N>()?;
    let mut value = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some((value, rest))
}

fn fraction_of(text: &[u8]) -> Option<(i64, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let digits = text[..count].iter().map(|byte| i64::from(byte - b'0'));
    let value = digits.chain(std::iter::repeat(0)).take(9).fold(0, |value, digit| value * 10 + digit);
    Some((value, &text[count..]))
}

/// Seconds by which the zone is ahead of UTC.
fn offset_of(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone.split_first() {
        None => return Some(0),
        Some((b'Z' | b'z', rest)) => return rest.is_empty().then_some(0),
        Some((b'+', rest)) => (1, rest),
        Some((b'-', rest)) => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = number::<2>(rest)?;
    let (minutes, rest) = number::<2>(rest.strip_prefix(b":").unwrap_or(rest))?;
    rest.is_empty().then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Days since 1970-01-01 of a date of the years 1 to 9999.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if year == 0 || day == 0 || day > length {
        return None;
    }
    // Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

const TOP_BYTE: u64 = 0xFF << 56;
const ZERO_ON_TOP: u64 = (b'0' as u64) << 56;

/// Reads the form that Kraken writes (`2026-01-02T03:04:05.678901234Z`, thirty bytes) and remembers recent minutes.
pub struct CachedTime {
    minutes: [Minute; 64],
    /// The last time: a message's is mostly that of its last order.
    text: [u8; 30],
    ns: i64,
}

/// A minute's text and start.
#[derive(Clone, Copy, Default)]
struct Minute {
    text: [u8; 17],
    start_ns: i64,
}

impl Default for CachedTime {
    fn default() -> Self {
        Self { minutes: [Minute::default(); 64], text: [0; 30], ns: 0 }
    }
}

impl CachedTime {
    /// None: some other form, for `parse` to judge.
    #[inline(always)]
    pub fn parse(&mut self, text: &[u8; 30]) -> Option<i64> {
        if *text == self.text {
            return Some(self.ns);
        }
        let minute: &[u8; 17] = text.first_chunk()?;
        let slot = usize::from(text[14].wrapping_mul(10).wrapping_add(text[15]) % 64);
        if *minute != self.minutes[slot].text {
            self.learn(minute, slot)?;
        }
        // Minute and colon (of which nothing is read here), seconds, point, three digits; then a digit, six more, Z.
        let front = u64::from_le_bytes(*text[15..].first_chunk()?) & !0xFF_0000_FFFF | 0x30_0000_3030;
        let back = u64::from_le_bytes(*text[22..].first_chunk()?);
        if text[19] != b'.' || text[29] != b'Z' || !are_digits(front) || !are_digits(back & !TOP_BYTE | ZERO_ON_TOP) {
            return None;
        }
        let front = eight_values(front);
        let (seconds, thousandths) = (front / 10_000, front % 10_000);
        if seconds > 59 {
            return None;
        }
        let ns = seconds * NS_PER_S as u64 + thousandths * 1_000_000 + eight_values(back >> 8 << 16);
        self.ns = self.minutes[slot].start_ns.checked_add(ns as i64)?;
        self.text = *text;
        Some(self.ns)
    }

    #[cold]
    fn learn(&mut self, minute: &[u8; 17], slot: usize) -> Option<()> {
        if minute[10] != b'T' || minute[16] != b':' {
            return None;
        }
        let mut text = [b'0'; 19];
        text[..17].copy_from_slice(minute);
        self.minutes[slot] = Minute { text: *minute, start_ns: parse(&text)? };
        Some(())
    }
}

/// The time as Kraken writes it: UTC, nine fractional digits, Z.
pub fn write(ns: i64, text: &mut String) {
    let (seconds, fraction) = (ns.div_euclid(NS_PER_S), ns.rem_euclid(NS_PER_S));
    let (days, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
    let (year, month, day) = civil_from_days(days);
    let parts = [(year, 4, '-'), (month, 2, '-'), (day, 2, 'T'), (second / 3_600, 2, ':'), (second / 60 % 60, 2, ':')];
    for (number, width, end) in parts.into_iter().chain([(second % 60, 2, '.'), (fraction, 9, 'Z')]) {
        let mut digits = [b'0'; 9]; // by hand: a book has many times, and `format!` takes five times as long
        let mut rest = number;
        for digit in digits[..width].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        text.extend(digits[..width].iter().map(|digit| char::from(*digit)));
        text.push(end);
    }
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = (shifted + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn format(ns: i64) -> String {
        let mut text = String::new();
        write(ns, &mut text);
        text
    }

    #[test]
    fn reads_what_is_written_in_the_wild() {
        let ns = 1_704_716_799_526_146_327;
        for text in [
            "2024-01-08T12:26:39.526146327Z",
            "2024-01-08t12:26:39.526146327z",
            "2024-01-08 12:26:39.526146327",
            "2024-01-08T12:26:39.526146327999Z",
            "2024-01-08T13:26:39.526146327+01:00",
            "2024-01-08T10:56:39.526146327-0130",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(ns), "{text}");
        }
        assert_eq!(parse(b"1970-01-01"), Some(0));
        assert_eq!(parse(b"1970-01-01T00:01"), Some(60 * NS_PER_S));
        assert_eq!(parse(b"1969-12-31T23:59:59.999999999Z"), Some(-1));
        assert_eq!(parse(b"2016-12-31T23:59:60Z"), parse(b"2017-01-01T00:00:00Z"));
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "2024",
            "2024-1-8",
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "0000-01-01",
            "2024-01-08T",
            "2024-01-08Z",
            "2024-01-08T24:00:00Z",
            "2024-01-08T12:60:00Z",
            "2024-01-08T12:00:61Z",
            "2024-01-08T12:00:00.Z",
            "2024-01-08T12:00:00Zx",
            "2024-01-08T12:00:00+1",
            "1600-01-01",
            "2300-01-01",
            " 2024-01-08",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn range_ends_are_exact() {
        for ns in [i64::MIN, i64::MAX] {
            assert_eq!(parse(format(ns).as_bytes()), Some(ns));
        }
    }

    proptest! {
        #[test]
        fn both_readers_agree(ns in any::<i64>(), other in any::<i64>()) {
            let mut cached = CachedTime::default();
            for ns in [ns, other, ns] {
                let text = format(ns);
                prop_assert_eq!(parse(text.as_bytes()), Some(ns));
                prop_assert_eq!(cached.parse(text.as_bytes().first_chunk().unwrap()).unwrap_or(ns), ns);
            }
            prop_assume!(ns > 0);
            prop_assert_eq!(cached.parse(format(ns).as_bytes().first_chunk().unwrap()), Some(ns));
        }

        #[test]
        fn a_cached_time_is_a_time(ns in 0i64.., at in 0usize..30, byte in any::<u8>()) {
            let mut cached = CachedTime::default();
            let text = format(ns);
            prop_assert_eq!(cached.parse(text.as_bytes().first_chunk().unwrap()), Some(ns));
            let mut text: [u8; 30] = *text.as_bytes().first_chunk().unwrap();
            text[at] = byte;
            if let Some(read) = cached.parse(&text) {
                prop_assert_eq!(parse(&text), Some(read));
            }
        }
    }
}
