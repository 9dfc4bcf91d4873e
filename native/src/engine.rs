//! The engine: blocks of lines in, verdicts and columns out. `kraken_l3.engine.port` is its contract, with the life
//! of a line step by step; `kraken_l3.engine.python` its twin.

use std::collections::HashSet;

use memchr::memchr;

use crate::book::{Book, Change, Fault, Untraced};
use crate::columns::{Columns, EventColumns, MessageColumns, MessageRow, RowColumns, Tracing};
use crate::crc::{self, Tables};
use crate::generic::{self, Line};
use crate::grid::Grid;
use crate::ids::{Key, OddIds};
use crate::message::{Element, Entry, Kind, MAX_ID_BYTES, Parsed, Unfit};
use crate::names::Names;
use crate::notes::{Note, Notes};
use crate::routing::Routing;
use crate::scan;
use crate::symbol::{self, Bad, Precision, Symbol};
use crate::time::UsualTime;

pub const MAX_ORDERS: usize = 1_000_000;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What became of one message (`Verdict` of the port).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok = 0,
    Mismatch = 1,
    BeforeSnapshot = 2,
    Unverifiable = 3,
    Malformed = 4,
}

/// Why a message is unverifiable: number and name of the port's `Reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    None = 0,
    NoChecksum = 1,
    Precision = 2,
    AfterGap = 3,
    TooManyOrders = 4,
    TooManySymbols = 5,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NoChecksum => "no_checksum",
            Self::Precision => "precision",
            Self::AfterGap => "after_gap",
            Self::TooManyOrders => "too_many_orders",
            Self::TooManySymbols => "too_many_symbols",
        }
    }
}

/// `MessageKind.UNREADABLE` of the port.
const UNREADABLE: u8 = 2;

/// Book rows wanted.
#[derive(Clone, Copy, Debug)]
pub struct RowOptions {
    pub levels: usize,
    pub grid_ns: Option<i64>,
    /// With the number of orders of each level.
    pub orders: bool,
}

/// `EngineOptions` of the port.
#[derive(Debug, Default)]
pub struct Options {
    pub messages: bool,
    pub events: bool,
    pub rows: Option<RowOptions>,
    pub part: (u32, u32),
    pub only: Option<HashSet<String>>,
}

/// What one block gave.
#[derive(Default)]
pub struct Output {
    pub lines: u64,
    pub messages: Columns,
    pub events: Columns,
    pub overflow_ids: std::collections::BTreeMap<usize, String>,
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
}

/// What a message says, read at its symbol's precision.
#[derive(Default)]
struct Content {
    bids: Vec<Change>,
    asks: Vec<Change>,
    checksum: i64,
    msg_ns: i64,
}

impl Content {
    /// None: fine. Otherwise what is worst in it, with the place of the first number that is too fine.
    fn read(&mut self, element: &Element, entries: &[Entry], precision: Precision) -> Option<(Unfit, u32)> {
        self.checksum = element.checksum;
        self.msg_ns = element.ns;
        let mut readable = element.readable;
        let mut too_fine = None;
        for (span, changes) in [(element.bids, &mut self.bids), (element.asks, &mut self.asks)] {
            changes.clear();
            for entry in &entries[span.range()] {
                readable &= entry.readable;
                let mut scaled = |number: crate::message::Number, precision| match number.scaled(precision) {
                    Ok(value) => value,
                    Err(Unfit::TooPrecise) => {
                        too_fine.get_or_insert(number.at);
                        0
                    }
                    Err(Unfit::Unreadable) => {
                        readable = false;
                        0
                    }
                };
                changes.push(Change {
                    id: entry.id,
                    ns: entry.ns,
                    price: scaled(entry.price, precision.price),
                    qty: scaled(entry.qty, precision.qty),
                    action: entry.action,
                });
            }
        }
        if !readable {
            return Some((Unfit::Unreadable, 0));
        }
        too_fine.map(|at| (Unfit::TooPrecise, at))
    }
}

/// Where a line stands.
#[derive(Clone, Copy)]
struct At<'a> {
    line: i64,
    offset: i64,
    text: &'a [u8],
}

/// One engine: a parser in front of the books of all symbols.
pub struct Engine {
    parsed: Parsed,
    time: UsualTime,
    ids: OddIds,
    routing: Routing,
    books: Books,
}

impl Engine {
    pub fn new(options: Options) -> Self {
        Self {
            parsed: Parsed::default(),
            time: UsualTime::default(),
            ids: OddIds::default(),
            routing: Routing::new(options.part, options.only),
            books: Books::new(options.messages, options.events, options.rows),
        }
    }

