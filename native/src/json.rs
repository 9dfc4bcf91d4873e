//! A complete JSON reader over one line that keeps number text: it walks, checks and locates, and builds no tree.
//!
//! Accepts exactly RFC 8259 in UTF-8 without lone surrogates, as msgspec does for the Python engine. Nesting is
//! bounded, and costs no stack.

use std::borrow::Cow;

/// What is wrong with a line, for people.
pub type Fault = &'static str;

/// Objects and arrays open at a time; the same bound as in the Python engine, whose parser needs stack for each.
const MAX_NESTING: usize = 128;
const TOO_DEEP: Fault = "nested too deep";

/// A place in a text that is known to be UTF-8.
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Objects and arrays that were entered and not left.
    nesting: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str, at: usize) -> Self {
        Self { text, at, nesting: 0 }
    }

    /// The next byte that is not space, not consumed; 0 at the end.
    pub fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Where the next value starts.
    pub fn position(&mut self) -> usize {
        self.peek();
        self.at
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte && self.at < self.text.len();
        self.at += usize::from(found);
        found
    }

    /// Nothing but space may be left.
    pub fn finish(&mut self) -> Result<(), Fault> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { Err("text behind the JSON value") }
    }

    /// Walks an object: `visit` gets each key and must consume its value.
    pub fn object(&mut self, mut visit: impl FnMut(&mut Self, &str) -> Result<(), Fault>) -> Result<(), Fault> {
        if !self.take(b'{') {
            return Err("an object was expected");
        }
        self.nesting += 1;
        if self.take(b'}') {
            self.nesting -= 1;
            return Ok(());
        }
        loop {
            let key = self.string()?;
            if !self.take(b':') {
                return Err("':' was expected");
            }
            visit(self, &key)?;
            if self.take(b'}') {
                self.nesting -= 1;
                return Ok(());
            }
            if !self.take(b',') {
                return Err("',' or '}' was expected");
            }
        }
    }

    /// Walks an array: `visit` must consume each element.
    pub fn array(&mut self, mut visit: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        if !self.take(b'[') {
            return Err("an array was expected");
        }
        self.nesting += 1;
        if self.take(b']') {
            self.nesting -= 1;
            return Ok(());
        }
        loop {
            visit(self)?;
            if self.take(b']') {
                self.nesting -= 1;
                return Ok(());
            }
            if !self.take(b',') {
                return Err("',' or ']' was expected");
            }
        }
    }

    /// Consumes `null` if that comes next.
    pub fn null(&mut self) -> bool {
        self.peek();
        let found = self.text[self.at..].starts_with("null");
        self.at += if found { 4 } else { 0 };
        found
    }

    /// A string's text.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let raw = self.raw_string()?;
        if raw.contains('\\') { unescape(raw).map(Cow::Owned) } else { Ok(Cow::Borrowed(raw)) }
    }

    /// What stands between the quotes; escapes are not checked.
    fn raw_string(&mut self) -> Result<&'a str, Fault> {
        if !self.take(b'"') {
            return Err("a string was expected");
        }
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                None => return Err("the string does not end"),
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(0..=0x1F) => return Err("a control character in a string"),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(&self.text[start..self.at - 1])
    }

    /// Checks and passes over any value; its text as it stands.
    pub fn value(&mut self) -> Result<&'a str, Fault> {
        let start = self.position();
        let mut open: Vec<u8> = Vec::new();
        loop {
            let next = self.peek();
            if matches!(next, b'{' | b'[') && self.nesting + open.len() >= MAX_NESTING {
                return Err(TOO_DEEP);
            }
            match next {
                b'{' => {
                    self.at += 1;
                    if !self.take(b'}') {
                        open.push(b'}');
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if !self.take(b']') {
                        open.push(b']');
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if self.close(&mut open)? {
                return Ok(&self.text[start..self.at]);
            }
        }
    }

    /// Goes on behind a value to the next one, out of all that ends here; whether nothing is left open.
    fn close(&mut self, open: &mut Vec<u8>) -> Result<bool, Fault> {
        while let Some(end) = open.last().copied() {
            if self.take(end) {
                open.pop();
            } else if self.take(b',') {
                if end == b'}' {
                    self.key()?;
                }
                return Ok(false);
            } else {
                return Err("',' or the end of an object or array was expected");
            }
        }
        Ok(true)
    }

    fn key(&mut self) -> Result<(), Fault> {
        self.string()?;
        if self.take(b':') { Ok(()) } else { Err("':' was expected") }
    }

    fn scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<(), Fault> {
        for word in ["true", "false", "null"] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(());
            }
        }
        Err("a JSON value was expected")
    }

    fn number(&mut self) -> Result<(), Fault> {
        let bytes = self.text.as_bytes();
        self.at += usize::from(bytes[self.at] == b'-');
        let zero = bytes.get(self.at) == Some(&b'0');
        let whole = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return Err("a malformed number");
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err("a malformed number");
            }
        }
        if let Some(b'e' | b'E') = bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(bytes.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err("a malformed number");
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }
}

