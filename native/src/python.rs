//! The engine as Python sees it: plain tuples, dicts and bytes, which `kraken_l3.engine.native` dresses.

use std::collections::{BTreeMap, HashSet};

use memchr::{memchr, memchr_iter};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::books::{Output, Totals};
use crate::columns::Columns;
use crate::engine;
use crate::notes::Note;
use crate::options::{Options, RowOptions};
use crate::shares::{self, PIECE_BYTES};
use crate::symbol::{Bad, Symbol};

/// Number of this interface; the main package takes no other.
const PORT: u32 = 7;

type PyNote = (&'static str, i64, i64, String, String, Option<i64>, Option<i64>);
type PyBad = (&'static str, i64, i64, Option<i64>, Option<i64>);
/// lines, messages, events, overflow ids, rows, notes
type PyOutput<'py> =
    (u64, Bound<'py, PyDict>, Bound<'py, PyDict>, BTreeMap<usize, String>, Bound<'py, PyDict>, Vec<PyNote>);

/// See `kraken_l3.engine.port.Engine`.
#[pyclass(module = "kraken_l3_native")]
struct Engine {
    /// Boxed, since Python's allocator aligns to 16 bytes and a `memmem::Finder` holds vectors that want 32.
    inner: Box<engine::Engine>,
    messages: bool,
    events: bool,
    rows: bool,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (messages, events, rows, part, only, until_ns))]
    fn new(
        messages: bool,
        events: bool,
        rows: Option<(usize, Option<i64>, bool)>,
        part: (u32, u32),
        only: Option<HashSet<String>>,
        until_ns: Option<i64>,
    ) -> PyResult<Self> {
        if rows.is_some_and(|(levels, grid_ns, _)| levels == 0 || grid_ns.is_some_and(|grid_ns| grid_ns <= 0)) {
            return Err(PyValueError::new_err("book rows need at least one level and a grid above 0 ns"));
        }
        let row_options = rows.map(|(levels, grid_ns, orders)| RowOptions { levels, grid_ns, orders });
        let options = Options { messages, events, rows: row_options, part, only, until_ns };
        Ok(Self { inner: Box::new(engine::Engine::new(options)), messages, events, rows: rows.is_some() })
    }

    fn set_symbol(
        &mut self,
        symbol: &str,
        price_precision: Option<u32>,
        qty_precision: Option<u32>,
        depth: Option<usize>,
    ) {
        self.inner.set_symbol(symbol, price_precision, qty_precision, depth);
    }

    fn feed<'py>(
        &mut self,
        py: Python<'py>,
        block: &[u8],
        first_line: i64,
        offset: i64,
        recv_ns: Option<&[u8]>,
    ) -> PyResult<PyOutput<'py>> {
        let inner = &mut self.inner;
        let output = py.detach(|| {
            let times = recv_ns.map(|bytes| times_of(bytes, block)).transpose()?;
            Ok(inner.feed(block, first_line, offset, times.as_deref()))
        });
        match output {
            Ok(output) => self.dress(py, output),
            Err((bytes, lines)) => {
                let text = format!("{bytes} bytes of receive times for {lines} lines");
                Err(PyValueError::new_err(text))
            }
        }
    }

    fn advance<'py>(&mut self, py: Python<'py>, recv_ns: i64) -> PyResult<PyOutput<'py>> {
        let output = self.inner.advance(recv_ns);
        self.dress(py, output)
    }

    fn invalidate(&mut self, symbol: Option<&str>) -> Vec<PyNote> {
        let notes = self.inner.invalidate(symbol);
        self.notes(notes)
    }

    fn load_book(&mut self, symbol: &str, message: &[u8], newest_ns: i64, amending: Vec<String>) -> bool {
        self.inner.load_book(symbol, message, newest_ns, &amending)
    }

    fn export_book<'py>(&mut self, py: Python<'py>, symbol: &str) -> Option<(Bound<'py, PyBytes>, i64, Vec<String>)> {
        let (message, newest_ns, amending) = self.inner.export_book(symbol)?;
        Some((PyBytes::new(py, message.as_bytes()), newest_ns, amending))
    }

    fn symbols(&self) -> Vec<&str> {
        self.inner.symbols().iter().map(|symbol| &*symbol.name).collect()
    }

    fn tallies<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.inner.symbols().iter().map(|symbol| tally(py, symbol)).collect()
    }

    /// lines, not_data, malformed, skipped, too_many_symbols, level3_elsewhere
    fn totals(&self) -> (u64, u64, u64, u64, u64, u64) {
        let Totals { lines, not_data, malformed, skipped, too_many_symbols, level3_elsewhere } = self.inner.totals();
        (lines, not_data, malformed, skipped, too_many_symbols, level3_elsewhere)
    }
}