    /// Processes a block of whole lines. `recv_ns` has one time a line, which the caller has made sure of.
    pub fn feed(&mut self, block: &[u8], first_line: i64, offset: i64, recv_ns: Option<&[i64]>) -> Output {
        let mut times = recv_ns.unwrap_or_default().iter();
        let mut line = first_line;
        let mut start = 0;
        while start < block.len() {
            if let Some(time) = times.next() {
                self.books.tick(*time);
            }
            let here = offset.saturating_add(start as i64);
            let bom = if here == 0 && block.starts_with(BOM) { BOM.len() } else { 0 };
            let length = bom + self.line(&block[start + bom..], line, here);
            start += length + 1;
            line = line.saturating_add(1);
        }
        let lines = line.saturating_sub(first_line) as u64;
        self.books.totals.lines += lines;
        if self.ids.wants_sweep() {
            self.ids.sweep(self.books.ids());
        }
        self.books.take_output(lines)
    }

    /// Handles the line at the start of the text; its length without the newline.
    #[inline(always)]
    fn line(&mut self, text: &[u8], line: i64, offset: i64) -> usize {
        if self.routing.on() && !self.routing.handles(text) {
            self.books.totals.skipped += 1;
            return memchr(b'\n', text).unwrap_or(text.len());
        }
        if let Some(length) = scan::scan(text, &mut self.parsed, &mut self.time) {
            let at = At { line, offset, text: &text[..length] };
            self.books.handle(&self.parsed, &self.ids, at);
            return length;
        }
        self.odd_line(text, line, offset)
    }

    #[cold]
    fn odd_line(&mut self, text: &[u8], line: i64, offset: i64) -> usize {
        let length = memchr(b'\n', text).unwrap_or(text.len());
        let at = At { line, offset, text: &text[..length] };
        if at.text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            self.books.totals.not_data += 1;
            return length;
        }
        match generic::parse(at.text, &mut self.parsed, &mut self.ids) {
            Line::NotData => self.books.totals.not_data += 1,
            Line::Malformed(fault) => self.books.unreadable(at, fault),
            Line::Level3 => self.books.handle(&self.parsed, &self.ids, at),
        }
        length
    }

    /// Lets the receive clock run on without a line.
    pub fn advance(&mut self, recv_ns: i64) -> Output {
        self.books.tick(recv_ns);
        self.books.take_output(0)
    }

    /// Says what is known of a symbol from its next snapshot on.
    pub fn set_symbol(&mut self, name: &str, price: Option<u32>, qty: Option<u32>, depth: Option<usize>) {
        if let Some(index) = self.books.index_of(name.as_bytes()) {
            let facts = &mut self.books.symbols[index].facts;
            facts.price_precision = price.or(facts.price_precision);
            facts.qty_precision = qty.or(facts.qty_precision);
            facts.depth = depth.or(facts.depth);
        }
    }

    /// Takes away the book of a symbol, or of all.
    pub fn invalidate(&mut self, name: Option<&str>) -> Vec<Note> {
        let books = &mut self.books;
        for index in 0..books.symbols.len() {
            let symbol = &mut books.symbols[index];
            if name.is_some_and(|name| name != &*symbol.name) || symbol.book.is_none() {
                continue;
            }
            if symbol.drop_book(true) {
                let note = Note { detail: "gap".into(), ..Note::new("incident_closed", -1, -1) };
                books.notes.add(index as i32, note);
            }
        }
        books.notes.take()
    }

    /// Goes on from a book; false when it cannot be read or its checksum does not match.
    pub fn load_book(&mut self, name: &str, message: &[u8], newest_ns: i64, amending: &[String]) -> bool {
        let Some(index) = self.books.index_of(name.as_bytes()) else {
            return false;
        };
        let line = generic::parse(message, &mut self.parsed, &mut self.ids);
        let amending: Vec<Key> = amending.iter().map(|id| self.ids.key(id)).collect();
        let [element] = self.parsed.elements[..] else {
            return false;
        };
        if line != Line::Level3 || self.parsed.kind != Some(Kind::Snapshot) {
            return false;
        }
        if self.parsed.text[element.symbol.range()] != *name.as_bytes() {
            return false;
        }
        self.books.load(index, &self.parsed.entries, &element, newest_ns, &amending)
    }

    /// The book as it stands: its message, newest time and the ids being amended.
    pub fn export_book(&mut self, name: &str) -> Option<(String, i64, Vec<String>)> {
        let index = self.books.names.get(name.as_bytes())?;
        let symbol = &mut self.books.symbols[index];
        let message = symbol.image(&self.ids, self.books.tables)?;
        let memory = &symbol.book.as_ref()?.memory;
        Some((message, memory.newest_ns, memory.amending().map(|id| self.ids.text(id)).collect()))
    }

    pub fn symbols(&self) -> &[Symbol] {
        &self.books.symbols
    }

    pub fn totals(&self) -> Totals {
        self.books.totals
    }
}

