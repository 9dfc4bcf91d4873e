//! The books of all symbols: what happens to a message once it is parsed (the steps of the port's page), and what is
//! written down about it.

use std::collections::BTreeMap;

use crate::book::{Book, Finding, Untraced};
use crate::columns::{Columns, EventColumns, MessageColumns, MessageRow, RowColumns, Tracing};
use crate::content::Content;
use crate::crc::{self, Tables};
use crate::grid::{self, Grid};
use crate::ids::{InternedIds, Key};
use crate::message::{Element, Entry, Kind, MAX_ID_BYTES, Parsed, Unfit};
use crate::names::{Name, Names};
use crate::notes::{Note, Notes};
use crate::options::RowOptions;
use crate::precision;
use crate::symbol::{self, Bad, Precision, Symbol};
use crate::verdict::{Checksums, Outcome, Reason, UNREADABLE, Verdict};

pub const MAX_ORDERS: usize = 1_000_000;

/// What one block gave.
#[derive(Default)]
pub struct Output {
    pub lines: u64,
    pub messages: Columns,
    pub events: Columns,
    pub overflow_ids: BTreeMap<usize, String>,
    pub rows: Columns,
    pub notes: Vec<Note>,
}

/// Counts over all lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub lines: u64,
    pub not_data: u64,
    pub malformed: u64,
    pub skipped: u64,
    pub too_many_symbols: u64,
    pub level3_elsewhere: u64,
}

/// Where a line stands.
#[derive(Clone, Copy)]
pub struct At<'a> {
    pub line: i64,
    pub offset: i64,
    pub text: &'a [u8],
}

/// What a message states beside its orders, as far as it was read.
#[derive(Clone, Copy)]
struct Stated {
    checksum: i64,
    msg_ns: i64,
}

impl Stated {
    const NOTHING: Self = Self { checksum: -1, msg_ns: 0 };
}

/// The books of all symbols, and what is written down about them.
pub struct Books {
    pub symbols: Vec<Symbol>,
    pub names: Names,
    pub tables: &'static Tables,
    pub totals: Totals,
    pub notes: Notes,
    want_messages: bool,
    want_events: bool,
    rows: Option<RowOptions>,
    until_ns: i64,
    /// Whether the last line came too late and was not taken.
    pub is_late: bool,
    grid: Grid,
    messages: MessageColumns,
    events: EventColumns,
    row_columns: RowColumns,
    content: Content,
    findings: Vec<(Finding, Key)>,
    order_counts: Vec<u32>,
}

impl Books {
    pub fn new(want_messages: bool, want_events: bool, rows: Option<RowOptions>, until_ns: Option<i64>) -> Self {
        Self {
            symbols: Vec::new(),
            names: Names::default(),
            tables: crc::tables(),
            totals: Totals::default(),
            notes: Notes::default(),
            want_messages,
            want_events,
            rows,
            until_ns: until_ns.unwrap_or(i64::MAX),
            is_late: false,
            grid: Grid::default(),
            messages: MessageColumns::default(),
            events: EventColumns::default(),
            row_columns: RowColumns::default(),
            content: Content::default(),
            findings: Vec::new(),
            order_counts: Vec::new(),
        }
    }

    pub fn take_output(&mut self, lines: u64) -> Output {
        let (events, overflow_ids) = std::mem::take(&mut self.events).finish();
        Output {
            lines,
            messages: std::mem::take(&mut self.messages).finish(),
            events,
            overflow_ids,
            rows: std::mem::take(&mut self.row_columns).finish(),
            notes: self.notes.take(),
        }
    }

