//! Which lines an engine handles, told from their first symbol before any parsing.

use std::collections::HashSet;

use memchr::{memchr, memmem};

use crate::crc;
use crate::names::Names;

const FAST_PATH_SYMBOL_BYTES: usize = 24;
const KEY: &[u8] = br#""symbol""#;
/// How nearly all lines of Kraken's start; the symbol's text follows.
const FAST_PATH_STARTS: [&[u8]; 2] = [
    br#"{"channel":"level3","type":"update","data":[{"symbol":""#,
    br#"{"channel":"level3","type":"snapshot","data":[{"symbol":""#,
];

pub struct Routing {
    part: u32,
    parts: u32,
    only: Option<HashSet<String>>,
    finder: memmem::Finder<'static>,
    decided: Names,
    /// By the index of the symbol's text in `decided`.
    handled: Vec<bool>,
}

impl Routing {
    pub fn new((part, parts): (u32, u32), only: Option<HashSet<String>>) -> Self {
        Self {
            part,
            parts: parts.max(1),
            only,
            finder: memmem::Finder::new(KEY),
            decided: Names::default(),
            handled: Vec::new(),
        }
    }

    /// Whether there is anything to decide.
    #[inline(always)]
    pub fn on(&self) -> bool {
        self.parts > 1 || self.only.is_some()
    }

    /// Whether the line at the start of the text, whose length is worked out only when needed, is to be handled.
    #[inline]
    pub fn handles(&mut self, text: &[u8]) -> bool {
        if let Some(symbol) = fast_path_symbol(text) {
            return self.handles_symbol(symbol);
        }
        let line = &text[..memchr(b'\n', text).unwrap_or(text.len())];
        match self.symbol(line) {
            Some(symbol) => self.handles_symbol(symbol),
            None => self.part == 0,
        }
    }

    #[inline(always)]
    fn handles_symbol(&mut self, symbol: &[u8]) -> bool {
        if let Some(index) = self.decided.get(symbol) {
            return self.handled[index];
        }
        let handled = self.decide(symbol);
        if self.decided.add(symbol).is_some() {
            self.handled.push(handled);
        }
        handled
    }

    /// What stands between the quotes of the first `"symbol"` that has a string as its value.
    fn symbol<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = line;
        while let Some(at) = self.finder.find(rest) {
            rest = &rest[at + KEY.len()..];
            if let Some(value) = string_value(rest) {
                return Some(value);
            }
        }
        None
    }

    #[cold]
    fn decide(&self, symbol: &[u8]) -> bool {
        let tables = crc::tables();
        let wanted = |only: &HashSet<String>| only.contains(&String::from_utf8_lossy(symbol).replace("\\/", "/"));
        tables.finish(tables.bytes(symbol)) % self.parts == self.part && self.only.as_ref().is_none_or(wanted)
    }
}

/// The symbol of a line that starts as Kraken's do, if it is no longer than symbols are.
#[inline(always)]
fn fast_path_symbol(text: &[u8]) -> Option<&[u8]> {
    let rest = FAST_PATH_STARTS.iter().find_map(|start| text.strip_prefix(*start))?;
    let end = rest.iter().take(FAST_PATH_SYMBOL_BYTES).position(|byte| matches!(byte, b'"' | b'\n'))?;
    (rest[end] == b'"').then(|| &rest[..end])
}

fn string_value(text: &[u8]) -> Option<&[u8]> {
    let text = without_spaces(text).strip_prefix(b":")?;
    let text = without_spaces(text).strip_prefix(b"\"")?;
    memchr(b'"', text).map(|end| &text[..end])
}

fn without_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| **byte == b' ').count();
    &text[spaces..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(line: &str) -> Option<String> {
        let routing = Routing::new((0, 2), None);
        fast_path_symbol(line.as_bytes())
            .or_else(|| routing.symbol(line.as_bytes()))
            .map(|symbol| String::from_utf8_lossy(symbol).into_owned())
    }

    #[test]
    fn first_symbol_decides() {
        let line = r#"{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","checksum":1}]}"#;
        assert_eq!(symbol(line).as_deref(), Some("BTC/USD"));
        assert_eq!(symbol(r#"{"data":[{"symbol" : "A","x":{"symbol":"B"}}]}"#).as_deref(), Some("A"));
        assert_eq!(symbol(r#"{"x":"symbol","symbol":5,"symbol":"C"}"#).as_deref(), Some("C"));
        assert_eq!(symbol(r#"{"symbol":"D"#), None);
        assert_eq!(symbol(&line.replace("BTC", &"B".repeat(99))), Some("B".repeat(99) + "/USD"));
        assert_eq!(fast_path_symbol(line.replace("/USD\"", "\n\"").as_bytes()), None);
        assert_eq!(symbol(r#"{"channel":"heartbeat"}"#), None);
    }

    #[test]
    fn each_symbol_has_one_part() {
        let mut parts: Vec<_> = (0..3).map(|part| Routing::new((part, 3), None)).collect();
        for line in [r#"{"symbol":"A"}"#, r#"{"symbol":"B"}"#, "[]"] {
            assert_eq!(parts.iter_mut().filter_map(|part| part.handles(line.as_bytes()).then_some(())).count(), 1);
        }
    }

    #[test]
    fn only_the_wanted() {
        let mut routing = Routing::new((0, 1), Some(["BTC/USD".to_owned()].into()));
        assert!(routing.handles(br#"{"symbol":"BTC/USD"}"#));
        assert!(routing.handles(br#"{"symbol":"BTC\/USD"}"#));
        assert!(!routing.handles(br#"{"symbol":"ETH/USD"}"#));
        assert!(routing.handles(b"no symbol"));
    }
}
