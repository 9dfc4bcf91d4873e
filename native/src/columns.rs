//! The columns of the port, filled row by row. `into_bytes` gives each its little-endian form.

use std::collections::BTreeMap;

use crate::book::{Event, Trace};
use crate::ids::{self, InternedIds};

/// Width of the id column.
pub const ORDER_ID_BYTES: usize = 20;

/// One finished column.
pub enum Column {
    Bytes(Vec<u8>),
    Words(Vec<u32>),
    Indexes(Vec<i32>),
    Longs(Vec<i64>),
}

impl Column {
    pub fn byte_len(&self) -> usize {
        match self {
            Self::Bytes(items) => items.len(),
            Self::Words(items) => 4 * items.len(),
            Self::Indexes(items) => 4 * items.len(),
            Self::Longs(items) => 8 * items.len(),
        }
    }

    /// Writes the items in little-endian order into a buffer of `byte_len` bytes.
    pub fn write(&self, buffer: &mut [u8]) {
        match self {
            Self::Bytes(items) => buffer.copy_from_slice(items),
            Self::Words(items) => fill(buffer, items, |item| item.to_le_bytes()),
            Self::Indexes(items) => fill(buffer, items, |item| item.to_le_bytes()),
            Self::Longs(items) => fill(buffer, items, |item| item.to_le_bytes()),
        }
    }
}

fn fill<T: Copy, const N: usize>(buffer: &mut [u8], items: &[T], bytes: impl Fn(T) -> [u8; N]) {
    for (place, item) in buffer.chunks_exact_mut(N).zip(items) {
        place.copy_from_slice(&bytes(*item));
    }
}

/// Columns in the order of the port, with their names.
pub type Columns = Vec<(&'static str, Column)>;

/// One row of the message columns.
#[derive(Clone, Copy, Debug)]
pub struct MessageRow {
    pub line: i64,
    pub symbol: i32,
    pub kind: u8,
    pub verdict: u8,
    pub reason: u8,
    pub expected: i64,
    pub computed: i64,
    pub msg_ns: i64,
}

#[derive(Default)]
pub struct MessageColumns {
    line: Vec<i64>,
    symbol: Vec<i32>,
    kind: Vec<u8>,
    verdict: Vec<u8>,
    reason: Vec<u8>,
    expected: Vec<i64>,
    computed: Vec<i64>,
    msg_ns: Vec<i64>,
}

impl MessageColumns {
    pub fn len(&self) -> usize {
        self.line.len()
    }

    #[inline(always)]
    pub fn push(&mut self, row: MessageRow) {
        self.line.push(row.line);
        self.symbol.push(row.symbol);
        self.kind.push(row.kind);
        self.verdict.push(row.verdict);
        self.reason.push(row.reason);
        self.expected.push(row.expected);
        self.computed.push(row.computed);
        self.msg_ns.push(row.msg_ns);
    }

    pub fn finish(self) -> Columns {
        vec![
            ("line", Column::Longs(self.line)),
            ("symbol", Column::Indexes(self.symbol)),
            ("kind", Column::Bytes(self.kind)),
            ("verdict", Column::Bytes(self.verdict)),
            ("reason", Column::Bytes(self.reason)),
            ("expected", Column::Longs(self.expected)),
            ("computed", Column::Longs(self.computed)),
            ("msg_ns", Column::Longs(self.msg_ns)),
        ]
    }
}

#[derive(Default)]
pub struct EventColumns {
    message: Vec<u32>,
    side: Vec<u8>,
    action: Vec<u8>,
    classification: Vec<u8>,
    order_id: Vec<u8>,
    order_ns: Vec<i64>,
    stated_ns: Vec<i64>,
    price: Vec<i64>,
    qty: Vec<i64>,
    change: Vec<i64>,
    stated_qty: Vec<i64>,
    level: Vec<i32>,
    queue_position: Vec<i32>,
    qty_ahead: Vec<i64>,
    /// Ids that do not fit the column, by row.
    pub overflow_ids: BTreeMap<usize, String>,
}

impl EventColumns {
    fn push_id(&mut self, event: &Event, ids: &InternedIds) {
        let mut text = [0; ORDER_ID_BYTES];
        if ids::is_interned(event.id) {
            let text_of_id = ids.text(event.id);
            if text_of_id.len() > ORDER_ID_BYTES || text_of_id.contains('\0') {
                self.overflow_ids.insert(self.side.len(), text_of_id);
            } else {
                text[..text_of_id.len()].copy_from_slice(text_of_id.as_bytes());
            }
        } else if event.id != 0 {
            text[..ids::PACKED_LEN].copy_from_slice(&ids::packed_text(event.id));
        }
        self.order_id.extend_from_slice(&text);
    }

    pub fn finish(self) -> (Columns, BTreeMap<usize, String>) {
        let columns = vec![
            ("message", Column::Words(self.message)),
            ("side", Column::Bytes(self.side)),
            ("action", Column::Bytes(self.action)),
            ("classification", Column::Bytes(self.classification)),
            ("order_id", Column::Bytes(self.order_id)),
            ("order_ns", Column::Longs(self.order_ns)),
            ("stated_ns", Column::Longs(self.stated_ns)),
            ("price", Column::Longs(self.price)),
            ("qty", Column::Longs(self.qty)),
            ("change", Column::Longs(self.change)),
            ("stated_qty", Column::Longs(self.stated_qty)),
            ("level", Column::Indexes(self.level)),
            ("queue_position", Column::Indexes(self.queue_position)),
            ("qty_ahead", Column::Longs(self.qty_ahead)),
        ];
        (columns, self.overflow_ids)
    }
}

/// Writes the events of one message into the columns.
pub struct Tracing<'a> {
    pub columns: &'a mut EventColumns,
    pub ids: &'a InternedIds,
    /// Row of the message in its columns.
    pub message: u32,
}

