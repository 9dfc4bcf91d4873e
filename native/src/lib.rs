//! The native engine of `kraken_l3`: rebuilds level3 books from archive lines and compares every checksum.
//!
//! `kraken_l3.engine.native` wraps it into the engine port; it is not meant to be used without.

#![forbid(unsafe_code)]

pub mod book;
mod books;
pub mod columns;
mod content;
pub mod crc;
pub mod decimal;
mod depth;
mod digits;
pub mod engine;
pub mod generic;
mod grid;
mod hash;
pub mod ids;
pub mod json;
pub mod level;
pub mod memory;
pub mod message;
mod names;
pub mod notes;
pub mod options;
mod precision;
#[cfg(feature = "python")]
mod python;
mod routing;
pub mod scan;
pub mod shares;
pub mod side;
pub mod symbol;
pub mod time;
mod verdict;