/// The books of all symbols, and what is written down about them.
struct Books {
    symbols: Vec<Symbol>,
    names: Names,
    tables: &'static Tables,
    totals: Totals,
    notes: Notes,
    want_messages: bool,
    want_events: bool,
    rows: Option<RowOptions>,
    grid: Grid,
    messages: MessageColumns,
    events: EventColumns,
    row_columns: RowColumns,
    content: Content,
    faults: Vec<(Fault, Key)>,
    top: Vec<i64>,
    order_counts: Vec<u32>,
}

impl Books {
    fn new(want_messages: bool, want_events: bool, rows: Option<RowOptions>) -> Self {
        Self {
            symbols: Vec::new(),
            names: Names::default(),
            tables: crc::tables(),
            totals: Totals::default(),
            notes: Notes::default(),
            want_messages,
            want_events,
            rows,
            grid: Grid::default(),
            messages: MessageColumns::default(),
            events: EventColumns::default(),
            row_columns: RowColumns::default(),
            content: Content::default(),
            faults: Vec::new(),
            top: Vec::new(),
            order_counts: Vec::new(),
        }
    }

    fn take_output(&mut self, lines: u64) -> Output {
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

    fn ids(&self) -> impl Iterator<Item = Key> + '_ {
        self.symbols.iter().filter_map(|symbol| symbol.book.as_ref()).flat_map(|book| book.ids())
    }

    /// Index of a symbol, which is made if it is new; None when there are too many.
    #[inline(always)]
    fn index_of(&mut self, name: &[u8]) -> Option<usize> {
        if let Some(index) = self.names.get(name) {
            return Some(index);
        }
        let index = self.names.add(name)?;
        self.symbols.push(Symbol::new(&String::from_utf8_lossy(name)));
        Some(index)
    }

    #[cold]
    fn unreadable(&mut self, at: At, fault: &str) {
        self.totals.malformed += 1;
        self.notes.add(-1, Note { detail: fault.into(), ..Note::new("malformed", at.line, at.offset) });
        self.record(at, -1, UNREADABLE, (Verdict::Malformed, Reason::None), (-1, -1), 0);
    }

    /// Handles the messages of a line.
    #[inline(always)]
    fn handle(&mut self, parsed: &Parsed, ids: &OddIds, at: At) {
        let Some(kind) = parsed.kind else { return };
        let mut names = parsed.elements.iter().map(|element| &parsed.text[element.symbol.range()]);
        if !names.all(|name| (1..=MAX_ID_BYTES).contains(&name.len()) || self.names.get(name).is_some()) {
            return self.unreadable(at, "a symbol of no or too many bytes");
        }
        for element in &parsed.elements {
            let name = &parsed.text[element.symbol.range()];
            match self.index_of(name) {
                Some(index) => self.message(index, kind, element, &parsed.entries, ids, at),
                None => self.too_many_symbols(kind, at),
            }
        }
    }

    #[cold]
    fn too_many_symbols(&mut self, kind: Kind, at: At) {
        self.totals.too_many_symbols += 1;
        let detail = Reason::TooManySymbols.name().into();
        self.notes.add(-1, Note { detail, ..Note::new("unverifiable", at.line, at.offset) });
        self.record(at, -1, kind as u8, (Verdict::Unverifiable, Reason::TooManySymbols), (-1, -1), 0);
    }

    /// One message of one symbol.
    #[inline(always)]
    fn message(&mut self, index: usize, kind: Kind, element: &Element, entries: &[Entry], ids: &OddIds, at: At) {
        let symbol = &mut self.symbols[index];
        symbol.tally.messages += 1;
        symbol.tally.last_line = at.line;
        if kind == Kind::Update {
            if symbol.book.is_none() {
                return self.without_book(index, at);
            }
            if let Some(unfit) = self.content.read(element, entries, symbol.precision) {
                return self.refuse(index, kind, unfit, at);
            }
            self.update(index, ids, at);
        } else {
            symbol.tally.snapshots += 1;
            if let Err(unfit) = self.read_snapshot(index, element, entries) {
                return self.refuse(index, kind, unfit, at);
            }
            self.snapshot(index, ids, at);
        }
        self.judge(index, kind, at);
    }

