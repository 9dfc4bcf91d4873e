//! The level3 book of one symbol. Rules and their reasons: `kraken_l3.book.book`, whose twin this is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::crc::{Piece, Tables};
use crate::hash::Folded;
use crate::ids::Key;
use crate::level::{Level, Levels, Order};
use crate::memory::{self, Classification, Memory};
use crate::message::{Action, TOO_LARGE};
use crate::side::Side;

/// One entry of a message with its numbers scaled.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub id: Key,
    pub ns: i64,
    pub price: i64,
    /// Below 10^38: whole supplies of some coins do not fit 64 bits.
    pub qty: i128,
    pub action: Action,
}

/// What an event did to the book (`Action` of the port).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventAction {
    Add = 0,
    Modify = 1,
    Delete = 2,
    Evict = 3,
    Clear = 4,
    Snapshot = 5,
}

/// A row of the event columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// 0 bid, 1 ask, 2 none.
    pub side: u8,
    pub action: EventAction,
    pub classification: Classification,
    pub id: Key,
    pub order_ns: i64,
    pub stated_ns: i64,
    pub price: i64,
    pub qty: i128,
    pub change: i128,
    pub stated_qty: i128,
    pub level: i32,
    pub queue_position: i32,
    pub qty_ahead: i64,
}

/// Takes the events, where anyone wants them.
pub trait Trace {
    const ON: bool;
    fn event(&mut self, event: Event);
}

/// Nobody wants them.
pub struct Untraced;

impl Trace for Untraced {
    const ON: bool = false;
    #[inline(always)]
    fn event(&mut self, _: Event) {}
}

/// Something in a message that cannot be in a book in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    UnknownId,
    WrongSide,
}

#[derive(Clone, Debug)]
pub struct Book {
    pub depth: usize,
    pub memory: Memory,
    bids: Side,
    asks: Side,
    levels: Levels,
    /// The level in which each order rests.
    orders: HashMap<Key, u32, Folded>,
}

impl Book {
    pub fn new(depth: usize) -> Self {
        Self {
            depth,
            memory: Memory::default(),
            bids: Side::new(0),
            // zlib's start value stands at the front of the text, which the asks are.
            asks: Side::new(u32::MAX),
            levels: Levels::default(),
            orders: HashMap::default(),
        }
    }

    pub fn order_count(&self) -> usize {
        self.orders.len()
    }