fn unescape(raw: &str) -> Result<String, Fault> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let plain = match escape.as_bytes().first() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let (plain, behind) = unicode(&escape[1..])?;
                text.push(plain);
                rest = behind;
                continue;
            }
            _ => return Err("an unknown escape in a string"),
        };
        text.push(plain);
        rest = &escape[1..];
    }
    text.push_str(rest);
    Ok(text)
}

/// The character of `XXXX` or `XXXX\uXXXX`, and what stands behind.
fn unicode(text: &str) -> Result<(char, &str), Fault> {
    let (high, rest) = hex(text)?;
    if !(0xD800..0xE000).contains(&high) {
        return Ok((char::from_u32(high).ok_or("a lone surrogate")?, rest));
    }
    let (low, rest) = hex(rest.strip_prefix("\\u").ok_or("a lone surrogate")?)?;
    if high >= 0xDC00 || !(0xDC00..0xE000).contains(&low) {
        return Err("a lone surrogate");
    }
    let point = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    Ok((char::from_u32(point).ok_or("a lone surrogate")?, rest))
}

fn hex(text: &str) -> Result<(u32, &str), Fault> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let digits = digits.ok_or("a malformed unicode escape")?;
    let value = u32::from_str_radix(digits, 16).map_err(|_| "a malformed unicode escape")?;
    Ok((value, &text[4..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &str) -> bool {
        let mut cursor = Cursor::new(text, 0);
        cursor.value().and_then(|_| cursor.finish()).is_ok()
    }

    fn oracle_accepts(text: &str) -> bool {
        serde_json::from_str::<serde_json::Value>(text).is_ok()
    }

    #[test]
    fn accepts_what_the_oracle_accepts() {
        for text in [
            "",
            " ",
            "1",
            "-0",
            "01",
            "1.",
            ".5",
            "1e5",
            "1e",
            "1E+",
            "-",
            "+1",
            "1e999",
            "NaN",
            "nul",
            "nulll",
            "true ",
            "[]",
            "[1,]",
            "[,]",
            "[1 2]",
            "{}",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "\"\\udc00\\ud800\"",
            "\"\\q\"",
            "\"a",
            "\"\\",
            "\"\u{1}\"",
            "\"\u{7f}\"",
            "\u{b}1",
            "[[[]]]",
            "[[}",
            "{\"a\":[{\"b\":[1,{}]}]}",
            "\"\\u0000\"",
            "[1]]",
            "1 2",
            "\"é\"",
        ] {
            assert_eq!(accepts(text), oracle_accepts(text), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(accepts(&nested(MAX_NESTING)));
        assert!(!accepts(&nested(MAX_NESTING + 1)));
        assert!(!accepts(&nested(1_000_000)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(text in "[\\[\\]{}:,\"\\\\ue0-9dD8cC.+\\- atrlsfn]{0,12}") {
            prop_assert_eq!(accepts(&text), oracle_accepts(&text));
        }

        #[test]
        fn strings_come_out_as_they_went_in(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(Cursor::new(&json, 0).string().unwrap(), text);
        }
    }
}
