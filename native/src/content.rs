//! A message's numbers, scaled at its symbol's precision (steps 2 and 3 of the port).

use crate::book::Change;
use crate::message::{Element, Entry, Unfit};
use crate::symbol::Precision;

/// What a message says, read at its symbol's precision.
#[derive(Default)]
pub struct Content {
    pub bids: Vec<Change>,
    pub asks: Vec<Change>,
    /// -1: none.
    pub checksum: i64,
    pub msg_ns: i64,
}

impl Content {
    /// The same at a larger precision.
    pub fn scale(&mut self, price_factor: i64, qty_factor: i128) {
        for change in self.bids.iter_mut().chain(&mut self.asks) {
            change.price *= price_factor;
            change.qty *= qty_factor;
        }
    }

    /// None: fine. Otherwise what is worst in it, with the place of the first number that is too fine.
    pub fn read(&mut self, element: &Element, entries: &[Entry], precision: Precision) -> Option<(Unfit, u32)> {
        self.checksum = element.checksum;
        self.msg_ns = element.ns;
        let mut readable = element.readable;
        let mut too_fine = None;
        for (span, changes) in [(element.bids, &mut self.bids), (element.asks, &mut self.asks)] {
            changes.clear();
            for entry in &entries[span.range()] {
                let (price, qty) = match (entry.price.price(precision.price), entry.qty.qty(precision.qty)) {
                    (Ok(price), Ok(qty)) => (price, qty),
                    unfit => {
                        let numbers = [(entry.price, unfit.0.err()), (entry.qty, unfit.1.err())];
                        for (number, unfit) in numbers {
                            match unfit {
                                Some(Unfit::TooPrecise) => drop(too_fine.get_or_insert(number.at)),
                                Some(Unfit::Unreadable) => readable = false,
                                None => {}
                            }
                        }
                        (0, 0)
                    }
                };
                readable &= entry.readable;
                changes.push(Change { id: entry.id, ns: entry.ns, price, qty, action: entry.action });
            }
        }
        if !readable {
            return Some((Unfit::Unreadable, 0));
        }
        too_fine.map(|at| (Unfit::TooPrecise, at))
    }
}
