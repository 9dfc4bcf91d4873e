//! Book rows at the instants of a grid on the receive clock.

use crate::columns::{RowColumns, RowHead};
use crate::options::RowOptions;
use crate::symbol::Symbol;

/// A step over more instants shows none of them.
const MAX_GRID_STEP: i128 = 100_000;

/// The receive clock: the running maximum of what it was told, and the next instant to show.
#[derive(Default)]
pub struct Grid {
    pub clock_ns: Option<i64>,
    next: i128,
}

impl Grid {
    pub fn tick(&mut self, recv_ns: i64, rows: RowOptions, symbols: &[Symbol], columns: &mut RowColumns) {
        let grid_ns = rows.grid_ns.map(i128::from);
        let now = i128::from(recv_ns);
        let Some(clock_ns) = self.clock_ns else {
            self.clock_ns = Some(recv_ns);
            self.next = grid_ns.map_or(0, |grid_ns| times_up(now, grid_ns) * grid_ns);
            return;
        };
        self.clock_ns = Some(clock_ns.max(recv_ns));
        let Some(grid_ns) = grid_ns.filter(|_| recv_ns > clock_ns && now > self.next) else {
            return;
        };
        let due = times_up(now - self.next, grid_ns);
        if due <= MAX_GRID_STEP {
            self.show(due, grid_ns, rows, symbols, columns);
        }
        self.next += due * grid_ns;
    }

    fn show(&self, due: i128, grid_ns: i128, rows: RowOptions, symbols: &[Symbol], columns: &mut RowColumns) {
        let with_book = symbols.iter().enumerate().filter(|(_, symbol)| symbol.book.is_some());
        let shown: Vec<(usize, &Symbol, Vec<i64>, Vec<u32>)> = with_book
            .map(|(index, symbol)| {
                let (mut top, mut orders) = (Vec::new(), Vec::new());
                symbol.top(rows.levels, &mut top);
                if rows.orders {
                    symbol.order_counts(rows.levels, &mut orders);
                }
                (index, symbol, top, orders)
            })
            .collect();
        for step in 0..due {
            // Below the receive time, which is an i64.
            let at_ns = (self.next + step * grid_ns) as i64;
            for (index, symbol, top, orders) in &shown {
                columns.push(head(*index, symbol, at_ns), top, orders);
            }
        }
    }
}

/// The quotient, rounded up.
fn times_up(value: i128, unit: i128) -> i128 {
    -(-value).div_euclid(unit)
}

/// What a row of this symbol says beside its levels.
pub fn head(index: usize, symbol: &Symbol, at_ns: i64) -> RowHead {
    RowHead {
        symbol: index as i32,
        at_ns,
        msg_ns: symbol.last_msg_ns,
        line: symbol.last_line,
        verdict: symbol.last_verdict,
    }
}
