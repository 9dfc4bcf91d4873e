//! One block, several engines in threads: each handles its part of the symbols, and all share the scanning.
//!
//! A block is cut into pieces. Any thread scans any piece, which depends on nothing before it; an engine takes the
//! scanned pieces in order. So threads that have no engine to serve scan ahead, and even one pair keeps two threads
//! busy: one scans what the other applies. The threads are those of rayon's pool, which live on from block to block: new
//! ones for each block would have done most of it before the system gives them a processor.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use memchr::{memchr, memrchr};

use crate::books::Output;
use crate::engine::{Engine, MAX_LINE_BYTES};
use crate::message::{Kind, Parsed};
use crate::scan;
use crate::time::CachedTime;

/// About how many bytes are scanned at a time. With smaller pieces threads wake each other more often, with larger ones
/// they wait longer for the first and the last of a block.
pub const PIECE_BYTES: usize = 1 << 18;

/// A line as it was scanned.
#[derive(Clone, Copy)]
pub struct ScannedLine {
    /// Where it begins in its block.
    pub start: usize,
    pub length: usize,
    /// Its message; None: the fast path did not take it.
    pub element: Option<(Kind, u32)>,
}

/// The lines of a piece.
#[derive(Default)]
pub struct Scanned {
    pub lines: Vec<ScannedLine>,
    pub parsed: Parsed,
}

impl Scanned {
    fn scan(&mut self, block: &[u8], (start, end): (usize, usize), time: &mut CachedTime) {
        self.lines.clear();
        self.parsed.clear();
        let mut start = start;
        while start < end {
            let parsed = &mut self.parsed;
            let (elements, entries, kept) = (parsed.elements.len(), parsed.entries.len(), parsed.text.len());
            let scanned = scan::scan(&block[start..], parsed, time).filter(|length| *length <= MAX_LINE_BYTES);
            let (length, element) = match scanned {
                Some(length) => (length, parsed.kind.map(|kind| (kind, elements as u32))),
                None => {
                    parsed.elements.truncate(elements);
                    parsed.entries.truncate(entries);
                    parsed.text.truncate(kept);
                    (memchr(b'\n', &block[start..]).unwrap_or(block.len() - start), None)
                }
            };
            self.lines.push(ScannedLine { start, length, element });
            start += length + 1;
        }
    }
}

/// An engine and how far it is.
struct Share<'a> {
    /// None while a thread is at work with it.
    engine: Option<&'a mut Engine>,
    pieces: usize,
    lines: u64,
}

struct Work<'a> {
    shares: Vec<Share<'a>>,
    /// How many pieces were taken by threads to be scanned.
    begun: usize,
    /// By piece, as long as an engine needs it.
    scanned: Vec<Option<Arc<Scanned>>>,
    /// Buffers to be used again.
    spare: Vec<Scanned>,
    /// A thread has panicked, whose work nobody is to wait for.
    has_failed: bool,
}

enum Task<'a> {
    Scan(usize, Scanned),
    Apply(usize, &'a mut Engine, Arc<Scanned>, u64),
}

impl<'a> Work<'a> {
    /// An engine comes first, the one that is furthest behind: what waits for it is what bounds the speed.
    fn next(&mut self) -> Option<Task<'a>> {
        let scanned = &self.scanned;
        let is_ready = |share: &Share| share.engine.is_some() && matches!(scanned.get(share.pieces), Some(Some(_)));
        let ready = self.shares.iter_mut().enumerate().filter(|(_, share)| is_ready(share));
        if let Some((number, share)) = ready.min_by_key(|(_, share)| share.pieces)
            && let Some(scanned) = &scanned[share.pieces]
            && let Some(engine) = share.engine.take()
        {
            return Some(Task::Apply(number, engine, scanned.clone(), share.lines));
        }
        if self.begun < self.scanned.len() {
            self.begun += 1;
            return Some(Task::Scan(self.begun - 1, self.spare.pop().unwrap_or_default()));
        }
        None
    }

    fn slowest(&self) -> usize {
        self.shares.iter().map(|share| share.pieces).min().unwrap_or(0)
    }

    fn applied(&mut self, number: usize, engine: &'a mut Engine, scanned: Arc<Scanned>) {
        let share = &mut self.shares[number];
        share.engine = Some(engine);
        share.lines += scanned.lines.len() as u64;
        share.pieces += 1;
        let piece = share.pieces - 1;
        drop(scanned);
        if self.slowest() > piece {
            self.spare.extend(self.scanned[piece].take().and_then(Arc::into_inner));
        }
    }
}

