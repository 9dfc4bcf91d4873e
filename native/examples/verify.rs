//! Verifies a file and prints how fast, for profilers: `cargo run --release --no-default-features --example verify FILE`.

use std::time::Instant;

use kraken_l3_native::engine::Engine;
use kraken_l3_native::options::Options;

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_default();
    let block = std::fs::read(path)?;
    for _ in 0..std::env::args().nth(2).and_then(|runs| runs.parse().ok()).unwrap_or(3) {
        let mut engine = Engine::new(Options { part: (0, 1), ..Options::default() });
        let start = Instant::now();
        engine.feed(&block, 0, 0, None);
        let seconds = start.elapsed().as_secs_f64();
        let count = |of: fn(&kraken_l3_native::symbol::Tally) -> u64| -> u64 {
            engine.symbols().iter().map(|symbol| of(&symbol.tally)).sum()
        };
        let (messages, ok) = (count(|tally| tally.messages), count(|tally| tally.ok));
        println!("{:.0} ns a message, {messages} messages, {ok} ok", seconds * 1e9 / messages as f64);
    }
    Ok(())
}
