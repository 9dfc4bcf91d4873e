//! All that the engine keeps of one symbol: what is known of it, its book, its state and its counts.

use crate::book::{Book, Change};
use crate::content::Content;
use crate::crc::Tables;
use crate::depth::{InferredWindow, smallest_depth};
use crate::ids::InternedIds;
use crate::level::Level;
use crate::side::CHECKSUM_LEVELS;
use crate::time;

pub const MAX_PRECISION: u32 = 18;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Precision {
    pub price: u32,
    pub qty: u32,
}

/// Precision and depth of a symbol's books, where they were told.
#[derive(Debug, Default)]
pub struct BookParameters {
    pub price_precision: Option<u32>,
    pub qty_precision: Option<u32>,
    pub depth: Option<usize>,
}

impl BookParameters {
    /// Whether a precision has to be inferred.
    pub fn need_precision(&self) -> bool {
        self.price_precision.is_none() || self.qty_precision.is_none()
    }

    /// What was told, and where nothing was told what was inferred.
    pub fn precision(&self, inferred: Precision) -> Precision {
        Precision {
            price: self.price_precision.unwrap_or(inferred.price),
            qty: self.qty_precision.unwrap_or(inferred.qty),
        }
    }

    /// The depth that holds from a snapshot with so many levels on its longer side.
    pub fn depth_for(&self, levels: usize) -> usize {
        self.depth.unwrap_or_else(|| smallest_depth(levels))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    AwaitingSnapshot = 0,
    Synced = 1,
    Diverged = 2,
}

/// The first bad thing of a symbol.
#[derive(Clone, Copy, Debug)]
pub struct Bad {
    pub kind: &'static str,
    pub line: i64,
    pub offset: i64,
    pub expected: Option<i64>,
    pub computed: Option<i64>,
}

#[derive(Debug, Default)]
pub struct Tally {
    pub depth: Option<usize>,
    pub depth_inferred: bool,
    pub precision: Option<Precision>,
    pub precision_inferred: bool,
    pub messages: u64,
    pub snapshots: u64,
    pub ok: u64,
    pub mismatched: u64,
    pub incidents: u64,
    pub before_snapshot: u64,
    pub malformed: u64,
    pub unverifiable: Vec<(&'static str, u64)>,
    pub findings: Vec<(&'static str, u64)>,
    pub first_bad: Option<Bad>,
    pub last_line: i64,
    pub last_ok_line: i64,
}

impl Tally {
    /// Precision and depth of the last book.
    pub fn parameters(&self) -> (Option<Precision>, Option<usize>) {
        (self.precision, self.depth)
    }
}

/// Adds one to a count by name.
pub fn count(counts: &mut Vec<(&'static str, u64)>, name: &'static str) {
    match counts.iter_mut().find(|(other, _)| *other == name) {
        Some((_, number)) => *number += 1,
        None => counts.push((name, 1)),
    }
}

#[derive(Debug)]
pub struct Symbol {
    pub name: Box<str>,
    pub parameters: BookParameters,
    pub tally: Tally,
    pub state: State,
    pub book: Option<Box<Book>>,
    pub precision: Precision,
    /// Nothing told the precision, and no number was seen since the snapshot.
    pub open: bool,
    /// None when the depth was told, or the data has told it since the snapshot.
    pub window: Option<InferredWindow>,
    /// A gap took the book.
    pub after_gap: bool,
    pub last_line: i64,
    pub last_msg_ns: i64,
    pub last_verdict: u8,
    pub last_top: Option<Vec<i64>>,
}

impl Symbol {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            parameters: BookParameters::default(),
            tally: Tally { last_line: -1, last_ok_line: -1, ..Tally::default() },
            state: State::AwaitingSnapshot,
            book: None,
            precision: Precision::default(),
            open: false,
            window: None,
            after_gap: false,
            last_line: -1,
            last_msg_ns: 0,
            last_verdict: 0,
            last_top: None,
        }
    }

    fn enter(&mut self, state: State) -> bool {
        let closed = self.state == State::Diverged;
        self.state = state;
        closed
    }

    /// Takes a snapshot's book; true when that closed an incident.
    pub fn adopt(&mut self, book: Book, precision: Precision, content: &Content) -> bool {
        self.precision = precision;
        self.open = self.parameters.need_precision() && content.bids.is_empty() && content.asks.is_empty();
        if !self.open {
            self.tally.precision = Some(precision);
        }
        self.window = if self.parameters.depth.is_none() { InferredWindow::new(book.depth) } else { None };
        self.tally.precision_inferred = self.parameters.need_precision();
        self.tally.depth = Some(book.depth);
        self.tally.depth_inferred = self.parameters.depth.is_none();
        self.book = Some(Box::new(book));
        self.last_msg_ns = content.msg_ns;
        self.after_gap = false;
        self.last_top = None;
        self.enter(State::Synced)
    }

    /// The book is gone; true when that closed an incident.
    pub fn drop_book(&mut self, gap: bool) -> bool {
        self.book = None;
        self.last_top = None;
        self.after_gap = gap;
        self.enter(State::AwaitingSnapshot)
    }

    /// A checksum differed; true when that opened an incident.
    pub fn differ(&mut self) -> bool {
        let opened = self.state == State::Synced;
        if opened {
            self.state = State::Diverged;
            self.tally.incidents += 1;
        }
        opened
    }

    /// A checksum agreed; true when that closed an incident.
    #[inline(always)]
    pub fn agree(&mut self) -> bool {
        self.state == State::Diverged && self.enter(State::Synced)
    }

    /// Keeps the first bad thing.
    pub fn blame(&mut self, bad: Bad) {
        self.tally.first_bad.get_or_insert(bad);
    }

    /// How many orders the best bid and ask levels have, filled up with 0.
    pub fn order_counts(&self, levels: usize, counts: &mut Vec<u32>) {
        counts.clear();
        let Some(book) = &self.book else { return };
        for (side, is_bid) in [true, false].into_iter().enumerate() {
            counts.extend(book.levels(is_bid).take(levels).map(|level| level.orders.len() as u32));
            counts.resize((side + 1) * levels, 0);
        }
    }

    /// Prices and quantities of the best levels, filled up with -1 and 0, as `RowColumns::push` takes them.
    pub fn top(&self, levels: usize, top: &mut Vec<i64>) {
        top.clear();
        let Some(book) = &self.book else { return };
        for is_bid in [true, false] {
            let start = top.len();
            top.extend(book.levels(is_bid).take(levels).map(Level::price));
            top.resize(start + levels, -1);
            top.extend(book.levels(is_bid).take(levels).map(|level| level.qty()));
            top.resize(start + 2 * levels, 0);
        }
    }

    /// Brings `last_top` up to date; whether that changed anything.
    #[inline(always)]
    pub fn show_top(&mut self, levels: usize) -> bool {
        let Some(book) = &mut self.book else { return false };
        let mut same = book.show();
        let changed = self.last_top.is_none();
        if changed || levels > CHECKSUM_LEVELS {
            same = [0; 2];
        }
        let top = self.last_top.get_or_insert_with(|| vec![0; 4 * levels]);
        let mut changes = 0;
        for ((same, is_bid), top) in same.into_iter().zip([true, false]).zip(top.chunks_exact_mut(2 * levels)) {
            if same >= levels {
                continue;
            }
            let (prices, qtys) = top.split_at_mut(levels);
            let mut best_first = book.levels(is_bid).skip(same);
            for (price, qty) in prices[same..].iter_mut().zip(&mut qtys[same..]) {
                let now = best_first.next().map_or((-1, 0), |level| (level.price(), level.qty()));
                changes |= (*price ^ now.0) | (*qty ^ now.1);
                (*price, *qty) = now;
            }
        }
        changed || changes != 0
    }

    /// The book in the shape of a Kraken snapshot.
    pub fn image(&mut self, ids: &InternedIds, tables: &Tables) -> Option<String> {
        let book = self.book.as_mut()?;
        let checksum = book.checksum(tables);
        let mut text = String::from(r#"{"channel":"level3","type":"snapshot","data":[{"symbol":"#);
        write_quoted(&self.name, &mut text);
        text.extend([r#","checksum":"#, &checksum.to_string()]);
        for (name, is_bid) in [("bids", true), ("asks", false)] {
            text.extend([",\"", name, "\":["]);
            for level in book.levels(is_bid) {
                write_level(level, self.precision, ids, &mut text);
            }
            if text.ends_with(',') {
                text.pop();
            }
            text.push(']');
        }
        write_time(self.last_msg_ns, &mut text);
        text += "}]}";
        Some(text)
    }
}

fn write_level(level: &Level, precision: Precision, ids: &InternedIds, text: &mut String) {
    let mut price = String::new();
    write_decimal(level.price().into(), precision.price, &mut price);
    for order in &level.orders {
        text.push_str(r#"{"order_id":"#);
        write_quoted(&ids.text(order.id), text);
        text.extend([r#","limit_price":"#, &price, r#","order_qty":"#]);
        write_decimal(order.qty, precision.qty, text);
        write_time(order.ns, text);
        text.push_str("},");
    }
}

fn write_time(ns: i64, text: &mut String) {
    if ns != 0 {
        text.push_str(r#","timestamp":""#);
        time::write(ns, text);
        text.push('"');
    }
}

/// A scaled number with every decimal written out.
fn write_decimal(value: i128, precision: u32, text: &mut String) {
    let digits = value.to_string();
    let precision = precision as usize;
    if precision == 0 {
        text.push_str(&digits);
        return;
    }
    let whole = digits.len().saturating_sub(precision);
    text.push_str(if whole == 0 { "0" } else { &digits[..whole] });
    text.push('.');
    text.extend(std::iter::repeat_n('0', precision - (digits.len() - whole)));
    text.push_str(&digits[whole..]);
}

/// A JSON string, escaped as msgspec does.
fn write_quoted(plain: &str, text: &mut String) {
    text.push('"');
    for symbol in plain.chars() {
        match symbol {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\0'..='\u{1f}' => text.push_str(&format!("\\u{:04x}", symbol as u32)),
            _ => text.push(symbol),
        }
    }
    text.push('"');
}

/// How many levels the longer side of a snapshot states.
pub fn most_levels(bids: &[Change], asks: &[Change]) -> usize {
    let levels = |changes: &[Change]| {
        let mut prices: Vec<i64> = changes.iter().map(|change| change.price).collect();
        prices.sort_unstable();
        prices.dedup();
        prices.len()
    };
    levels(bids).max(levels(asks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_out() {
        let written = |value, precision| {
            let mut text = String::new();
            write_decimal(value, precision, &mut text);
            text
        };
        assert_eq!(written(5, 2), "0.05");
        assert_eq!(written(12345, 2), "123.45");
        assert_eq!(written(0, 8), "0.00000000");
        assert_eq!(written(7, 0), "7");
    }

    #[test]
    fn texts_are_escaped() {
        let mut text = String::new();
        write_quoted("a\"\\\n\u{1}é", &mut text);
        assert_eq!(text, r#""a\"\\\n\u0001é""#);
    }
}
