"""All at once: three sources, clocks hours apart and stepping, midnight at different times, damage, one sealed."""

import datetime as dt
import itertools
import json
from pathlib import Path

from recordings import (
    Outage,
    Recorder,
    contents,
    count_snapshots,
    identities,
    lines_of,
    record,
    records_of,
    streamed,
)

from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.journal import GapClosed, NotSpliced, Repaired
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.sealing import day_sealing, seal, unsealed_days
from kraken_l3.clock import SystemClock
from kraken_l3.merge.job import merge
from kraken_l3.rebuild.sealing import describe
from kraken_l3.rebuild.verify import verify

HOUR_NS = 3_600 * 10**9


def test_three_sources_in_any_order(tmp_path: Path) -> None:
    stream = streamed(600)
    before, behind, neither = 110, 480, 300  # of messages that are lost, two of three times by one source alone
    hows = [
        Recorder(
            outages=(Outage(60, 150), Outage(260, 330, "clock", 2 * HOUR_NS)),
            damaged=frozenset({50, 400}),
            lost=frozenset({behind}),
        ),
        Recorder(outages=(Outage(160, 250),), offset_ns=-HOUR_NS, shuffle_seed=1, damaged=frozenset({50, 400})),
        Recorder(
            outages=(Outage(340, 470, "clock", -3 * HOUR_NS), Outage(500, 560)),
            offset_ns=2 * HOUR_NS,
            shuffle_seed=2,
            latency_ns=90_000_000,
            lost=frozenset({before, neither}),
            damaged=frozenset({50}),
        ),
    ]
    sources = [record(tmp_path / f"s{n}", stream, how) for n, how in enumerate(hows)]
    days = [open_archive(source).days for source in sources]
    assert len({str(each) for each in days}) == 3, days  # by their clocks
    filesystem = OsFileSystem()
    for day in unsealed_days(filesystem, sources[2], dt.date(2026, 12, 31))[:2]:
        day_files = day_sealing(filesystem, sources[2], day)
        seal(day_files, filesystem=filesystem, clock=SystemClock(), describe=describe)
    assert list(sources[2].glob("*.zst"))
    found = []
    for number, order in enumerate(itertools.permutations(sources)):
        out = tmp_path / f"out{number}"
        report = merge(order, out)
        assert report.exit_code() == 0, report
        found.append(contents(out))
    assert all(each == found[0] for each in found[1:])
    lines = [line for line in lines_of(tmp_path / "out0") if line.endswith(b"}")]
    assert identities(lines) == identities(stream.lines)
    assert count_snapshots(lines) == len(stream.symbols)
    assert all(each.tally.ok == each.tally.messages for each in verify(tmp_path / "out0").symbols.values())
    causes = [each.cause for each in records_of(tmp_path / "out0", Repaired)]
    assert (causes.count("clock"), causes.count("network"), causes.count("lost")) == (4, 6, 3)


def in_twos(lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The same changes of the books in half as many messages: each second one has its predecessor's entries too."""
    kept: dict[str, dict] = {}
    found = []
    for line in lines:
        message = json.loads(line, parse_float=lambda text: f"<{text}>")
        data = message["data"][0]
        if message["type"] == "snapshot":
            found.append(line)
            continue
        first = kept.pop(data["symbol"], None)
        if first is None:
            kept[data["symbol"]] = data
            continue
        for side in ("bids", "asks"):
            data[side] = first[side] + data[side]
        text = json.dumps(message, separators=(",", ":"))
        found.append(text.replace('"<', "").replace('>"', "").encode())
    return tuple(found)


def test_messages_that_are_divided_differently_are_not_spliced(tmp_path: Path) -> None:
    """Their order events are the same, but no message is: the better recorder is kept as it is, gap and all."""
    stream = streamed(600, symbols=("BTC/USD",), depth=100)
    divided = stream._replace(lines=in_twos(stream.lines))
    assert len(divided.lines) == (len(stream.lines) - 1) // 2 + 1
    whole = record(tmp_path / "divided", divided)
    assert all(each.tally.ok == each.tally.messages for each in verify(whole).symbols.values())
    for name, outages in (("better", (Outage(200, 210),)), ("worse", (Outage(100, 300),))):
        source = record(tmp_path / name, stream, Recorder(outages=outages))
        divided_has_gap = record(tmp_path / f"divided-{name}", divided, Recorder(outages=(Outage(25, 40),)))
        out = tmp_path / f"out-{name}"
        report = merge([source, divided_has_gap], out)
        assert report.exit_code() == 3
        assert report.not_spliced
        assert {each.reason for each in records_of(out, NotSpliced)} == {"no message in common"}
        kept = lines_of(source if name == "better" else divided_has_gap)
        lines = lines_of(out)
        assert lines[-len(kept) :] == kept
        assert len(lines) - len(kept) <= 2  # what the other had before the first message of the better one
        assert [each.cause for each in records_of(out, GapClosed)][-1] == "network"
