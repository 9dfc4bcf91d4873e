//! What an engine is asked for.

use std::collections::HashSet;

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
    pub until_ns: Option<i64>,
}
