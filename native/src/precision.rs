//! The precision that nothing told, from the digits of a message and its checksum. Twin of `kraken_l3.engine.precision`.

use crate::book::{Book, Untraced};
use crate::content::Content;
use crate::crc::{Piece, Tables};
use crate::message::{Element, Entry, Kind, Unfit};
use crate::side::CHECKSUM_LEVELS;
use crate::symbol::{self, BookParameters, MAX_PRECISION, Precision};

/// Bounds on what a snapshot whose checksum never comes out can cost: decimals up to which a precision is searched for,
/// and orders in the ten best levels of both sides beyond which it is not.
const MAX_TRIED_DECIMALS: u32 = 12;
const MAX_TRIED_ORDERS: usize = 5_000;
/// Scaled numbers are below this.
const NUMBER_END: i128 = 10i128.pow(38);

/// Reads a snapshot, or an update of an empty book whose precision is open, at what was told or else inferred.
pub fn read(
    content: &mut Content,
    parameters: &BookParameters,
    kind: Kind,
    element: &Element,
    entries: &[Entry],
    tables: &Tables,
) -> Result<Precision, (Unfit, u32)> {
    if !parameters.need_precision() {
        let told = parameters.precision(Precision::default());
        return content.read(element, entries, told).map_or(Ok(told), Err);
    }
    let sides = [&entries[element.bids.range()], &entries[element.asks.range()]];
    let (written, needed) = decimals_of(sides).ok_or((Unfit::Unreadable, 0))?;
    // Everything is read at the fewest decimals that hold it: there the numbers are smallest, and any other precision
    // only adds zeros behind them.
    let lowest = parameters.precision(needed);
    if lowest.price.max(lowest.qty) > MAX_PRECISION {
        return Err((Unfit::Unreadable, 0));
    }
    if let Some(unfit) = content.read(element, entries, lowest) {
        return Err(unfit);
    }
    let search = Search::new(content, parameters, kind, lowest);
    let written = parameters.precision(written);
    let mut precision = if search.fits(written) { written } else { lowest };
    if content.checksum >= 0
        && let Some(found) = search.find(content.checksum, parameters, written, tables)
    {
        precision = found;
    }
    content.scale(10i64.pow(precision.price - lowest.price), 10i128.pow(precision.qty - lowest.qty));
    Ok(precision)
}

/// The most decimals among the prices and among the quantities: as written, and as few as hold them. None: a number
/// cannot be read.
fn decimals_of(sides: [&[Entry]; 2]) -> Option<(Precision, Precision)> {
    let (mut written, mut needed) = (Precision::default(), Precision::default());
    for entry in sides.into_iter().flatten() {
        if !entry.numbers {
            return None;
        }
        written.price = written.price.max(entry.price.decimals.into());
        written.qty = written.qty.max(entry.qty.decimals.into());
        needed.price = needed.price.max(entry.price.needed());
        needed.qty = needed.qty.max(entry.qty.needed());
    }
    written = Precision { price: written.price.min(MAX_PRECISION), qty: written.qty.min(MAX_PRECISION) };
    Some((written, needed))
}

/// The orders that the checksum covers, at the lowest precision.
struct Search {
    lowest: Precision,
    tokens: Vec<(u64, u128)>,
    highest_price: i64,
    highest_qty: i128,
}

impl Search {
    fn new(content: &Content, parameters: &BookParameters, kind: Kind, lowest: Precision) -> Self {
        let Content { bids, asks, .. } = content;
        let mut book = Book::new(parameters.depth_for(symbol::most_levels(bids, asks)));
        if kind == Kind::Snapshot {
            book.fill(bids, asks);
            book.truncate(&mut Untraced);
        } else {
            book.update(bids, asks, &mut Untraced, &mut |_, _| {});
        }
        let covered = |is_bid| book.levels(is_bid).take(CHECKSUM_LEVELS);
        let mut tokens = Vec::new();
        for level in covered(false).chain(covered(true)) {
            let price = level.price().unsigned_abs();
            tokens.extend(level.orders.iter().map(|order| (price, order.qty.unsigned_abs())));
        }
        let changes = || bids.iter().chain(asks);
        Self {
            lowest,
            tokens,
            highest_price: changes().map(|change| change.price).max().unwrap_or(0),
            highest_qty: changes().map(|change| change.qty).max().unwrap_or(0),
        }
    }

    fn fits(&self, at: Precision) -> bool {
        let price = self.highest_price.checked_mul(10i64.pow(at.price - self.lowest.price));
        let qty = self.highest_qty.checked_mul(10i128.pow(at.qty - self.lowest.qty));
        price.is_some() && qty.is_some_and(|qty| qty < NUMBER_END)
    }

    /// As written first: raw digits are trusted before any guess. Then the fewest decimals first.
    fn find(
        &self,
        checksum: i64,
        parameters: &BookParameters,
        written: Precision,
        tables: &Tables,
    ) -> Option<Precision> {
        let comes_out = |at: &Precision| self.fits(*at) && i64::from(self.checksum(*at, tables)) == checksum;
        if comes_out(&written) {
            return Some(written);
        }
        if self.tokens.len() > MAX_TRIED_ORDERS {
            return None;
        }
        let lowest = self.lowest;
        let last =
            |told: Option<u32>, written: u32| if told.is_some() { written } else { written.max(MAX_TRIED_DECIMALS) };
        let prices = lowest.price..=last(parameters.price_precision, written.price);
        let quantities = lowest.qty..=last(parameters.qty_precision, written.qty);
        let mut all: Vec<Precision> =
            prices.flat_map(|price| quantities.clone().map(move |qty| Precision { price, qty })).collect();
        all.sort_unstable_by_key(|pair| (pair.price + pair.qty, pair.price, pair.qty));
        all.into_iter().find(comes_out)
    }

    fn checksum(&self, at: Precision, tables: &Tables) -> u32 {
        let price_factor = 10u64.pow(at.price - self.lowest.price);
        let qty_factor = 10u128.pow(at.qty - self.lowest.qty);
        let text = self.tokens.iter().fold(Piece::default(), |text, (price, qty)| {
            let price = tables.digits((price * price_factor).into());
            tables.join(text, tables.join(price, tables.digits(qty * qty_factor)))
        });
        tables.finish(text)
    }
}