impl Trace for Tracing<'_> {
    const ON: bool = true;

    #[inline]
    fn event(&mut self, event: Event) {
        let columns = &mut *self.columns;
        columns.push_id(&event, self.ids);
        columns.message.push(self.message);
        columns.side.push(event.side);
        columns.action.push(event.action as u8);
        columns.classification.push(event.classification as u8);
        columns.order_ns.push(event.order_ns);
        columns.stated_ns.push(event.stated_ns);
        columns.price.push(event.price);
        columns.qty.push(saturated(event.qty));
        columns.change.push(saturated(event.change));
        columns.stated_qty.push(saturated(event.stated_qty));
        columns.level.push(event.level);
        columns.queue_position.push(event.queue_position);
        columns.qty_ahead.push(event.qty_ahead);
    }
}

/// A quantity in a column of 64 bits.
fn saturated(qty: i128) -> i64 {
    i64::try_from(qty).unwrap_or(if qty < 0 { -i64::MAX } else { i64::MAX })
}

/// What a book row says beside the levels.
#[derive(Clone, Copy, Debug)]
pub struct RowHead {
    pub symbol: i32,
    pub at_ns: i64,
    pub msg_ns: i64,
    pub line: i64,
    pub verdict: u8,
}

#[derive(Default)]
pub struct RowColumns {
    symbol: Vec<i32>,
    at_ns: Vec<i64>,
    msg_ns: Vec<i64>,
    line: Vec<i64>,
    verdict: Vec<u8>,
    levels: [Vec<i64>; 4],
    orders: [Vec<u32>; 2],
}

impl RowColumns {
    /// `top`: bid prices, bid quantities, ask prices, ask quantities, each of the same width. `orders`: bid orders, ask
    /// orders of that width, or nothing.
    pub fn push(&mut self, head: RowHead, top: &[i64], orders: &[u32]) {
        self.symbol.push(head.symbol);
        self.at_ns.push(head.at_ns);
        self.msg_ns.push(head.msg_ns);
        self.line.push(head.line);
        self.verdict.push(head.verdict);
        for (column, values) in self.levels.iter_mut().zip(top.chunks_exact((top.len() / 4).max(1))) {
            column.extend_from_slice(values);
        }
        for (column, values) in self.orders.iter_mut().zip(orders.chunks_exact((orders.len() / 2).max(1))) {
            column.extend_from_slice(values);
        }
    }

    pub fn finish(self) -> Columns {
        let [bid_price, bid_qty, ask_price, ask_qty] = self.levels;
        let [bid_orders, ask_orders] = self.orders;
        vec![
            ("symbol", Column::Indexes(self.symbol)),
            ("at_ns", Column::Longs(self.at_ns)),
            ("msg_ns", Column::Longs(self.msg_ns)),
            ("line", Column::Longs(self.line)),
            ("verdict", Column::Bytes(self.verdict)),
            ("bid_price", Column::Longs(bid_price)),
            ("bid_qty", Column::Longs(bid_qty)),
            ("ask_price", Column::Longs(ask_price)),
            ("ask_qty", Column::Longs(ask_qty)),
            ("bid_orders", Column::Words(bid_orders)),
            ("ask_orders", Column::Words(ask_orders)),
        ]
    }
}
