//! Every line of the corpus, however it is cut, put together and shared out: nothing fails, and nothing is lost.
//! `tests/engine/test_corpus.py` of the main package holds the same files against the engine in Python.

use std::fs;
use std::path::Path;

use kraken_l3_native::engine::Engine;
use kraken_l3_native::notes::Note;
use kraken_l3_native::options::{Options, RowOptions};
use kraken_l3_native::shares;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5);
    files.into_iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

fn options(part: (u32, u32)) -> Options {
    let rows = Some(RowOptions { levels: 3, grid_ns: None, orders: true });
    Options { messages: true, events: true, rows, part, only: None, until_ns: None }
}

/// What an engine has found: its counts, and every symbol's.
fn found(engines: &[Engine]) -> Vec<String> {
    let mut tallies: Vec<_> = engines
        .iter()
        .flat_map(|engine| engine.symbols())
        .map(|symbol| format!("{} {:?} {:?}", symbol.name, symbol.state, symbol.tally))
        .collect();
    tallies.sort();
    let (mut not_data, mut malformed, mut skipped, mut elsewhere) = (0, 0, 0, 0);
    for totals in engines.iter().map(Engine::totals) {
        not_data += totals.not_data;
        malformed += totals.malformed;
        skipped += totals.skipped;
        elsewhere += totals.level3_elsewhere;
    }
    let lines = engines[0].totals().lines;
    let passed_over = skipped - lines * (engines.len() as u64 - 1);
    tallies.push(format!(
        "lines {lines}, not data {not_data}, malformed {malformed}, skipped {passed_over}, level3 in {elsewhere}"
    ));
    tallies
}

fn fed(block: &[u8], part: (u32, u32)) -> Engine {
    let mut engine = Engine::new(options(part));
    engine.feed(block, 0, 0, None);
    engine
}

#[test]
fn lines_one_by_one_are_the_file() {
    for (name, block) in corpus() {
        let mut engine = Engine::new(options((0, 1)));
        let mut offset = 0;
        for (number, line) in (0..).zip(block.split_inclusive(|byte| *byte == b'\n')) {
            engine.feed(line, number, offset, None);
            offset += line.len() as i64;
        }
        assert_eq!(found(&[engine]), found(&[fed(&block, (0, 1))]), "{name}");
    }
}

#[test]
fn shares_of_the_symbols_are_the_whole() {
    for (name, block) in corpus() {
        for parts in [2, 3, 8] {
            let shares: Vec<_> = (0..parts).map(|part| fed(&block, (part, parts))).collect();
            assert_eq!(found(&shares), found(&[fed(&block, (0, 1))]), "{name}, {parts} parts");
        }
    }
}

#[test]
fn shares_in_threads_are_the_whole() {
    for (name, block) in corpus() {
        let mut whole = Engine::new(options((0, 1)));
        let expected = [whole.feed(&block, 7, 0, None), whole.feed(&block, 9, 100, None)];
        for (parts, piece_bytes) in [(1, 1), (2, 100), (2, 1 << 20), (3, 5_000), (8, 1)] {
            let mut engines: Vec<_> = (0..parts).map(|part| Engine::new(options((part, parts)))).collect();
            for (expected, (line, offset)) in expected.iter().zip([(7, 0), (9, 100)]) {
                let outputs = shares::feed(engines.iter_mut().collect(), &block, line, offset, piece_bytes);
                assert!(outputs.iter().all(|output| output.lines == expected.lines), "{name}");
                let mut notes: Vec<_> = outputs.iter().flat_map(|output| &output.notes).collect();
                notes.sort_by_key(|note| note.line);
                let told = |notes: &[&Note]| {
                    let told = notes.iter().map(|note| (note.line, note.offset, note.kind, note.detail.clone()));
                    let mut told: Vec<_> = told.collect();
                    told.sort();
                    told
                };
                assert_eq!(told(&notes), told(&expected.notes.iter().collect::<Vec<_>>()), "{name}, {parts} parts");
            }
            assert_eq!(found(&engines), found(std::slice::from_ref(&whole)), "{name}, {parts} parts");
        }
    }
}

#[test]
fn no_cut_does_harm() {
    for (_, block) in corpus() {
        for line in block.split(|byte| *byte == b'\n').filter(|line| line.len() < 2_000) {
            for end in 0..line.len() {
                fed(&line[..end], (0, 1));
                fed(&line[end..], (1, 2));
            }
        }
    }
}
