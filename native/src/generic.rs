//! The complete parser: any JSON line, whatever its key order, spacing, escapes and number forms.
//!
//! The fallback behind the fast path of `scan`, which leaves everything to it that Kraken does not normally write.

use crate::decimal::Decimal;
use crate::ids::{InternedIds, Key};
use crate::json::{Cursor, Fault};
use crate::message::{Action, Element, Entry, Kind, MAX_ID_BYTES, Number, Parsed, Span};
use crate::names::Name;
use crate::time;

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Level3 messages, now in `Parsed`.
    Level3,
    /// Valid JSON of some other kind.
    NotData,
    Malformed(Fault),
}

/// Parses one line without its end.
pub fn parse(line: &[u8], parsed: &mut Parsed, ids: &mut InternedIds) -> Line {
    parsed.clear();
    let Ok(text) = std::str::from_utf8(line) else {
        return Line::Malformed("not UTF-8");
    };
    match level3(text, parsed, ids) {
        Ok(true) => Line::Level3,
        Ok(false) => Line::NotData,
        Err(fault) => Line::Malformed(fault),
    }
}

/// The values of the outermost object; the last of equal keys wins, but each must have the right shape.
#[derive(Default)]
struct Envelope<'a> {
    channel: Option<&'a str>,
    kind: Option<&'a str>,
    data: Vec<usize>,
    mistyped: bool,
}

impl<'a> Envelope<'a> {
    fn word(&mut self, value: &'a str) -> Option<&'a str> {
        self.mistyped |= !value.starts_with('"');
        Some(value)
    }
}

fn level3(text: &str, parsed: &mut Parsed, ids: &mut InternedIds) -> Result<bool, Fault> {
    let mut cursor = Cursor::new(text, 0);
    let mut envelope = Envelope::default();
    if cursor.peek() != b'{' {
        cursor.value()?;
        return cursor.finish().map(|()| false);
    }
    cursor.object(|cursor, key| {
        let at = cursor.position();
        let value = cursor.value()?;
        match key {
            "channel" => envelope.channel = envelope.word(value),
            "type" => envelope.kind = envelope.word(value),
            "data" => envelope.data.push(at),
            _ => {}
        }
        Ok(())
    })?;
    cursor.finish()?;
    parsed.kind = match (is(envelope.channel, "level3"), envelope.kind) {
        (true, kind) if is(kind, "update") => Some(Kind::Update),
        (true, kind) if is(kind, "snapshot") => Some(Kind::Snapshot),
        _ => return Ok(false),
    };
    if envelope.mistyped || envelope.data.is_empty() {
        return Err("a level3 message without data, or with a channel or type that is no string");
    }
    for at in envelope.data {
        parsed.elements.clear();
        Cursor::new(text, at).array(|cursor| element(cursor, parsed, ids))?;
    }
    Ok(true)
}

fn is(value: Option<&str>, word: &str) -> bool {
    value.is_some_and(|value| Cursor::new(value, 0).string().is_ok_and(|text| text == word))
}

fn element(cursor: &mut Cursor, parsed: &mut Parsed, ids: &mut InternedIds) -> Result<(), Fault> {
    let mut found = Element {
        symbol: Name::default(),
        checksum: -1,
        ns: 0,
        readable: true,
        bids: Span::default(),
        asks: Span::default(),
    };
    let (mut checksum, mut named) = (Some(-1), false);
    cursor.object(|cursor, key| {
        match key {
            "symbol" => {
                found.symbol = parsed.keep(cursor.string()?.as_bytes());
                named = true;
            }
            "checksum" => checksum = checksum_of(cursor.value()?),
            "timestamp" => found.ns = time_of(cursor)?,
            "bids" => found.bids = entries(cursor, parsed, ids)?,
            "asks" => found.asks = entries(cursor, parsed, ids)?,
            _ => drop(cursor.value()?),
        }
        Ok(())
    })?;
    if !named {
        return Err("no symbol");
    }
    found.readable = checksum.is_some();
    found.checksum = checksum.unwrap_or(-1);
    parsed.elements.push(found);
    Ok(())
}

/// An unsigned integer below 2^63, quoted or not; -1 for null. None: cannot be read.
fn checksum_of(value: &str) -> Option<i64> {
    if value == "null" {
        return Some(-1);
    }
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let digits = quoted.unwrap_or(value);
    let plain = (1..=19).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Nanoseconds, 0 when null or not readable.
fn time_of(cursor: &mut Cursor) -> Result<i64, Fault> {
    if cursor.null() {
        return Ok(0);
    }
    Ok(time::parse(cursor.string()?.as_bytes()).unwrap_or(0))
}

fn entries(cursor: &mut Cursor, parsed: &mut Parsed, ids: &mut InternedIds) -> Result<Span, Fault> {
    let start = parsed.entries.len() as u32;
    if !cursor.null() {
        cursor.array(|cursor| {
            let entry = entry(cursor, parsed.kind == Some(Kind::Update), ids)?;
            parsed.entries.push(entry);
            Ok(())
        })?;
    }
    Ok(Span { start, end: parsed.entries.len() as u32 })
}

/// What an entry's keys held; None: absent, or its value cannot be read.
#[derive(Default)]
struct Fields {
    id: Option<Key>,
    action: Option<Action>,
    price: Option<Number>,
    qty: Option<Number>,
    ns: i64,
}

fn entry(cursor: &mut Cursor, with_event: bool, ids: &mut InternedIds) -> Result<Entry, Fault> {
    let mut fields = Fields::default();
    cursor.object(|cursor, key| {
        match key {
            "order_id" => fields.id = id_of(&cursor.string()?, ids),
            "limit_price" => fields.price = number(cursor)?,
            "order_qty" => fields.qty = number(cursor)?,
            "timestamp" => fields.ns = time_of(cursor)?,
            "event" => fields.action = action_of(&cursor.string()?),
            _ => drop(cursor.value()?),
        }
        Ok(())
    })?;
    if !with_event {
        fields.action = Some(Action::Add);
    }
    if fields.action == Some(Action::Delete) {
        // A delete's price is not read.
        fields.price = Some(Number::NONE);
    }
    Ok(fields.entry())
}

impl Fields {
    fn entry(self) -> Entry {
        let numbers = self.price.is_some() && self.qty.is_some();
        Entry {
            numbers,
            readable: numbers && self.id.is_some() && self.action.is_some(),
            id: self.id.unwrap_or(0),
            ns: self.ns,
            price: self.price.unwrap_or(Number::NONE),
            qty: self.qty.unwrap_or(Number::NONE),
            action: self.action.unwrap_or(Action::Delete),
        }
    }
}

fn id_of(text: &str, ids: &mut InternedIds) -> Option<Key> {
    (1..=MAX_ID_BYTES).contains(&text.len()).then(|| ids.key(text))
}

fn action_of(text: &str) -> Option<Action> {
    match text {
        "add" => Some(Action::Add),
        "modify" => Some(Action::Modify),
        "delete" => Some(Action::Delete),
        _ => None,
    }
}

fn number(cursor: &mut Cursor) -> Result<Option<Number>, Fault> {
    let at = cursor.position() as u32;
    Ok(Decimal::parse(cursor.value()?.as_bytes()).map(|decimal| Number::new(decimal, at)))
}
