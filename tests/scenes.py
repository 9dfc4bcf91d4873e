"""Archives with right checksums, written by the real writer."""

from kraken_l3.archive.journal import Acknowledged, Connected, GapClosed, GapOpened, Instruments, Started, Stopped
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.exchange.flow import generate, listing
from kraken_l3.model.frames import Frame
from kraken_l3.model.instruments import Instrument
from kraken_l3.model.timestamps import NS_PER_S, parse_rfc3339

NOON_NS = parse_rfc3339("2026-11-22T12:00:00Z")
SYMBOLS = ("BTC/USD", "DOGE/USD")


class Clock:
    """Stands still unless it is moved."""

    def __init__(self, now_ns=NOON_NS):
        self.now_ns = now_ns

    def wall_ns(self):
        return self.now_ns

    def mono_ns(self):
        return self.now_ns


class Scene:
    """An archive directory that is being written, one frame every `step_ns`."""

    def __init__(self, directory, symbols=SYMBOLS, depth=10, now_ns=NOON_NS, step_ns=10_000_000, facts=True):
        self.directory, self.symbols, self.depth, self.step_ns = directory, symbols, depth, step_ns
        self.clock = Clock(now_ns)
        self.writer = ArchiveWriter.open(directory, clock=self.clock)
        self.connection = 0
        self.journal(Started, version="0", host="h", boot_id="b", pid=1, config={})
        if facts:
            self.journal_instruments()
            self.connect(depth)

    def journal(self, kind, **fields):
        self.writer.journal(kind(at_ns=self.clock.now_ns, mono_ns=self.clock.now_ns, **fields))

    def journal_instruments(self):
        pairs = [
            Instrument(symbol=p.symbol, price_precision=p.price_precision, qty_precision=p.qty_precision)
            for p in listing(list(self.symbols))
        ]
        self.journal(Instruments, instruments=pairs)

    def connect(self, depth):
        self.open_connection()
        self.acknowledge(depth)

    def open_connection(self):
        self.connection += 1
        self.journal(Connected, url="wss://x", symbols=list(self.symbols), connection=self.connection, channel="level3")

    def acknowledge(self, depth):
        for symbol in self.symbols:
            self.journal(Acknowledged, symbol=symbol, depth=depth, connection=self.connection, channel="level3")

    def gap(self, cause="network", seconds=5):
        left = self.clock.now_ns
        for symbol in self.symbols:
            self.journal(GapOpened, channel="level3", symbol=symbol, cause=cause, left_ns=left)
        self.clock.now_ns += seconds * NS_PER_S
        for symbol in self.symbols:
            gap = {"channel": "level3", "symbol": symbol, "cause": cause, "left_ns": left}
            self.journal(GapClosed, right_ns=self.clock.now_ns, **gap)

    def write(self, lines):
        for line in lines:
            self.clock.now_ns += self.step_ns
            self.writer.append("level3", [Frame(line, self.clock.now_ns, self.clock.now_ns, max(self.connection, 1))])
        self.writer.flush()

    def flow(self, messages, seed=1, depth=None):
        return list(generate(symbols=self.symbols, messages=messages, depth=depth or self.depth, seed=seed))

    def close(self):
        self.journal(Stopped, reason="SIGTERM")
        self.writer.close()
        return self.directory


def recorded(directory, messages=400, **options):
    scene = Scene(directory, **options)
    scene.write(scene.flow(messages))
    return scene.close()
