//! The depth that nothing told: two books until the data says which is right. Twin of `kraken_l3.engine.depth`.

use crate::book::{Book, Finding, Trace, Untraced};
use crate::content::Content;
use crate::crc::Tables;
use crate::ids::Key;
use crate::message::Action;

/// The depths that Kraken serves.
const DEPTHS: [usize; 3] = [10, 100, 1000];
const LARGEST: usize = DEPTHS[2];

/// The smallest depth of Kraken's that holds so many levels a side.
pub fn smallest_depth(levels: usize) -> usize {
    DEPTHS.into_iter().find(|depth| levels <= *depth).unwrap_or(LARGEST)
}

/// Whether a book's window may be larger than what its snapshot showed.
#[derive(Debug)]
pub struct InferredWindow {
    /// The same book, not cut; None while nothing was ever cut from the other.
    wide: Option<Box<Book>>,
}

impl InferredWindow {
    /// None when there is no larger one.
    pub fn new(depth: usize) -> Option<Self> {
        (depth < LARGEST).then_some(Self { wide: None })
    }

    pub fn ids(&self) -> impl Iterator<Item = Key> + '_ {
        self.wide.iter().flat_map(|book| book.ids())
    }

    /// Applies an update to the book, which may become a wider one: what could not be applied, and whether the window is
    /// still open.
    pub fn update<T: Trace>(
        &mut self,
        book: &mut Book,
        content: &Content,
        max_orders: usize,
        trace: &mut T,
        tables: &Tables,
    ) -> (Vec<(Finding, Key)>, bool) {
        let Content { bids, asks, checksum, .. } = content;
        let mut findings = Vec::new();
        if self.wide.is_none() && !book.may_cut(bids.len(), asks.len()) {
            book.update(bids, asks, trace, &mut |finding, id| findings.push((finding, id)));
            return (findings, true);
        }
        let mut wide = self.wide.take().unwrap_or_else(|| Box::new(book.clone()));
        wide.depth = LARGEST;
        let came_back = bids
            .iter()
            .chain(asks)
            .any(|change| change.action == Action::Add && wide.rests(change.id) && !book.rests(change.id));
        let mut wide_findings = Vec::new();
        book.update(bids, asks, trace, &mut |finding, id| findings.push((finding, id)));
        wide.update(bids, asks, &mut Untraced, &mut |finding, id| wide_findings.push((finding, id)));
        let fits = *checksum < 0 || i64::from(book.checksum(tables)) == *checksum;
        let wide_fits = *checksum < 0 || i64::from(wide.checksum(tables)) == *checksum;
        if wide_fits && (!fits || wide_findings.len() < findings.len()) {
            let depth = smallest_depth(wide.level_count()).max(smallest_depth(book.depth + 1));
            *book = *wide;
            book.depth = depth;
            book.hide();
            if T::ON {
                book.tell(trace);
            }
            return (wide_findings, depth < LARGEST);
        }
        let told = (fits && (!wide_fits || came_back)) || wide.order_count() > max_orders;
        if !told {
            self.wide = Some(wide);
        }
        (findings, !told)
    }
}
