//! Which lines an engine handles: nearly all are told from their one symbol before any parsing.

use std::collections::HashSet;

use memchr::{memchr2, memmem};

use crate::crc;
use crate::names::{Name, Names};

const FAST_PATH_SYMBOL_BYTES: usize = 24;
const KEY: &[u8] = br#""symbol""#;
/// How nearly all lines of Kraken's start; the symbol's text follows.
const FAST_PATH_STARTS: [&[u8]; 2] = [
    br#"{"channel":"level3","type":"update","data":[{"symbol":""#,
    br#"{"channel":"level3","type":"snapshot","data":[{"symbol":""#,
];

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Own,
    /// Pass over a line of this length.
    Other(usize),
    /// It may have several symbols, or one that is written otherwise: only parsing tells.
    Parse,
}

/// Whose a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Own,
    OtherEngine,
    /// It is not among those that are wanted.
    Nobody,
}

pub struct Routing {
    part: u32,
    parts: u32,
    only: Option<HashSet<String>>,
    finder: memmem::Finder<'static>,
    decided: Names,
    /// By the index of the symbol's text in `decided`.
    owners: Vec<Owner>,
}

impl Routing {
    pub fn new((part, parts): (u32, u32), only: Option<HashSet<String>>) -> Self {
        Self {
            part,
            parts: parts.max(1),
            only,
            finder: memmem::Finder::new(KEY),
            decided: Names::default(),
            owners: Vec::new(),
        }
    }

    /// Whether there is anything to decide.
    #[inline(always)]
    pub fn on(&self) -> bool {
        self.parts > 1 || self.only.is_some()
    }

    /// Whether lines without a symbol are this engine's.
    pub fn is_first(&self) -> bool {
        self.part == 0
    }

    /// Whether the text starts as Kraken's lines do, with a symbol of this engine. The fast path, which accepts no line
    /// with a second one, may then read it.
    #[inline(always)]
    pub fn starts_with_own(&mut self, text: &[u8]) -> bool {
        fast_path_symbol(text).is_some_and(|symbol| self.owner(symbol) == Owner::Own)
    }

    /// What to do with the line at the start of the text.
    pub fn route(&mut self, text: &[u8]) -> Route {
        let end = memchr2(b'\n', b'\\', text).unwrap_or(text.len());
        if text.get(end) == Some(&b'\\') {
            return Route::Parse;
        }
        let line = &text[..end];
        let mut found = self.finder.find_iter(line);
        let (first, second) = (found.next(), found.next());
        let owner = match (first, second) {
            (None, _) if self.part == 0 => Owner::Own,
            (None, _) => Owner::OtherEngine,
            (Some(at), None) => match string_value(&line[at + KEY.len()..]) {
                Some(symbol) => self.owner(symbol),
                None => return Route::Parse,
            },
            (Some(_), Some(_)) => return Route::Parse,
        };
        if owner == Owner::Own { Route::Own } else { Route::Other(end) }
    }

    /// Whether a symbol is this engine's. `kept`: `Parsed::text`.
    #[inline(always)]
    pub fn owns(&mut self, symbol: Name, kept: &[u8]) -> bool {
        let owner = match self.decided.get(symbol, kept) {
            Some(index) => self.owners[index],
            None => self.owner(&symbol.text(kept)),
        };
        owner == Owner::Own
    }

    #[inline(always)]
    pub fn owner(&mut self, symbol: &[u8]) -> Owner {
        if let Some(index) = self.decided.get_text(symbol) {
            return self.owners[index];
        }
        let owner = self.decide(symbol);
        if self.decided.add(symbol).is_some() {
            self.owners.push(owner);
        }
        owner
    }

    #[cold]
    fn decide(&self, symbol: &[u8]) -> Owner {
        let tables = crc::tables();
        let wanted = |only: &HashSet<String>| std::str::from_utf8(symbol).is_ok_and(|symbol| only.contains(symbol));
        if !self.only.as_ref().is_none_or(wanted) {
            Owner::Nobody
        } else if tables.finish(tables.bytes(symbol)) % self.parts == self.part {
            Owner::Own
        } else {
            Owner::OtherEngine
        }
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
    memchr::memchr(b'"', text).map(|end| &text[..end])
}

fn without_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| **byte == b' ').count();
    &text[spaces..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","checksum":1}]}"#;

    fn routes(line: &str) -> Vec<Route> {
        (0..3).map(|part| Routing::new((part, 3), None).route(line.as_bytes())).collect()
    }

    #[test]
    fn a_line_of_one_symbol_has_one_owner() {
        for line in [LINE, r#"{"symbol" : "A"}"#, r#"{"symbol":"B"}"#, "[]", r#"{"channel":"heartbeat"}"#] {
            let routes = routes(line);
            assert_eq!(routes.iter().filter(|route| **route == Route::Own).count(), 1, "{line}");
            assert_eq!(routes.iter().filter(|route| **route == Route::Other(line.len())).count(), 2, "{line}");
        }
    }

    #[test]
    fn what_the_text_does_not_tell_is_parsed() {
        for line in [
            r#"{"data":[{"symbol":"A"},{"symbol":"B"}]}"#,
            r#"{"symbol":5}"#,
            "{\"symbol\":\t\"A\"}",
            r#"{"sym\u0062ol":"A"}"#,
            r#"{"symbol":"BTC\/USD"}"#,
            r#"{"symbol":"A"#,
        ] {
            assert_eq!(routes(line), [Route::Parse; 3], "{line}");
        }
    }

    #[test]
    fn the_fast_path_is_for_own_symbols() {
        let own =
            |line: &str| (0..3).filter(|part| Routing::new((*part, 3), None).starts_with_own(line.as_bytes())).count();
        assert_eq!(own(LINE), 1);
        assert_eq!(own(&LINE.replace("BTC", &"B".repeat(99))), 0);
        assert_eq!(own(&LINE.replace("/USD\"", "\n\"")), 0);
        assert_eq!(own(r#"{"symbol":"A"}"#), 0);
    }

    #[test]
    fn only_the_wanted() {
        let mut routing = Routing::new((0, 1), Some(["BTC/USD".to_owned()].into()));
        assert_eq!(routing.route(br#"{"symbol":"BTC/USD"}"#), Route::Own);
        assert_eq!(routing.route(br#"{"symbol":"ETH/USD"}"#), Route::Other(20));
        assert_eq!(routing.route(b"no symbol"), Route::Own);
        assert_eq!(routing.owner("BTC/USD".as_bytes()), Owner::Own);
        assert_eq!(routing.owner(b"ETH/USD"), Owner::Nobody);
    }
}
