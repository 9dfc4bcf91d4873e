//! Price levels: the orders at one price in time priority, with the CRC of their checksum text.

use crate::crc::{Piece, Tables};
use crate::ids::Key;

/// Not yet worked out.
const UNKNOWN: Piece = Piece { crc: 0, len: u32::MAX };

#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub id: Key,
    /// The order's own time, 0 when unknown.
    pub ns: i64,
    pub qty: i128,
    token: Piece,
}

impl Order {
    pub fn new(id: Key, ns: i64, qty: i128) -> Self {
        Self { id, ns, qty, token: UNKNOWN }
    }
}

#[derive(Clone, Debug)]
pub struct Level {
    /// A bid's price, minus an ask's.
    pub key: i64,
    pub is_bid: bool,
    pub orders: Vec<Order>,
    price: Piece,
    piece: Piece,
}

impl Level {
    pub fn price(&self) -> i64 {
        self.key.abs()
    }

    /// Queues an order behind all whose time is not later; its place.
    #[inline(always)]
    pub fn queue(&mut self, order: Order) -> usize {
        self.piece = UNKNOWN;
        if self.orders.last().is_none_or(|last| last.ns <= order.ns) {
            self.orders.push(order);
            return self.orders.len() - 1;
        }
        let place = self.orders.partition_point(|other| other.ns <= order.ns);
        self.orders.insert(place, order);
        place
    }

    /// The place of an order that is known to be here.
    #[inline(always)]
    pub fn place(&self, id: Key) -> usize {
        self.orders.iter().position(|order| order.id == id).unwrap_or(0)
    }

    #[inline(always)]
    pub fn remove(&mut self, place: usize) {
        self.piece = UNKNOWN;
        self.orders.remove(place);
    }

    #[inline(always)]
    pub fn resize(&mut self, place: usize, qty: i128) {
        self.piece = UNKNOWN;
        let order = &mut self.orders[place];
        order.qty = qty;
        order.token = UNKNOWN;
    }

    /// Quantity of all its orders, saturating.
    pub fn qty(&self) -> i64 {
        self.qty_ahead(self.orders.len())
    }

    /// Quantity before this place, saturating.
    pub fn qty_ahead(&self, place: usize) -> i64 {
        let sum = self.orders[..place].iter().fold(0i128, |sum, order| sum.saturating_add(order.qty));
        i64::try_from(sum).unwrap_or(i64::MAX)
    }

    fn refresh(&mut self, tables: &Tables) {
        if self.price == UNKNOWN {
            self.price = tables.digits(self.key.unsigned_abs().into());
        }
        let mut text = None;
        for order in &mut self.orders {
            if order.token == UNKNOWN {
                order.token = tables.join(self.price, tables.digits(order.qty.unsigned_abs()));
            }
            text = Some(text.map_or(order.token, |before| tables.join(before, order.token)));
        }
        self.piece = text.unwrap_or_default();
    }
}

/// All levels of a book, by number; the numbers (and buffers) of levels that went are used again.
#[derive(Clone, Debug, Default)]
pub struct Levels {
    all: Vec<Level>,
    free: Vec<u32>,
}

impl Levels {
    #[inline(always)]
    pub fn add(&mut self, key: i64, is_bid: bool) -> u32 {
        if let Some(slot) = self.free.pop() {
            let level = &mut self.all[slot as usize];
            level.key = key;
            level.is_bid = is_bid;
            level.price = UNKNOWN;
            return slot;
        }
        self.all.push(Level { key, is_bid, orders: Vec::new(), price: UNKNOWN, piece: UNKNOWN });
        (self.all.len() - 1) as u32
    }

    /// Gives the number of a level back.
    #[inline(always)]
    pub fn free(&mut self, slot: u32) {
        let orders = &mut self.all[slot as usize].orders;
        orders.clear();
        if orders.capacity() > 64 {
            *orders = Vec::new();
        }
        self.free.push(slot);
    }

    #[inline(always)]
    pub fn get(&self, slot: u32) -> &Level {
        &self.all[slot as usize]
    }

    #[inline(always)]
    pub fn get_mut(&mut self, slot: u32) -> &mut Level {
        &mut self.all[slot as usize]
    }

    /// The checksum text of a level.
    #[inline(always)]
    pub fn piece(&mut self, slot: u32, tables: &Tables) -> Piece {
        let level = &mut self.all[slot as usize];
        if level.piece == UNKNOWN {
            level.refresh(tables);
        }
        level.piece
    }
}