    pub fn ids(&self) -> impl Iterator<Item = Key> + '_ {
        self.orders.keys().copied().chain(self.memory.amending())
    }

    pub fn crossed(&self) -> bool {
        matches!((self.bids.best(), self.asks.best()), (Some(bid), Some(ask)) if bid >= -ask)
    }

    /// Whether the checksum covers a price that is too large for it.
    #[inline(always)]
    pub fn too_large(&self) -> bool {
        self.bids.covers_extreme(TOO_LARGE) || self.asks.covers_extreme(-TOO_LARGE)
    }

    /// Whether an update with so many entries might cut a side.
    pub fn may_cut(&self, bids: usize, asks: usize) -> bool {
        self.bids.len() + bids > self.depth || self.asks.len() + asks > self.depth
    }

    pub fn rests(&self, id: Key) -> bool {
        self.orders.contains_key(&id)
    }

    /// The number of levels of the longer side.
    pub fn level_count(&self) -> usize {
        self.bids.len().max(self.asks.len())
    }

    /// The levels of the bids (true) or asks, best first.
    pub fn levels(&self, is_bid: bool) -> impl Iterator<Item = &Level> + '_ {
        let side = if is_bid { &self.bids } else { &self.asks };
        side.best_first().map(|slot| self.levels.get(slot))
    }

    /// How many of the best bid and ask levels are as they were when this was last asked, each at most
    /// `CHECKSUM_LEVELS`.
    #[inline(always)]
    pub fn show(&mut self) -> [usize; 2] {
        [self.bids.show(), self.asks.show()]
    }

    /// None of its levels was shown.
    pub fn hide(&mut self) {
        self.bids.hide();
        self.asks.hide();
    }

    /// Kraken's CRC32 of the book as it stands.
    #[inline(always)]
    pub fn checksum(&mut self, tables: &Tables) -> u32 {
        let asks = self.asks.top(&mut self.levels, tables);
        let bids = self.bids.top(&mut self.levels, tables);
        let Piece { crc, .. } = tables.join(asks, bids);
        crc ^ u32::MAX
    }

    /// Fills the empty book from a snapshot, not yet cut to the depth. Sorts once, so that size and order do no harm.
    pub fn fill(&mut self, bids: &[Change], asks: &[Change]) {
        self.fill_side(false, asks);
        self.fill_side(true, bids);
    }

    /// Of several entries with the same id the last counts; all asks come after all bids and are filled in before them.
    fn fill_side(&mut self, is_bid: bool, changes: &[Change]) {
        let mut queued: Vec<(i64, i64, usize)> = Vec::with_capacity(changes.len());
        for (arrival, change) in changes.iter().enumerate().rev() {
            self.memory.newest_ns = self.memory.newest_ns.max(change.ns);
            if let Entry::Vacant(place) = self.orders.entry(change.id) {
                place.insert(0);
                queued.push((key_of(change, is_bid), change.ns, arrival));
            }
        }
        queued.sort_unstable();
        let mut slot = 0;
        for (key, _, arrival) in queued {
            let side = if is_bid { &mut self.bids } else { &mut self.asks };
            if side.best() != Some(key) {
                slot = self.levels.add(key, is_bid);
                side.insert(0, key, slot);
            }
            let Change { id, ns, qty, .. } = changes[arrival];
            self.levels.get_mut(slot).queue(Order::new(id, ns, qty));
            self.orders.insert(id, slot);
        }
    }

    /// Tells the whole book as the rows of a snapshot.
    pub fn tell<T: Trace>(&self, trace: &mut T) {
        trace.event(CLEAR);
        for is_bid in [true, false] {
            for (rank, level) in self.levels(is_bid).enumerate() {
                for (place, order) in level.orders.iter().enumerate() {
                    let event = told(level, order, (rank, place), EventAction::Snapshot);
                    trace.event(Event { stated_ns: order.ns, change: order.qty, stated_qty: order.qty, ..event });
                }
            }
        }
    }

    /// Applies one update as a whole and cuts the window.
    #[inline(always)]
    pub fn update<T: Trace>(
        &mut self,
        bids: &[Change],
        asks: &[Change],
        trace: &mut T,
        find: &mut impl FnMut(Finding, Key),
    ) {
        let mut newest = self.memory.newest_ns;
        for (is_bid, changes) in [(true, bids), (false, asks)] {
            for change in changes {
                newest = newest.max(change.ns);
                match change.action {
                    Action::Add => self.add(change, is_bid, trace),
                    Action::Delete => self.delete(change, is_bid, trace, find),
                    Action::Modify => self.modify(change, is_bid, changes, trace, find),
                }
            }
        }
        self.truncate(trace);
        self.memory.newest_ns = newest;
    }

    #[inline(always)]
    fn add<T: Trace>(&mut self, change: &Change, is_bid: bool, trace: &mut T) {
        let side = if is_bid { &mut self.bids } else { &mut self.asks };
        let (slot, place, replaces) = match self.orders.entry(change.id) {
            Entry::Vacant(vacant) => {
                let (slot, place) = put_in(side, &mut self.levels, change, is_bid);
                vacant.insert(slot);
                (slot, place, false)
            }
            Entry::Occupied(old) => {
                let slot = *old.get();
                if T::ON {
                    self.tell_evicted(slot, change.id, trace);
                }
                self.take_out(change.id, slot);
                let (slot, place) = self.put_in(change, is_bid);
                (slot, place, true)
            }
        };
        let classification = self.memory.of_add(change.id, change.ns, replaces);
        if T::ON {
            let (level, rank) = self.ranked(slot);
            let event = told(level, &level.orders[place], (rank, place), EventAction::Add);
            trace.event(Event {
                classification,
                stated_ns: change.ns,
                change: change.qty,
                stated_qty: change.qty,
                ..event
            });
        }
    }

    fn tell_evicted<T: Trace>(&self, slot: u32, id: Key, trace: &mut T) {
        let (level, rank) = self.ranked(slot);
        let place = level.place(id);
        let order = &level.orders[place];
        trace.event(Event { change: -order.qty, ..told(level, order, (rank, place), EventAction::Evict) });
    }

    #[inline(always)]
    fn delete<T: Trace>(&mut self, change: &Change, is_bid: bool, trace: &mut T, find: &mut impl FnMut(Finding, Key)) {
        let Some(slot) = self.resting(change.id, is_bid, find) else {
            return;
        };
        let level = self.levels.get(slot);
        let place = level.place(change.id);
        let order = level.orders[place];
        let classification = memory::of_delete(change.qty, change.ns, order.ns);
        if classification == Classification::Amend {
            self.memory.remember_amend(change.id);
        }
        if T::ON {
            let (level, rank) = self.ranked(slot);
            let event = told(level, &order, (rank, place), EventAction::Delete);
            trace.event(Event {
                classification,
                stated_ns: change.ns,
                change: -order.qty,
                stated_qty: change.qty,
                ..event
            });
        }
        self.orders.remove(&change.id);
        self.take_from(slot, place);
    }

    #[inline(always)]
    fn modify<T: Trace>(
        &mut self,
        change: &Change,
        is_bid: bool,
        array: &[Change],
        trace: &mut T,
        find: &mut impl FnMut(Finding, Key),
    ) {
        let Some(slot) = self.resting(change.id, is_bid, find) else {
            return;
        };
        let level = self.levels.get_mut(slot);
        let place = level.place(change.id);
        let order = level.orders[place];
        let requeued = level.price() != change.price || (change.ns != 0 && change.ns != order.ns);
        let (slot, place) = if requeued {
            let ns = if change.ns == 0 { order.ns } else { change.ns };
            self.take_out(change.id, slot);
            self.put_in(&Change { ns, ..*change }, is_bid)
        } else {
            level.resize(place, change.qty);
            let key = level.key;
            self.side(is_bid).touch_key(key);
            (slot, place)
        };
        if T::ON {
            let fills = array.iter().any(|other| other.action == Action::Delete && other.qty == 0);
            let (level, rank) = self.ranked(slot);
            let event = told(level, &level.orders[place], (rank, place), EventAction::Modify);
            trace.event(Event {
                classification: memory::of_modify(change.qty - order.qty, requeued, fills),
                stated_ns: change.ns,
                change: change.qty - order.qty,
                stated_qty: change.qty,
                ..event
            });
        }
    }

    #[inline(always)]
    fn resting(&self, id: Key, is_bid: bool, find: &mut impl FnMut(Finding, Key)) -> Option<u32> {
        let slot = self.orders.get(&id).copied();
        match slot {
            None => find(Finding::UnknownId, id),
            Some(slot) if self.levels.get(slot).is_bid != is_bid => {
                find(Finding::WrongSide, id);
                return None;
            }
            Some(_) => {}
        }
        slot
    }

    /// Cuts each side to the depth and forgets the orders cut off.
    #[inline(always)]
    pub fn truncate<T: Trace>(&mut self, trace: &mut T) {
        if self.bids.len() > self.depth {
            self.truncate_side(true, trace);
        }
        if self.asks.len() > self.depth {
            self.truncate_side(false, trace);
        }
    }

    fn truncate_side<T: Trace>(&mut self, is_bid: bool, trace: &mut T) {
        while self.side(is_bid).len() > self.depth {
            let side = self.side(is_bid);
            let rank = side.len() - 1;
            let slot = side.pop_worst();
            let level = self.levels.get(slot);
            for (place, order) in level.orders.iter().enumerate() {
                if T::ON {
                    let event = told(level, order, (rank, place), EventAction::Evict);
                    trace.event(Event { change: -order.qty, ..event });
                }
                self.orders.remove(&order.id);
            }
            self.levels.free(slot);
        }
    }

    fn side(&mut self, is_bid: bool) -> &mut Side {
        if is_bid { &mut self.bids } else { &mut self.asks }
    }

    /// A level and how many better ones its side has.
    fn ranked(&self, slot: u32) -> (&Level, usize) {
        let level = self.levels.get(slot);
        let side = if level.is_bid { &self.bids } else { &self.asks };
        (level, side.find(level.key).0)
    }

    /// Queues an order whose id does not rest; its level and place.
    #[inline(always)]
    fn put_in(&mut self, change: &Change, is_bid: bool) -> (u32, usize) {
        let side = if is_bid { &mut self.bids } else { &mut self.asks };
        let (slot, place) = put_in(side, &mut self.levels, change, is_bid);
        self.orders.insert(change.id, slot);
        (slot, place)
    }

    fn take_out(&mut self, id: Key, slot: u32) {
        self.orders.remove(&id);
        let place = self.levels.get(slot).place(id);
        self.take_from(slot, place);
    }

    #[inline(always)]
    fn take_from(&mut self, slot: u32, place: usize) {
        let level = self.levels.get_mut(slot);
        let (key, is_bid) = (level.key, level.is_bid);
        level.remove(place);
        let emptied = level.orders.is_empty();
        let side = self.side(is_bid);
        if !emptied {
            side.touch_key(key);
            return;
        }
        let (rank, _) = side.find(key);
        side.remove(rank);
        self.levels.free(slot);
    }
}