/// A block, and what is being done about it.
struct Feeding<'a> {
    block: &'a [u8],
    first_line: i64,
    offset: i64,
    pieces: Vec<(usize, usize)>,
    work: Mutex<Work<'a>>,
    /// Some work has been done.
    done: Condvar,
}

impl<'a> Feeding<'a> {
    fn lock(&self) -> MutexGuard<'_, Work<'a>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each thread does until nothing is left to do.
    fn run(&self) {
        let _failing = Failing(self);
        let mut time = CachedTime::default();
        let mut work = self.lock();
        while work.slowest() < self.pieces.len() && !work.has_failed {
            match work.next() {
                None => work = self.done.wait(work).unwrap_or_else(PoisonError::into_inner),
                Some(Task::Scan(piece, mut scanned)) => {
                    drop(work);
                    scanned.scan(self.block, self.pieces[piece], &mut time);
                    work = self.lock();
                    work.scanned[piece] = Some(Arc::new(scanned));
                    self.done.notify_all();
                }
                Some(Task::Apply(number, engine, scanned, lines)) => {
                    drop(work);
                    let first_line = self.first_line.saturating_add(lines as i64);
                    engine.feed_scanned(&scanned, self.block, first_line, self.offset);
                    work = self.lock();
                    work.applied(number, engine, scanned);
                    self.done.notify_all();
                }
            }
        }
    }
}

/// Tells the other threads when this one panics.
struct Failing<'a, 'b>(&'b Feeding<'a>);

impl Drop for Failing<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().has_failed = true;
            self.0.done.notify_all();
        }
    }
}

/// Feeds a block of whole lines to engines that have a part of the symbols each, in as many threads: what each gave.
pub fn feed(
    mut engines: Vec<&mut Engine>,
    block: &[u8],
    first_line: i64,
    offset: i64,
    piece_bytes: usize,
) -> Vec<Output> {
    let threads = engines.len();
    let spare = engines.first_mut().map(|engine| std::mem::take(&mut engine.spare)).unwrap_or_default();
    let pieces = pieces_of(block, piece_bytes);
    let shares = engines.into_iter().map(|engine| Share { engine: Some(engine), pieces: 0, lines: 0 }).collect();
    let scanned = pieces.iter().map(|_| None).collect();
    let work = Mutex::new(Work { shares, begun: 0, scanned, spare, has_failed: false });
    let feeding = Feeding { block, first_line, offset, pieces, work, done: Condvar::new() };
    rayon::in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| feeding.run());
        }
        feeding.run();
    });
    let Work { shares, mut spare, .. } = feeding.work.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut finish = |share: Share| {
        let engine = share.engine?;
        engine.spare = std::mem::take(&mut spare);
        Some(engine.finish(share.lines))
    };
    shares.into_iter().map(|share| finish(share).unwrap_or_default()).collect()
}

/// Beginnings and ends of pieces of whole lines.
fn pieces_of(block: &[u8], piece_bytes: usize) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < block.len() {
        let wanted = (start + piece_bytes).min(block.len());
        let end = match memrchr(b'\n', &block[start..wanted]) {
            Some(at) => start + at + 1,
            None => memchr(b'\n', &block[wanted..]).map_or(block.len(), |at| wanted + at + 1),
        };
        pieces.push((start, end));
        start = end;
    }
    pieces
}