    #[cold]
    fn without_book(&mut self, index: usize, at: At) {
        let symbol = &mut self.symbols[index];
        if symbol.after_gap {
            return self.call_unverifiable(index, Kind::Update, Reason::AfterGap, (-1, 0), at);
        }
        symbol.tally.before_snapshot += 1;
        self.record(at, index as i32, Kind::Update as u8, (Verdict::BeforeSnapshot, Reason::None), (-1, -1), 0);
    }

    fn read_snapshot(&mut self, index: usize, element: &Element, entries: &[Entry]) -> Result<(), (Unfit, u32)> {
        let facts = &mut self.symbols[index].facts;
        let sides = [&entries[element.bids.range()], &entries[element.asks.range()]];
        if facts.need_precision() && !facts.see_decimals(sides) {
            return Err((Unfit::Unreadable, 0));
        }
        match self.content.read(element, entries, facts.precision()) {
            Some(unfit) => Err(unfit),
            None => Ok(()),
        }
    }

    /// Something in the message could not be read.
    #[cold]
    fn refuse(&mut self, index: usize, kind: Kind, (unfit, number): (Unfit, u32), at: At) {
        let symbol = &mut self.symbols[index];
        if unfit == Unfit::TooPrecise {
            let detail = format!("precision: {}", number_at(at.text, number));
            self.notes.add(index as i32, Note { detail, ..Note::new("unverifiable", at.line, at.offset) });
            self.call_unverifiable(index, kind, Reason::Precision, (-1, 0), at);
            return self.drop_book(index, at);
        }
        let had_book = symbol.book.is_some();
        symbol.tally.malformed += 1;
        symbol.blame(bad("malformed", at));
        let note = Note::new("malformed", at.line, at.offset);
        self.notes.add(index as i32, Note { detail: "a number, id or event cannot be read".into(), ..note });
        self.record(at, index as i32, kind as u8, (Verdict::Malformed, Reason::None), (-1, -1), 0);
        if kind == Kind::Snapshot && had_book {
            self.drop_book(index, at);
        }
    }

    #[inline(always)]
    fn update(&mut self, index: usize, ids: &OddIds, at: At) {
        let symbol = &mut self.symbols[index];
        let Some(book) = symbol.book.as_mut() else { return };
        let Content { bids, asks, msg_ns, .. } = &self.content;
        let faults = &mut self.faults;
        let mut fault = |fault, id| faults.push((fault, id));
        if self.want_events {
            let message = self.messages.len() as u32;
            let mut trace = Tracing { columns: &mut self.events, ids, message };
            book.update(bids, asks, &mut trace, &mut fault);
        } else {
            book.update(bids, asks, &mut Untraced, &mut fault);
        }
        symbol.last_msg_ns = *msg_ns;
        if !self.faults.is_empty() {
            self.find_faults(index, ids, at);
        }
    }

