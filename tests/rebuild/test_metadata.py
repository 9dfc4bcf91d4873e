"""What is told of symbols holds from its line on, until the next."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.datafile import Block
from kraken_l3.archive.journal import Acknowledged, Connected, Instruments
from kraken_l3.model.instruments import Instrument
from kraken_l3.rebuild.metadata import MetadataReader, MetadataTeller, SymbolMetadata


class Engine:
    """Notes what it was told, and before which line."""

    def __init__(self):
        self.line = 0
        self.known = {}

    def set_symbol(self, symbol, *, price_precision=None, qty_precision=None, depth=None):
        known = self.known.setdefault(symbol, [None, None, None])
        for index, value in enumerate((price_precision, qty_precision, depth)):
            known[index] = known[index] if value is None else value


class Receipts:
    """Line n was received at `times[n]` and is ten bytes long."""

    def __init__(self, times):
        self.times = times

    def line_at_time(self, at_ns):
        return next((line for line, time in enumerate(self.times) if time >= at_ns), len(self.times))

    def start_of(self, line):
        return 10 * line


def depths_by_line(told, times, cuts):
    """The depth that the engine knows when each line is fed, the lines cut into blocks at `cuts`."""
    engine = Engine()
    teller = MetadataTeller(engine, told)
    file = SimpleNamespace(receipts=Receipts(times))
    depths = []
    edges = sorted({0, *(cut for cut in cuts if cut < len(times)), len(times)})
    for first, last in zip(edges, edges[1:]):
        for piece in teller.cut(file, Block(b"123456789\n" * (last - first), first, 10 * first, file)):
            if isinstance(piece, Block):
                assert piece.first_line == len(depths)
                depths += [engine.known.get("A", [None] * 3)[2]] * (len(piece.data) // 10)
    return depths


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([10, 100, 1000])), min_size=1, max_size=6),
    st.lists(st.integers(0, 3), min_size=1, max_size=15),
    st.sets(st.integers(1, 14)),
)
def test_each_line_has_the_last_depth_told_at_its_time_and_the_first_one_before_any(told, steps, cuts):
    told = sorted(told, key=lambda each: each[0])
    times = [sum(steps[: n + 1]) for n in range(len(steps))]
    metadata = [SymbolMetadata(at_ns, "A", depth=depth) for at_ns, depth in told]
    expected = []
    for time in times:
        before = [depth for at_ns, depth in told if at_ns <= time]
        expected.append(before[-1] if before else told[0][1])
    assert depths_by_line(metadata, times, cuts) == expected


def test_a_first_value_is_told_ahead_and_a_change_is_not():
    engine = Engine()
    MetadataTeller(engine, [SymbolMetadata(5, "A", 1, 8), SymbolMetadata(9, "A", depth=10), SymbolMetadata(20, "A", 2)])
    assert engine.known == {"A": [1, 8, 10]}


def test_what_was_told_before_the_beginning_is_known_there():
    engine = Engine()
    MetadataTeller(engine, [SymbolMetadata(5, "A", depth=10), SymbolMetadata(9, "A", depth=100)], begin_ns=9)
    assert engine.known["A"][2] == 100


def test_without_receipts_a_change_waits_for_the_next_file():
    engine = Engine()
    teller = MetadataTeller(engine, [SymbolMetadata(1, "A", depth=10), SymbolMetadata(2, "A", depth=100)])
    block = Block(b"{}\n", 0, 0, None)
    assert list(teller.cut(SimpleNamespace(receipts=None), block)) == [block]
    assert engine.known["A"][2] == 10


def read(records):
    reader = MetadataReader()
    return [told for record in records for told in reader.read(record)]


def acknowledged(at_ns, depth, connection=1, channel="level3"):
    return Acknowledged(at_ns=at_ns, connection=connection, channel=channel, symbol="A", depth=depth)


def connected(at_ns, connection=1, **how):
    return Connected(at_ns=at_ns, connection=connection, url="wss://x", channel="level3", symbols=["A"], **how)


def test_the_first_depth_of_a_connection_holds_from_its_beginning_and_the_next_from_its_own_moment():
    told = read([connected(10), acknowledged(20, 10), acknowledged(30, 100), connected(40, 2), acknowledged(50, 10, 2)])
    assert [(each.at_ns, each.depth) for each in told] == [(10, 10), (30, 100), (40, 10)]


def test_a_connection_restated_at_midnight_began_where_it_began():
    told = read([connected(10), connected(100, restated=True), acknowledged(120, 10)])
    assert [(each.at_ns, each.depth) for each in told] == [(10, 10)]


def test_other_channels_and_unknown_depths_tell_nothing():
    assert read([acknowledged(1, 10, channel="trade"), acknowledged(2, None)]) == []


def test_an_instrument_list_tells_precisions():
    pair = Instrument(symbol="A", price_precision=1, qty_precision=8)
    assert read([Instruments(at_ns=7, instruments=[pair])]) == [SymbolMetadata(7, "A", 1, 8)]