    pub fn ids(&self) -> impl Iterator<Item = Key> + '_ {
        let wide = self.symbols.iter().filter_map(|symbol| symbol.window.as_ref()).flat_map(|window| window.ids());
        self.symbols.iter().filter_map(|symbol| symbol.book.as_ref()).flat_map(|book| book.ids()).chain(wide)
    }

    /// Index of a symbol, which is made if it is new; None when there are too many.
    #[inline(always)]
    fn index_of(&mut self, name: Name, kept: &[u8]) -> Option<usize> {
        self.names.get(name, kept).or_else(|| self.add(&name.text(kept)))
    }

    /// See `index_of`.
    pub fn index_of_text(&mut self, name: &[u8]) -> Option<usize> {
        self.names.get_text(name).or_else(|| self.add(name))
    }

    #[cold]
    fn add(&mut self, name: &[u8]) -> Option<usize> {
        let index = self.names.add(name)?;
        self.symbols.push(Symbol::new(&String::from_utf8_lossy(name)));
        Some(index)
    }

    #[cold]
    pub fn unreadable(&mut self, at: At, fault: &str) {
        self.totals.malformed += 1;
        self.notes.add(-1, Note { detail: fault.into(), ..Note::new("malformed", at.line, at.offset) });
        self.record(at, -1, UNREADABLE, Outcome::of(Verdict::Malformed), Checksums::NONE, 0);
    }

    /// Handles the messages of a line.
    #[inline(always)]
    pub fn handle(&mut self, parsed: &Parsed, ids: &InternedIds, at: At) {
        let Some(kind) = parsed.kind else { return };
        if !self.names_are_valid(parsed) {
            return self.unreadable(at, "a symbol of no or too many bytes");
        }
        if parsed.elements.iter().any(|element| element.ns > self.until_ns) && self.comes_late(kind, parsed) {
            self.is_late = true;
            return;
        }
        for element in &parsed.elements {
            self.message_of(kind, element, parsed, ids, at);
        }
    }

    /// Handles one message of a line.
    #[inline(always)]
    pub fn message_of(&mut self, kind: Kind, element: &Element, parsed: &Parsed, ids: &InternedIds, at: At) {
        match self.index_of(element.symbol, &parsed.text) {
            Some(index) => self.message(index, kind, element, &parsed.entries, ids, at),
            None => self.too_many_symbols(kind, at),
        }
    }

    #[cold]
    fn comes_late(&mut self, kind: Kind, parsed: &Parsed) -> bool {
        let mut has_book = |element: &Element| {
            let index = self.names.get(element.symbol, &parsed.text);
            index.is_some_and(|index| self.symbols[index].book.is_some())
        };
        let mut late = parsed.elements.iter().filter(|element| element.ns > self.until_ns);
        late.any(|element| kind == Kind::Snapshot || has_book(element))
    }

    /// Whether all symbols of a line can be such.
    #[inline(always)]
    pub fn names_are_valid(&mut self, parsed: &Parsed) -> bool {
        let mut names = parsed.elements.iter().map(|element| element.symbol);
        names.all(|name| (1..=MAX_ID_BYTES).contains(&name.len()) || self.names.get(name, &parsed.text).is_some())
    }

    #[cold]
    fn too_many_symbols(&mut self, kind: Kind, at: At) {
        self.totals.too_many_symbols += 1;
        let detail = Reason::TooManySymbols.name().into();
        self.notes.add(-1, Note { detail, ..Note::new("unverifiable", at.line, at.offset) });
        let outcome = Outcome::unverifiable(Reason::TooManySymbols);
        self.record(at, -1, kind as u8, outcome, Checksums::NONE, 0);
    }

    /// One message of one symbol.
    #[inline(always)]
    fn message(&mut self, index: usize, kind: Kind, element: &Element, entries: &[Entry], ids: &InternedIds, at: At) {
        let symbol = &mut self.symbols[index];
        symbol.tally.messages += 1;
        symbol.tally.last_line = at.line;
        if kind == Kind::Update {
            if symbol.book.is_none() {
                return self.without_book(index, at);
            }
            let unfit = if symbol.open {
                self.read_first_numbers(index, element, entries, at)
            } else {
                self.content.read(element, entries, symbol.precision)
            };
            if let Some(unfit) = unfit {
                return self.refuse(index, kind, unfit, at);
            }
            self.update(index, ids, at);
        } else {
            symbol.tally.snapshots += 1;
            match self.read_inferring(index, kind, element, entries) {
                Ok(precision) => self.snapshot(index, precision, ids, at),
                Err(unfit) => return self.refuse(index, kind, unfit, at),
            }
        }
        self.judge(index, kind, at);
    }

    #[cold]
    fn without_book(&mut self, index: usize, at: At) {
        let symbol = &mut self.symbols[index];
        if symbol.after_gap {
            return self.call_unverifiable(index, Kind::Update, Reason::AfterGap, Stated::NOTHING, at);
        }
        symbol.tally.before_snapshot += 1;
        let outcome = Outcome::of(Verdict::BeforeSnapshot);
        self.record(at, index as i32, Kind::Update as u8, outcome, Checksums::NONE, 0);
    }

    fn read_inferring(
        &mut self,
        index: usize,
        kind: Kind,
        element: &Element,
        entries: &[Entry],
    ) -> Result<Precision, (Unfit, u32)> {
        precision::read(&mut self.content, &self.symbols[index].parameters, kind, element, entries, self.tables)
    }

    /// The first numbers for a book that was empty so far tell its precision.
    #[cold]
    fn read_first_numbers(
        &mut self,
        index: usize,
        element: &Element,
        entries: &[Entry],
        at: At,
    ) -> Option<(Unfit, u32)> {
        if element.bids.range().is_empty() && element.asks.range().is_empty() {
            return self.content.read(element, entries, self.symbols[index].precision);
        }
        match self.read_inferring(index, Kind::Update, element, entries) {
            Err(unfit) => Some(unfit),
            Ok(precision) => {
                let symbol = &mut self.symbols[index];
                let before = symbol.tally.parameters();
                symbol.precision = precision;
                symbol.tally.precision = Some(precision);
                self.note_inferred(index, before, at);
                None
            }
        }
    }

    fn note_inferred(&mut self, index: usize, before: (Option<Precision>, Option<usize>), at: At) {
        let tally = &self.symbols[index].tally;
        let inferred = tally.precision_inferred || tally.depth_inferred;
        if let (Some(Precision { price, qty }), Some(depth)) = tally.parameters()
            && inferred
            && before != tally.parameters()
        {
            let detail = format!("price_precision={price} qty_precision={qty} depth={depth}");
            self.notes.add(index as i32, Note { detail, ..Note::new("inferred", at.line, at.offset) });
        }
    }

    /// Something in the message could not be read.
    #[cold]
    fn refuse(&mut self, index: usize, kind: Kind, (unfit, number): (Unfit, u32), at: At) {
        let symbol = &mut self.symbols[index];
        if unfit == Unfit::TooPrecise {
            let detail = format!("precision: {}", number_at(at.text, number));
            self.notes.add(index as i32, Note { detail, ..Note::new("unverifiable", at.line, at.offset) });
            self.call_unverifiable(index, kind, Reason::Precision, Stated::NOTHING, at);
            return self.drop_book(index, at);
        }
        let had_book = symbol.book.is_some();
        symbol.tally.malformed += 1;
        symbol.blame(bad("malformed", at));
        let note = Note::new("malformed", at.line, at.offset);
        self.notes.add(index as i32, Note { detail: "a number, id or event cannot be read".into(), ..note });
        self.record(at, index as i32, kind as u8, Outcome::of(Verdict::Malformed), Checksums::NONE, 0);
        if kind == Kind::Snapshot && had_book {
            self.drop_book(index, at);
        }
    }

    #[inline(always)]
    fn update(&mut self, index: usize, ids: &InternedIds, at: At) {
        let symbol = &mut self.symbols[index];
        let Some(book) = symbol.book.as_mut() else { return };
        symbol.last_msg_ns = self.content.msg_ns;
        if symbol.window.is_some() || symbol.open {
            return self.update_inferred(index, ids, at);
        }
        let Content { bids, asks, .. } = &self.content;
        let findings = &mut self.findings;
        let mut find = |finding, id| findings.push((finding, id));
        if self.want_events {
            let message = self.messages.len() as u32;
            let mut trace = Tracing { columns: &mut self.events, ids, message };
            book.update(bids, asks, &mut trace, &mut find);
        } else {
            book.update(bids, asks, &mut Untraced, &mut find);
        }
        if !self.findings.is_empty() {
            self.find_each(index, ids, at);
        }
    }

    /// An update while the window or the precision of the book are not known for sure.
    #[cold]
    fn update_inferred(&mut self, index: usize, ids: &InternedIds, at: At) {
        let symbol = &mut self.symbols[index];
        let before = symbol.tally.parameters();
        let Some(book) = symbol.book.as_mut() else { return };
        let message = self.messages.len() as u32;
        let mut trace = Tracing { columns: &mut self.events, ids, message };
        if let Some(window) = &mut symbol.window {
            let (findings, open) = if self.want_events {
                window.update(book, &self.content, MAX_ORDERS, &mut trace, self.tables)
            } else {
                window.update(book, &self.content, MAX_ORDERS, &mut Untraced, self.tables)
            };
            self.findings = findings;
            if !open {
                symbol.window = None;
            }
        } else {
            let Content { bids, asks, .. } = &self.content;
            let mut find = |finding, id| self.findings.push((finding, id));
            if self.want_events {
                book.update(bids, asks, &mut trace, &mut find);
            } else {
                book.update(bids, asks, &mut Untraced, &mut find);
            }
        }
        symbol.open = symbol.open && book.order_count() == 0;
        symbol.tally.depth = Some(book.depth);
        self.note_inferred(index, before, at);
        self.find_each(index, ids, at);
    }

    #[cold]
    fn find_each(&mut self, index: usize, ids: &InternedIds, at: At) {
        for (finding, id) in std::mem::take(&mut self.findings) {
            let kind = match finding {
                Finding::UnknownId => "unknown_id",
                Finding::WrongSide => "wrong_side",
            };
            self.find(index, kind, ids.text(id), at);
        }
    }

    fn find(&mut self, index: usize, kind: &'static str, detail: String, at: At) {
        let symbol = &mut self.symbols[index];
        symbol::count(&mut symbol.tally.findings, kind);
        symbol.blame(bad(kind, at));
        self.notes.add(index as i32, Note { detail, ..Note::new(kind, at.line, at.offset) });
    }

    fn snapshot(&mut self, index: usize, precision: Precision, ids: &InternedIds, at: At) {
        let symbol = &mut self.symbols[index];
        let before = symbol.tally.parameters();
        let Content { bids, asks, .. } = &self.content;
        let levels = symbol::most_levels(bids, asks);
        let depth = symbol.parameters.depth_for(levels);
        let mut book = Book::new(depth);
        book.fill(bids, asks);
        book.truncate(&mut Untraced);
        if self.want_events {
            let message = self.messages.len() as u32;
            book.tell(&mut Tracing { columns: &mut self.events, ids, message });
        }
        if symbol.adopt(book, precision, &self.content) {
            let note = Note::new("incident_closed", at.line, at.offset);
            self.notes.add(index as i32, Note { detail: "snapshot".into(), ..note });
        }
        self.note_inferred(index, before, at);
        if levels > depth && self.symbols[index].parameters.depth.is_some() {
            self.find(index, "too_deep", String::new(), at);
        }
    }

    pub fn load(
        &mut self,
        index: usize,
        entries: &[Entry],
        element: &Element,
        newest_ns: i64,
        amending: &[Key],
    ) -> bool {
        let Ok(precision) = self.read_inferring(index, Kind::Snapshot, element, entries) else {
            return false;
        };
        let Content { bids, asks, checksum, .. } = &self.content;
        let symbol = &mut self.symbols[index];
        let mut book = Book::new(symbol.parameters.depth_for(symbol::most_levels(bids, asks)));
        book.fill(bids, asks);
        book.truncate(&mut Untraced);
        if i64::from(book.checksum(self.tables)) != *checksum {
            return false;
        }
        book.memory.newest_ns = book.memory.newest_ns.max(newest_ns);
        for id in amending {
            book.memory.remember_amend(*id);
        }
        symbol.adopt(book, precision, &self.content);
        symbol.last_verdict = Verdict::Ok as u8;
        true
    }

    /// The whole message is applied: compare.
    #[inline(always)]
    fn judge(&mut self, index: usize, kind: Kind, at: At) {
        let stated = Stated { checksum: self.content.checksum, msg_ns: self.content.msg_ns };
        let expected = stated.checksum;
        let Some(book) = self.symbols[index].book.as_mut() else { return };
        let too_many = book.order_count() > MAX_ORDERS;
        let crossed = book.crossed();
        let too_large = book.too_large();
        let unverifiable = expected < 0 || too_large;
        let computed = if unverifiable || too_many { -1 } else { i64::from(book.checksum(self.tables)) };
        if crossed {
            self.find(index, "crossed", String::new(), at);
        }
        if too_many {
            return self.too_many_orders(index, kind, stated, at);
        }
        let symbol = &mut self.symbols[index];
        let verdict = if unverifiable {
            Verdict::Unverifiable
        } else if computed == expected {
            Verdict::Ok
        } else {
            Verdict::Mismatch
        };
        symbol.last_verdict = verdict as u8;
        symbol.last_line = at.line;
        match verdict {
            Verdict::Ok => {
                symbol.tally.ok += 1;
                symbol.tally.last_ok_line = at.line;
                if symbol.agree() {
                    let note = Note::new("incident_closed", at.line, at.offset);
                    self.notes.add(index as i32, Note { detail: "match".into(), ..note });
                }
            }
            Verdict::Mismatch => self.differ(index, Checksums { expected, computed }, at),
            _ if expected < 0 => self.call_unverifiable(index, kind, Reason::NoChecksum, stated, at),
            _ => self.call_unverifiable(index, kind, Reason::TooLarge, stated, at),
        }
        if verdict != Verdict::Unverifiable {
            let checksums = Checksums { expected, computed };
            self.record(at, index as i32, kind as u8, Outcome::of(verdict), checksums, stated.msg_ns);
        }
        if let Some(rows @ RowOptions { grid_ns: None, .. }) = self.rows {
            self.row_at_change(index, rows);
        }
    }

    #[cold]
    fn differ(&mut self, index: usize, checksums: Checksums, at: At) {
        let symbol = &mut self.symbols[index];
        let (expected, computed) = (Some(checksums.expected), Some(checksums.computed));
        symbol.tally.mismatched += 1;
        symbol.blame(Bad { expected, computed, ..bad("mismatch", at) });
        if symbol.differ() {
            let note = Note::new("incident_opened", at.line, at.offset);
            self.notes.add(index as i32, Note { expected, computed, ..note });
        }
    }

    #[cold]
    fn too_many_orders(&mut self, index: usize, kind: Kind, stated: Stated, at: At) {
        let detail = Reason::TooManyOrders.name().into();
        self.notes.add(index as i32, Note { detail, ..Note::new("unverifiable", at.line, at.offset) });
        self.call_unverifiable(index, kind, Reason::TooManyOrders, stated, at);
        self.drop_book(index, at);
    }

    fn call_unverifiable(&mut self, index: usize, kind: Kind, reason: Reason, stated: Stated, at: At) {
        symbol::count(&mut self.symbols[index].tally.unverifiable, reason.name());
        let checksums = Checksums::expected(stated.checksum);
        self.record(at, index as i32, kind as u8, Outcome::unverifiable(reason), checksums, stated.msg_ns);
    }

    fn drop_book(&mut self, index: usize, at: At) {
        if self.symbols[index].drop_book(false) {
            let note = Note::new("incident_closed", at.line, at.offset);
            self.notes.add(index as i32, Note { detail: "dropped".into(), ..note });
        }
    }

    #[inline(always)]
    fn record(&mut self, at: At, symbol: i32, kind: u8, outcome: Outcome, checksums: Checksums, msg_ns: i64) {
        if self.want_messages {
            let (verdict, reason) = (outcome.verdict as u8, outcome.reason as u8);
            let Checksums { expected, computed } = checksums;
            self.messages.push(MessageRow { line: at.line, symbol, kind, verdict, reason, expected, computed, msg_ns });
        }
    }

    fn row_at_change(&mut self, index: usize, rows: RowOptions) {
        let symbol = &mut self.symbols[index];
        if !symbol.show_top(rows.levels) {
            return;
        }
        let at_ns = self.grid.clock_ns.unwrap_or(symbol.last_msg_ns);
        if rows.orders {
            symbol.order_counts(rows.levels, &mut self.order_counts);
        }
        let top = symbol.last_top.as_deref().unwrap_or_default();
        self.row_columns.push(grid::head(index, symbol, at_ns), top, &self.order_counts);
    }

    /// The receive clock runs on: show the grid instants that it passes.
    #[inline(always)]
    pub fn tick(&mut self, recv_ns: i64) {
        if let Some(rows) = self.rows {
            self.grid.tick(recv_ns, rows, &self.symbols, &mut self.row_columns);
        }
    }
}

fn bad(kind: &'static str, at: At) -> Bad {
    Bad { kind, line: at.line, offset: at.offset, expected: None, computed: None }
}

/// The text of the JSON value at this place of a line.
fn number_at(line: &[u8], at: u32) -> String {
    let rest = line.get(at as usize..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\r'));
    String::from_utf8_lossy(&rest[..end.unwrap_or(rest.len())]).into_owned()
}