    #[cold]
    fn find_faults(&mut self, index: usize, ids: &OddIds, at: At) {
        for (fault, id) in std::mem::take(&mut self.faults) {
            let kind = match fault {
                Fault::UnknownId => "unknown_id",
                Fault::WrongSide => "wrong_side",
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

    fn snapshot(&mut self, index: usize, ids: &OddIds, at: At) {
        let symbol = &mut self.symbols[index];
        let before = (symbol.tally.precision, symbol.tally.depth);
        let Content { bids, asks, msg_ns, .. } = &self.content;
        let levels = symbol::most_levels(bids, asks);
        let depth = symbol.facts.depth_for(levels);
        let mut book = Book::new(depth);
        book.fill(bids, asks);
        book.truncate(&mut Untraced);
        if self.want_events {
            let message = self.messages.len() as u32;
            book.tell(&mut Tracing { columns: &mut self.events, ids, message });
        }
        if symbol.adopt(book, *msg_ns) {
            let note = Note::new("incident_closed", at.line, at.offset);
            self.notes.add(index as i32, Note { detail: "snapshot".into(), ..note });
        }
        let inferred = symbol.facts.need_precision() || symbol.facts.depth.is_none();
        if inferred && before != (symbol.tally.precision, symbol.tally.depth) {
            let Precision { price, qty } = symbol.precision;
            let detail = format!("price_precision={price} qty_precision={qty} depth={depth}");
            self.notes.add(index as i32, Note { detail, ..Note::new("inferred", at.line, at.offset) });
        }
        if levels > depth && symbol.facts.depth.is_some() {
            self.find(index, "too_deep", String::new(), at);
        }
    }

    fn load(&mut self, index: usize, entries: &[Entry], element: &Element, newest_ns: i64, amending: &[Key]) -> bool {
        if self.read_snapshot(index, element, entries).is_err() {
            return false;
        }
        let Content { bids, asks, checksum, msg_ns } = &self.content;
        let symbol = &mut self.symbols[index];
        let mut book = Book::new(symbol.facts.depth_for(symbol::most_levels(bids, asks)));
        book.fill(bids, asks);
        book.truncate(&mut Untraced);
        if i64::from(book.checksum(self.tables)) != *checksum {
            return false;
        }
        book.memory.newest_ns = book.memory.newest_ns.max(newest_ns);
        for id in amending {
            book.memory.remember_amend(*id);
        }
        symbol.adopt(book, *msg_ns);
        symbol.last_verdict = Verdict::Ok as u8;
        true
    }

    /// The whole message is applied: compare.
    #[inline(always)]
    fn judge(&mut self, index: usize, kind: Kind, at: At) {
        let (expected, msg_ns) = (self.content.checksum, self.content.msg_ns);
        let Some(book) = self.symbols[index].book.as_mut() else { return };
        let too_many = book.order_count() > MAX_ORDERS;
        let crossed = book.crossed();
        let computed = if expected < 0 || too_many { -1 } else { i64::from(book.checksum(self.tables)) };
        if crossed {
            self.find(index, "crossed", String::new(), at);
        }
        if too_many {
            return self.too_many_orders(index, kind, (expected, msg_ns), at);
        }
        let symbol = &mut self.symbols[index];
        let verdict = if expected < 0 {
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
            Verdict::Mismatch => self.differ(index, expected, computed, at),
            _ => self.call_unverifiable(index, kind, Reason::NoChecksum, (expected, msg_ns), at),
        }
        if verdict != Verdict::Unverifiable {
            self.record(at, index as i32, kind as u8, (verdict, Reason::None), (expected, computed), msg_ns);
        }
        if let Some(rows @ RowOptions { grid_ns: None, .. }) = self.rows {
            self.row_at_change(index, rows);
        }
    }

    #[cold]
    fn differ(&mut self, index: usize, expected: i64, computed: i64, at: At) {
        let symbol = &mut self.symbols[index];
        let (expected, computed) = (Some(expected), Some(computed));
        symbol.tally.mismatched += 1;
        symbol.blame(Bad { expected, computed, ..bad("mismatch", at) });
        if symbol.differ() {
            let note = Note::new("incident_opened", at.line, at.offset);
            self.notes.add(index as i32, Note { expected, computed, ..note });
        }
    }

    #[cold]
    fn too_many_orders(&mut self, index: usize, kind: Kind, content: (i64, i64), at: At) {
        let detail = Reason::TooManyOrders.name().into();
        self.notes.add(index as i32, Note { detail, ..Note::new("unverifiable", at.line, at.offset) });
        self.call_unverifiable(index, kind, Reason::TooManyOrders, content, at);
        self.drop_book(index, at);
    }

    fn call_unverifiable(&mut self, index: usize, kind: Kind, reason: Reason, content: (i64, i64), at: At) {
        let (expected, msg_ns) = content;
        symbol::count(&mut self.symbols[index].tally.unverifiable, reason.name());
        self.record(at, index as i32, kind as u8, (Verdict::Unverifiable, reason), (expected, -1), msg_ns);
    }

    fn drop_book(&mut self, index: usize, at: At) {
        if self.symbols[index].drop_book(false) {
            let note = Note::new("incident_closed", at.line, at.offset);
            self.notes.add(index as i32, Note { detail: "dropped".into(), ..note });
        }
    }

    #[inline(always)]
    fn record(
        &mut self,
        at: At,
        symbol: i32,
        kind: u8,
        (verdict, reason): (Verdict, Reason),
        (expected, computed): (i64, i64),
        msg_ns: i64,
    ) {
        if self.want_messages {
            let (verdict, reason) = (verdict as u8, reason as u8);
            self.messages.push(MessageRow { line: at.line, symbol, kind, verdict, reason, expected, computed, msg_ns });
        }
    }

    fn row_at_change(&mut self, index: usize, rows: RowOptions) {
        let symbol = &mut self.symbols[index];
        symbol.top(rows.levels, &mut self.top);
        if symbol.last_top.as_ref() == Some(&self.top) {
            return;
        }
        symbol.last_top.get_or_insert_default().clone_from(&self.top);
        let at_ns = self.grid.clock_ns.unwrap_or(symbol.last_msg_ns);
        if rows.orders {
            symbol.order_counts(rows.levels, &mut self.order_counts);
        }
        self.row_columns.push(crate::grid::head(index, symbol, at_ns), &self.top, &self.order_counts);
    }

    /// The receive clock runs on: show the grid instants that it passes.
    #[inline(always)]
    fn tick(&mut self, recv_ns: i64) {
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
