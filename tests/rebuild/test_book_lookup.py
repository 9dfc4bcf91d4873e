"""Where a book is looked up from: the nearest checkpoint that can be used, found without decoding the others."""

import msgspec
import pytest

from kraken_l3.archive.checkpoints import Checkpoint, append_checkpoints, read_checkpoint, read_checkpoints, read_heads
from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.reader import open_archive
from kraken_l3.engine.port import EngineOptions
from kraken_l3.engine.python import PythonEngine
from kraken_l3.errors import DataMissing
from kraken_l3.exchange.flow import generate
from kraken_l3.model.timestamps import parse_rfc3339
from kraken_l3.rebuild.book_at import book_at
from kraken_l3.rebuild.checkpointing import Checkpointing
from scenes import NOON_NS, Scene

MESSAGES = 600


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """An archive with a checkpoint every 100 lines."""
    scene = Scene(tmp_path_factory.mktemp("recorded"))
    scene.write(scene.flow(MESSAGES))
    (path,) = open_archive(scene.close()).files()
    engine = PythonEngine()
    for symbol, price in (("BTC/USD", 1), ("DOGE/USD", 7)):
        engine.set_symbol(symbol, price_precision=price, qty_precision=8, depth=10)
    keeper = Checkpointing(engine)
    with DataFile(path) as file:
        for line in range(0, MESSAGES, 100):
            begin, end = file.at_line(line), file.at_line(line + 100)
            engine.feed(path.read_bytes()[begin.offset : end.offset], *begin)
            checkpoints = path.with_suffix(".checkpoints")
            keeper.fed(checkpoints, *end, lines=100, size=end.offset - begin.offset)
            keeper.end_file(checkpoints, *end)
    return path


def changed(path, tmp_path, change):
    """A copy of the archive whose checkpoints went through `change`."""
    for each in path.parent.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    copy = tmp_path / path.name
    made = list(read_checkpoints(copy.with_suffix(".checkpoints")))
    copy.with_suffix(".checkpoints").unlink()
    append_checkpoints(copy.with_suffix(".checkpoints"), [change(each) for each in made])
    return copy


@pytest.mark.parametrize("line", [1, 99, 100, 101, 250, 599, 600])
def test_no_more_than_the_lines_behind_the_nearest_are_read(recorded, tmp_path, line):
    found = book_at(recorded, "BTC/USD", line=line)
    bare = tmp_path / "bare.ndjson"
    bare.write_bytes(recorded.read_bytes())
    assert found.image == book_at(bare, "BTC/USD", line=line).image
    assert found.line == line
    assert found.tally.messages <= min(line, 99)


def test_the_end_needs_no_look_at_the_data(recorded):
    found = book_at(recorded.parent, "BTC/USD")
    assert (found.line, found.tally.messages) == (MESSAGES, 0)


def test_one_that_cannot_be_used_is_passed_over_for_the_one_before(recorded, tmp_path):
    def change(checkpoint):
        if checkpoint.line == 200:
            return msgspec.structs.replace(checkpoint, end_offset=checkpoint.end_offset + 1)
        if checkpoint.line == 300:
            text = bytes(checkpoint.message).replace(b'"checksum":', b'"checksum":1')
            return msgspec.structs.replace(checkpoint, message=msgspec.Raw(text))
        return checkpoint

    copy = changed(recorded, tmp_path, change)
    found = book_at(copy, "BTC/USD", line=350)
    assert found.image == book_at(recorded, "BTC/USD", line=350).image
    assert found.tally.messages > 100


def test_heads_are_those_of_the_checkpoints(recorded, tmp_path):
    path = tmp_path / "x.checkpoints"
    odd = Checkpoint(line=7, end_offset=70, symbol='A"\\/é', depth=10, message=msgspec.Raw(b'{"a":"\\u00e9"}'))
    append_checkpoints(path, [odd, Checkpoint(line=8, end_offset=80, symbol="B", reason="diverged")])
    with path.open("ab") as file:
        file.write(b'{"symbol":"C","line":9,"end_offset":90,"message":{}}\n{"line":1}\n{"line":')
    append_checkpoints(path, list(read_checkpoints(recorded.with_suffix(".checkpoints"))))
    heads = list(read_heads(path))
    whole = list(read_checkpoints(path))
    assert [head[:4] for head in heads] == [(c.line, c.end_offset, c.symbol, c.reason) for c in whole]
    assert [read_checkpoint(path, head) for head in heads] == whole
    lines = path.read_bytes().split(b"\n")
    assert [lines[head.number] for head in heads] == [
        path.read_bytes()[head.offset : head.offset + head.length] for head in heads
    ]
    assert list(read_heads(tmp_path / "absent")) == []


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_without_receipts_it_ends_before_the_first_later_message_of_any_pair(tmp_path, engine):
    lines = list(generate(symbols=3, messages=MESSAGES, seed=8))
    path = tmp_path / "theirs.ndjson"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    reader = PythonEngine(EngineOptions(messages=True))
    times = memoryview(reader.feed(path.read_bytes(), 0, 0).messages["msg_ns"]).cast("q")
    for at in (10, 333, MESSAGES - 1):
        end = next((number for number, ns in enumerate(times) if ns > times[at]), MESSAGES)
        found = book_at(path, "BTC/USD", at_ns=times[at], engine_name=engine)
        assert (found.line, found.image) == (end, book_at(path, "BTC/USD", line=end, engine_name=engine).image)
    assert book_at(path, "BTC/USD", at_ns=parse_rfc3339("2100-01-01"), engine_name=engine).line == MESSAGES
    with pytest.raises(DataMissing):
        book_at(path, "BTC/USD", at_ns=NOON_NS - 10**18, engine_name=engine)
