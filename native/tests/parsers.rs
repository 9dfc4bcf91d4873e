//! The fast scanner and the complete parser: what the one accepts, the other reads to the same result; and nothing
//! makes either of them, or the engine behind them, fail.

use kraken_l3_native::engine::Engine;
use kraken_l3_native::generic::{self, Line};
use kraken_l3_native::ids::InternedIds;
use kraken_l3_native::message::Parsed;
use kraken_l3_native::options::{Options, RowOptions};
use kraken_l3_native::scan;
use kraken_l3_native::time::CachedTime;
use proptest::prelude::*;

const FAST_PATH: &str = include_str!("../corpus/fast_path.ndjson");
const FALLBACK: &str = include_str!("../corpus/fallback.ndjson");

/// Whether the scanner took the line; if so, both must have read the same.
fn scanned_alike(line: &[u8]) -> bool {
    let (mut fast, mut complete) = (Parsed::default(), Parsed::default());
    let Some(length) = scan::scan(line, &mut fast, &mut CachedTime::default()) else {
        return false;
    };
    assert_eq!(&line[length..line.len().min(length + 1)], &b"\n"[..line.len().min(length + 1) - length]);
    let parsed = generic::parse(&line[..length], &mut complete, &mut InternedIds::default());
    assert_eq!(parsed, Line::Level3, "{}", String::from_utf8_lossy(line));
    assert_eq!(fast.kind, complete.kind);
    assert_eq!(fast.elements, complete.elements);
    assert_eq!(fast.entries, complete.entries);
    assert_eq!(fast.text, complete.text);
    true
}

fn feed(block: &[u8]) -> Engine {
    let rows = Some(RowOptions { levels: 2, grid_ns: None, orders: true });
    let mut engine =
        Engine::new(Options { messages: true, events: true, rows, part: (0, 1), only: None, until_ns: None });
    engine.feed(block, 0, 0, None);
    engine
}

#[test]
fn fast_path_lines_are_scanned() {
    for line in FAST_PATH.lines() {
        assert!(scanned_alike(line.as_bytes()), "{line}");
        assert!(scanned_alike(format!("{line}\n{line}").as_bytes()), "{line}");
        assert!(scanned_alike(format!("{line}\r\n").as_bytes()), "{line}");
    }
}

#[test]
fn no_cut_or_changed_byte_does_harm() {
    for line in FAST_PATH.lines().chain(FALLBACK.lines()) {
        let line = line.as_bytes();
        scanned_alike(line);
        for at in 0..line.len() {
            scanned_alike(&line[..at]);
            for byte in [0, b'"', b'0', b'9', b'.', b'\\', b',', b'}', b'\n', 0xFF] {
                let mut changed = line.to_vec();
                changed[at] = byte;
                scanned_alike(&changed);
            }
        }
        feed(&line[..line.len() / 2]);
    }
}

#[test]
fn corpus_gives_the_same_however_it_is_cut() {
    let corpus = [FAST_PATH, FALLBACK, FAST_PATH].concat();
    let whole = feed(corpus.as_bytes());
    let mut pieces = Engine::new(Options { part: (0, 1), ..Options::default() });
    let mut at = 0;
    for (number, line) in (0..).zip(corpus.split_inclusive('\n')) {
        pieces.feed(line.as_bytes(), number, at, None);
        at += line.len() as i64;
    }
    assert_eq!(format!("{:?}", whole.totals()), format!("{:?}", pieces.totals()));
    for (one, other) in whole.symbols().iter().zip(pieces.symbols()) {
        assert_eq!(format!("{:?}", one.tally), format!("{:?}", other.tally));
    }
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "[1-9][0-9]{0,11}\\.[0-9]{1,10}",
        "0\\.[0-9]{1,12}",
        "[0-9]{1,17}",
        "\"?[0-9]{1,3}(\\.[0-9]{1,9})?[eE][+-]?[0-9]{1,3}\"?",
        "\"[1-9][0-9]{0,4}(\\.[0-9]{1,9})?\"",
        "[0-9]{0,3}[.eE-]{0,2}[0-9]{0,20}",
    ]
}

fn time() -> impl Strategy<Value = String> {
    prop_oneof![
        "20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[1-2][0-9])T[0-1][0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{9}Z",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{7,10}Z?",
    ]
}

prop_compose! {
    fn entry(with_event: bool)(event in "add|modify|delete|adde", id in "O[A-Z2-7]{5}-[A-Z2-7]{5}-[A-Z2-7]{6}",
                               price in number(), qty in number(), time in time()) -> String {
        let event = if with_event { format!(r#""event":"{event}","#) } else { String::new() };
        format!(r#"{{{event}"order_id":"{id}","limit_price":{price},"order_qty":{qty},"timestamp":"{time}"}}"#)
    }
}

fn line() -> impl Strategy<Value = String> {
    any::<bool>().prop_flat_map(|update| {
        let side = || proptest::collection::vec(entry(update), 0..4);
        let kind = if update { "update" } else { "snapshot" };
        (side(), side(), number(), time(), proptest::collection::vec(0usize..5, 0..6)).prop_map(
            move |(bids, asks, checksum, time, order)| {
                let fields = [
                    r#""symbol":"BTC/USD""#.to_owned(),
                    format!(r#""checksum":{checksum}"#),
                    format!(r#""bids":[{}]"#, bids.join(",")),
                    format!(r#""asks":[{}]"#, asks.join(",")),
                    format!(r#""timestamp":"{time}""#),
                ];
                let order = if order.is_empty() { vec![0, 1, 2, 3, 4] } else { order };
                let fields: Vec<&str> = order.iter().map(|at| fields[*at].as_str()).collect();
                format!(r#"{{"channel":"level3","type":"{kind}","data":[{{{}}}]}}"#, fields.join(","))
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn scanner_and_parser_agree(line in line(), at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in 0usize..3) {
        scanned_alike(line.as_bytes());
        let mut changed = line.into_bytes();
        let at = at.index(changed.len());
        changed[at] = byte;
        scanned_alike(&changed);
        changed.drain(at..(at + cut).min(changed.len()));
        scanned_alike(&changed);
        feed(&changed);
    }

    #[test]
    fn any_bytes_are_taken(block in proptest::collection::vec(any::<u8>(), 0..300)) {
        scanned_alike(&block);
        feed(&block);
    }
}