/// Queues an order in its level, which is made if there is none; its level and place.
#[inline(always)]
fn put_in(side: &mut Side, levels: &mut Levels, change: &Change, is_bid: bool) -> (u32, usize) {
    let key = key_of(change, is_bid);
    let (rank, found) = side.find(key);
    let slot = match found {
        Some(slot) => {
            side.touch(rank);
            slot
        }
        None => {
            let slot = levels.add(key, is_bid);
            side.insert(rank, key, slot);
            slot
        }
    };
    let place = levels.get_mut(slot).queue(Order::new(change.id, change.ns, change.qty));
    (slot, place)
}

const CLEAR: Event = Event {
    side: 2,
    action: EventAction::Clear,
    classification: Classification::None,
    id: 0,
    order_ns: 0,
    stated_ns: 0,
    price: 0,
    qty: 0,
    change: 0,
    stated_qty: 0,
    level: -1,
    queue_position: -1,
    qty_ahead: -1,
};

/// What levels are sorted by, the best highest.
#[inline(always)]
fn key_of(change: &Change, is_bid: bool) -> i64 {
    if is_bid { change.price } else { -change.price }
}

/// What every event says of its order: where it rests and as what.
#[inline(always)]
fn told(level: &Level, order: &Order, (rank, place): (usize, usize), action: EventAction) -> Event {
    Event {
        side: u8::from(!level.is_bid),
        action,
        id: order.id,
        order_ns: order.ns,
        price: level.price(),
        qty: order.qty,
        level: rank as i32,
        queue_position: place as i32,
        qty_ahead: level.qty_ahead(place),
        ..CLEAR
    }
}
