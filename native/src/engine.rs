//! The engine: blocks of lines in, verdicts and columns out. `kraken_l3.engine.port` is its contract, with the life
//! of a line step by step; `kraken_l3.engine.python` its twin.

use memchr::{memchr, memmem};

use crate::books::{At, Books, Output, Totals};
use crate::generic::{self, Line};
use crate::ids::{InternedIds, Key};
use crate::message::{Element, Kind, Parsed};
use crate::notes::Note;
use crate::options::Options;
use crate::routing::{Owner, Route, Routing};
use crate::scan;
use crate::shares::Scanned;
use crate::symbol::Symbol;
use crate::time::CachedTime;

/// Longer lines are malformed: a bound on memory, and on places in a line that 32 bits hold.
pub const MAX_LINE_BYTES: usize = 1 << 26;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One engine: a parser in front of the books of all symbols.
pub struct Engine {
    parsed: Parsed,
    time: CachedTime,
    ids: InternedIds,
    routing: Routing,
    books: Books,
    /// Buffers for `shares::feed`, kept from block to block.
    pub spare: Vec<Scanned>,
}

impl Engine {
    pub fn new(options: Options) -> Self {
        Self {
            parsed: Parsed::default(),
            time: CachedTime::default(),
            ids: InternedIds::default(),
            routing: Routing::new(options.part, options.only),
            books: Books::new(options.messages, options.events, options.rows, options.until_ns),
            spare: Vec::new(),
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
            if std::mem::take(&mut self.books.is_late) {
                break;
            }
            start += length + 1;
            line = line.saturating_add(1);
        }
        self.finish(line.saturating_sub(first_line) as u64)
    }

    /// What has come of so many lines, the end of a block.
    pub fn finish(&mut self, lines: u64) -> Output {
        self.books.totals.lines += lines;
        if self.ids.wants_sweep() {
            self.ids.sweep(self.books.ids());
        }
        self.books.take_output(lines)
    }

    /// Processes lines that were scanned before: those of this engine's part. `block` and `offset` are what the lines
    /// were scanned from, the first of them has the number `first_line`.
    pub fn feed_scanned(&mut self, scanned: &Scanned, block: &[u8], first_line: i64, offset: i64) {
        let mut number = first_line;
        for line in &scanned.lines {
            let text = &block[line.start..];
            let here = offset.saturating_add(line.start as i64);
            match line.element {
                Some((kind, element)) => {
                    let element = &scanned.parsed.elements[element as usize];
                    if self.routing.owns(element.symbol, &scanned.parsed.text) {
                        let at = At { line: number, offset: here, text: &text[..line.length] };
                        self.books.message_of(kind, element, &scanned.parsed, &self.ids, at);
                    } else {
                        self.books.totals.skipped += 1;
                    }
                }
                None => {
                    let bom = if here == 0 && text.starts_with(BOM) { BOM.len() } else { 0 };
                    self.routed_line(&text[bom..], number, here);
                }
            }
            number = number.saturating_add(1);
        }
    }

    /// Handles the line at the start of the text; its length without the newline.
    #[inline(always)]
    fn line(&mut self, text: &[u8], line: i64, offset: i64) -> usize {
        if self.routing.on() && !self.routing.starts_with_own(text) {
            return self.routed_line(text, line, offset);
        }
        self.parsed.clear();
        let scanned = scan::scan(text, &mut self.parsed, &mut self.time);
        if let Some(length) = scanned.filter(|length| *length <= MAX_LINE_BYTES) {
            let at = At { line, offset, text: &text[..length] };
            self.books.handle(&self.parsed, &self.ids, at);
            return length;
        }
        if self.routing.on() { self.routed_line(text, line, offset) } else { self.fallback_line(text, line, offset) }
    }

    /// A line that may belong to another engine, in whole or in part.
    fn routed_line(&mut self, text: &[u8], line: i64, offset: i64) -> usize {
        match self.routing.route(text) {
            Route::Own => self.fallback_line(text, line, offset),
            Route::Other(length) => {
                self.books.totals.skipped += 1;
                length
            }
            Route::Parse => self.shared_line(text, line, offset),
        }
    }

    /// A line that only parsing tells whose it is: each engine takes the messages of its own symbols.
    #[cold]
    fn shared_line(&mut self, text: &[u8], line: i64, offset: i64) -> usize {
        let length = memchr(b'\n', text).unwrap_or(text.len());
        let readable = length <= MAX_LINE_BYTES
            && generic::parse(&text[..length], &mut self.parsed, &mut self.ids) == Line::Level3
            && self.books.names_are_valid(&self.parsed);
        if !readable || self.parsed.elements.is_empty() {
            if self.routing.is_first() {
                return self.fallback_line(text, line, offset);
            }
            self.books.totals.skipped += 1;
            return length;
        }
        let Parsed { elements, text: names, .. } = &mut self.parsed;
        let mut owner = |element: &Element| self.routing.owner(&element.symbol.text(names));
        // It counts as passed over by all engines but the one of its first message.
        if elements.iter().map(&mut owner).find(|owner| *owner != Owner::Nobody) != Some(Owner::Own) {
            self.books.totals.skipped += 1;
        }
        elements.retain(|element| owner(element) == Owner::Own);
        self.books.handle(&self.parsed, &self.ids, At { line, offset, text: &text[..length] });
        length
    }

    #[cold]
    fn fallback_line(&mut self, text: &[u8], line: i64, offset: i64) -> usize {
        let length = memchr(b'\n', text).unwrap_or(text.len());
        let at = At { line, offset, text: &text[..length] };
        if length > MAX_LINE_BYTES {
            self.books.unreadable(at, "too long a line");
            return length;
        }
        if at.text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            self.books.totals.not_data += 1;
            return length;
        }
        match generic::parse(at.text, &mut self.parsed, &mut self.ids) {
            Line::NotData => {
                self.books.totals.not_data += 1;
                self.books.totals.level3_elsewhere += u64::from(memmem::find(at.text, b"level3").is_some());
            }
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
        if let Some(index) = self.books.index_of_text(name.as_bytes()) {
            let parameters = &mut self.books.symbols[index].parameters;
            parameters.price_precision = price.or(parameters.price_precision);
            parameters.qty_precision = qty.or(parameters.qty_precision);
            parameters.depth = depth.or(parameters.depth);
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
        let Some(index) = self.books.index_of_text(name.as_bytes()) else {
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
        if element.symbol.text(&self.parsed.text) != name.as_bytes() {
            return false;
        }
        self.books.load(index, &self.parsed.entries, &element, newest_ns, &amending)
    }

    /// The book as it stands: its message, newest time and the ids being amended.
    pub fn export_book(&mut self, name: &str) -> Option<(String, i64, Vec<String>)> {
        let index = self.books.names.get_text(name.as_bytes())?;
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