impl Engine {
    fn dress<'py>(&self, py: Python<'py>, output: Output) -> PyResult<PyOutput<'py>> {
        Ok((
            output.lines,
            columns(py, self.messages.then_some(&output.messages))?,
            columns(py, self.events.then_some(&output.events))?,
            output.overflow_ids,
            columns(py, self.rows.then_some(&output.rows))?,
            self.notes(output.notes),
        ))
    }

    fn notes(&self, notes: Vec<Note>) -> Vec<PyNote> {
        let symbols = self.inner.symbols();
        let name = |index: i32| usize::try_from(index).ok().and_then(|index| symbols.get(index)).map(|s| &*s.name);
        notes
            .into_iter()
            .map(|note| {
                let symbol = name(note.symbol).unwrap_or_default().to_owned();
                (note.kind, note.line, note.offset, symbol, note.detail, note.expected, note.computed)
            })
            .collect()
    }
}

/// One time a line; otherwise the number of bytes and of lines.
fn times_of(bytes: &[u8], block: &[u8]) -> Result<Vec<i64>, (usize, usize)> {
    let unfinished = usize::from(!block.is_empty() && !block.ends_with(b"\n"));
    let lines = memchr_iter(b'\n', block).count() + unfinished;
    if bytes.len() != 8 * lines {
        return Err((bytes.len(), lines));
    }
    let (items, _) = bytes.as_chunks::<8>();
    Ok(items.iter().map(|item| i64::from_le_bytes(*item)).collect())
}

fn columns<'py>(py: Python<'py>, columns: Option<&Columns>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, column) in columns.into_iter().flatten() {
        let bytes = PyBytes::new_with(py, column.byte_len(), |buffer| {
            column.write(buffer);
            Ok(())
        })?;
        dict.set_item(name, bytes)?;
    }
    Ok(dict)
}

/// The fields of `SymbolTally` by name; `state` as its number, `first_bad` as the arguments of `Bad`.
fn tally<'py>(py: Python<'py>, symbol: &Symbol) -> PyResult<Bound<'py, PyDict>> {
    let tally = &symbol.tally;
    let dict = PyDict::new(py);
    let bad = |bad: &Bad| -> PyBad { (bad.kind, bad.line, bad.offset, bad.expected, bad.computed) };
    dict.set_item("symbol", &*symbol.name)?;
    dict.set_item("state", symbol.state as u8)?;
    dict.set_item("depth", tally.depth)?;
    dict.set_item("depth_inferred", tally.depth_inferred)?;
    dict.set_item("price_precision", tally.precision.map(|precision| precision.price))?;
    dict.set_item("qty_precision", tally.precision.map(|precision| precision.qty))?;
    dict.set_item("precision_inferred", tally.precision_inferred)?;
    dict.set_item("messages", tally.messages)?;
    dict.set_item("snapshots", tally.snapshots)?;
    dict.set_item("ok", tally.ok)?;
    dict.set_item("mismatched", tally.mismatched)?;
    dict.set_item("incidents", tally.incidents)?;
    dict.set_item("before_snapshot", tally.before_snapshot)?;
    dict.set_item("malformed", tally.malformed)?;
    dict.set_item("unverifiable", counts(py, &tally.unverifiable)?)?;
    dict.set_item("findings", counts(py, &tally.findings)?)?;
    dict.set_item("first_bad", tally.first_bad.as_ref().map(bad))?;
    dict.set_item("last_line", tally.last_line)?;
    dict.set_item("last_ok_line", tally.last_ok_line)?;
    dict.set_item("orders", symbol.book.as_ref().map_or(0, |book| book.order_count()))?;
    Ok(dict)
}

fn counts<'py>(py: Python<'py>, counts: &[(&'static str, u64)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, number) in counts {
        dict.set_item(name, number)?;
    }
    Ok(dict)
}

/// Feeds a block to engines that have a part of the symbols each, and no columns, in as many threads: how many lines it
/// has, and the notes of each engine.
#[pyfunction]
fn feed_shares(
    py: Python<'_>,
    mut engines: Vec<PyRefMut<'_, Engine>>,
    block: &[u8],
    first_line: i64,
    offset: i64,
) -> (u64, Vec<Vec<PyNote>>) {
    let inner: Vec<&mut engine::Engine> = engines.iter_mut().map(|engine| &mut *engine.inner).collect();
    let outputs = py.detach(|| shares::feed(inner, block, first_line, offset, PIECE_BYTES));
    let lines = outputs.first().map_or(0, |output| output.lines);
    let notes = engines.iter().zip(outputs).map(|(engine, output)| engine.notes(output.notes)).collect();
    (lines, notes)
}

/// How many lines a block has, found one after the other: the floor that the benchmark compares with.
#[pyfunction]
fn count_lines(block: &[u8]) -> usize {
    let mut rest = block;
    let mut lines = 0;
    while let Some(end) = memchr(b'\n', rest) {
        rest = &rest[end + 1..];
        lines += 1;
    }
    lines + usize::from(!rest.is_empty())
}

#[pymodule]
fn kraken_l3_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("PORT", PORT)?;
    module.add_function(wrap_pyfunction!(count_lines, module)?)?;
    module.add_function(wrap_pyfunction!(feed_shares, module)?)?;
    module.add_class::<Engine>()
}
