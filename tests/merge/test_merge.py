import datetime as dt
import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import (
    Outage,
    Recorder,
    Streamed,
    contents,
    count_snapshots,
    identities,
    lines_of,
    record,
    records_of,
    rewritten,
    streamed,
)

from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.journal import (
    AlignedByContent,
    Conflict,
    GapClosed,
    GapOpened,
    MergedSource,
    NotSpliced,
    Repaired,
    TradeGap,
)
from kraken_l3.archive.merged import later_in
from kraken_l3.archive.reader import Archive
from kraken_l3.archive.sealing import day_sealing, seal, unsealed_days
from kraken_l3.clock import SystemClock
from kraken_l3.engine.port import EngineOptions
from kraken_l3.engine.python import PythonEngine
from kraken_l3.errors import UsageError
from kraken_l3.exchange.flow import listing
from kraken_l3.merge.job import merge
from kraken_l3.model.timestamps import format_rfc3339, parse_rfc3339
from kraken_l3.protocol.decoding import decode_trades
from kraken_l3.rebuild.sealing import describe
from kraken_l3.rebuild.verify import verify

HOUR_NS = 3_600 * 10**9


def merged(directory: Path, *recorders: Recorder, stream: Streamed, reverse: bool = False):
    sources = [record(directory / f"s{n}", stream, how) for n, how in enumerate(recorders)]
    out = directory / ("out-reversed" if reverse else "out")
    return out, merge(sources[::-1] if reverse else sources, out)


def assert_is_stream(out: Path, stream: Streamed) -> None:
    lines = lines_of(out)
    assert identities(lines) == identities(stream.lines)
    assert count_snapshots(lines) == len(stream.symbols)


# -- nothing is lost that anybody has


def test_an_outage_is_filled_from_the_other(tmp_path):
    stream = streamed()
    out, report = merged(
        tmp_path,
        Recorder(outages=(Outage(100, 200),), shuffle_seed=1),
        Recorder(outages=(Outage(250, 300),), shuffle_seed=2, latency_ns=9_000_000),
        stream=stream,
    )
    assert report.exit_code() == 0, report
    assert_is_stream(out, stream)
    repaired = records_of(out, Repaired)
    assert {(each.source, each.cause, each.proof) for each in repaired} == {
        (0, "network", "book"),
        (1, "network", "book"),
    }
    assert sum(each.lines for each in repaired if each.source == 0) == 100
    assert sum(each.lines for each in repaired if each.source == 1) == 50
    assert not records_of(out, GapClosed)
    found = verify(out)
    assert found.totals.malformed == 0
    assert all(each.tally.ok == each.tally.messages for each in found.symbols.values())


@st.composite
def cut(draw, messages=300, symbols=2):
    """Recorders of one stream, of which always one is there, with what it takes to see that they overlap."""
    count = draw(st.integers(2, 3))
    overlap = 30
    whole = st.integers(0, messages)
    begins = [symbols + 2 * overlap * n for n in range(count)]
    recorders = []
    busy: list[tuple[int, int]] = []  # while one is out, the others are there
    for n in range(count):
        begin = draw(st.sampled_from([0, begins[n]])) if n else 0
        outages = []
        at = begin + overlap
        for _ in range(draw(st.integers(0, 3))):
            first = at + draw(whole) % 60
            last = first + 1 + draw(whole) % 60
            if last + overlap > messages:
                break
            is_free = all(last + overlap < low or high + overlap < first for low, high in busy)
            step = draw(st.sampled_from([0, 2 * HOUR_NS, -3 * HOUR_NS]))
            if is_free and (n == 0 or last > begins[n] + overlap):
                outages.append(Outage(first, last, draw(st.sampled_from(["network", "clock", "crash"])), step))
                busy.append((first, last))
            at = last + overlap
        recorders.append(
            Recorder(
                begin=begin,
                outages=tuple(outages),
                offset_ns=draw(st.sampled_from([0, 7_000_000, 2 * HOUR_NS, -HOUR_NS])),
                latency_ns=draw(st.sampled_from([1_000_000, 400_000_000])),
                rewrite=draw(st.sampled_from([bytes, rewritten])),
                shuffle_seed=draw(st.sampled_from([None, 1, 2, 3])),
                damaged=frozenset(draw(st.lists(whole, max_size=2))),
            )
        )
    for number in draw(st.lists(st.integers(symbols, messages - 1), max_size=5)):
        having = [n for n, each in enumerate(recorders) if each.has(number)]
        if len(having) > 1:
            loser = having[draw(whole) % len(having)]
            recorders[loser] = recorders[loser]._replace(lost=recorders[loser].lost | {number})
    # all others begin while the first is there
    first = recorders[0]
    late = max(each.begin for each in recorders) + 2 * overlap
    recorders[0] = first._replace(outages=tuple(each for each in first.outages if each.begin > late))
    return recorders


@given(cut(), st.integers(1, 3))
@settings(max_examples=10)
def test_any_way_of_cutting_a_stream_merges_back_to_it(recorders, seed):
    stream = streamed(300, seed=seed)
    with tempfile.TemporaryDirectory() as directory:
        out, report = merged(Path(directory), *recorders, stream=stream)
        assert_is_stream(out, stream)
        assert report.exit_code() == 0, report
        assert report.mismatched == 0
        out_reversed = Path(directory) / "reversed"
        merge([Path(directory) / f"s{n}" for n in range(len(recorders))][::-1], out_reversed)
        assert contents(out) == contents(out_reversed)


def test_an_archive_with_itself_is_that_archive(tmp_path):
    stream = streamed()
    how = Recorder(outages=(Outage(90, 140), Outage(300, 320)), damaged=frozenset({50, 200}), trades=True)
    source = record(tmp_path / "a", stream, how)
    report = merge([source, source], tmp_path / "out")
    assert report.gaps == 4
    assert report.exit_code() == 3  # its own gaps remain
    before, after = contents(source), contents(tmp_path / "out")
    data = [name for name in before if name.endswith(".ndjson") and not name.startswith("journal")]
    assert {"l3-2026-11-22.ndjson", "l3-2026-11-23.ndjson", "trade-2026-11-23.ndjson"} <= set(data)
    for name in data:
        assert before[name] == after[name], name
    edges = [
        (gap.symbol, gap.cause, gap.left_ns, gap.right_ns, kind)
        for path, kind in ((source, 0), (tmp_path / "out", 0))
        for gap in records_of(path, GapClosed)
    ]
    assert sorted(edges[: len(edges) // 2]) == sorted(edges[len(edges) // 2 :])


def test_an_archive_alone_is_that_archive(tmp_path):
    stream = streamed()
    source = record(tmp_path / "a", stream, Recorder(outages=(Outage(90, 140),), damaged=frozenset({50})))
    merge([source], tmp_path / "out")
    assert lines_of(tmp_path / "out") == lines_of(source)


def test_both_down_at_once_is_one_gap_with_right_edges(tmp_path):
    stream = streamed()
    one = record(tmp_path / "a", stream, Recorder(outages=(Outage(100, 200, "network"),)))
    other = record(tmp_path / "b", stream, Recorder(outages=(Outage(150, 260, "crash"),), shuffle_seed=1))
    report = merge([one, other], tmp_path / "out")
    assert report.exit_code() == 3
    assert report.gaps == len(stream.symbols)
    lines = lines_of(tmp_path / "out")
    assert identities(lines) == identities([*stream.lines[:150], *stream.lines[200:]])
    assert count_snapshots(lines) == 2 * len(stream.symbols)
    right_ns = min(gap.right_ns for gap in records_of(one, GapClosed))
    left_ns = max(gap.left_ns for gap in records_of(other, GapClosed))
    for kind in (GapOpened, GapClosed):
        gaps = [gap for gap in records_of(tmp_path / "out", kind) if gap.cause != "stop"]
        assert {(gap.symbol, gap.cause, gap.left_ns) for gap in gaps} == {
            (symbol, "crash", left_ns) for symbol in stream.symbols
        }
        assert len(gaps) == len(stream.symbols)
    assert {gap.right_ns for gap in records_of(tmp_path / "out", GapClosed)} == {right_ns}
    assert verify(tmp_path / "out").symbols["BTC/USD"].tally.mismatched == 0


def test_a_lost_message_that_no_checksum_sees(tmp_path):
    """At depth 100 most messages are below the ten levels that the checksum covers."""
    stream = streamed(300, depth=100, symbols=("BTC/USD",))
    unseen = next(number for number in range(60, 300) if not any(_verdicts_without(stream, number)))
    one = record(tmp_path / "a", stream, Recorder(lost=frozenset({unseen})))
    other = record(tmp_path / "b", stream)
    assert verify(one).symbols["BTC/USD"].tally.mismatched == 0
    report = merge([one, other], tmp_path / "out")
    assert report.exit_code() == 0
    assert lines_of(tmp_path / "out") == list(stream.lines)
    (repaired,) = records_of(tmp_path / "out", Repaired)
    assert (repaired.cause, repaired.proof, repaired.lines) == ("lost", "unseen", 1)


def _verdicts_without(stream: Streamed, number: int) -> list[int]:
    """Of the messages behind one, where it is lost."""
    engine = PythonEngine(EngineOptions(messages=True))
    for pair in listing(list(stream.symbols)):
        engine.set_symbol(
            pair.symbol, price_precision=pair.price_precision, qty_precision=pair.qty_precision, depth=stream.depth
        )
    lines = [*stream.lines[:number], *stream.lines[number + 1 :]]
    return list(engine.feed(b"\n".join(lines) + b"\n", 0, 0).messages["verdict"][number:])


def test_what_the_one_lost_while_the_other_was_away_is_found_by_the_snapshot(tmp_path):
    """No checksum sees it, but the book of the one that returns is another one."""
    stream = streamed(300, depth=100, symbols=("BTC/USD",))
    unseen = next(number for number in range(110, 140) if not any(_verdicts_without(stream, number)))
    one = record(tmp_path / "a", stream, Recorder(lost=frozenset({unseen})))
    other = record(tmp_path / "b", stream, Recorder(outages=(Outage(100, 150),)))
    report = merge([one, other], tmp_path / "out")
    assert (report.exit_code(), report.gaps) == (3, 1)
    lines = lines_of(tmp_path / "out")
    assert identities(lines) == identities(stream.lines[:unseen] + stream.lines[unseen + 1 :])
    assert count_snapshots(lines) == 2
    (gap,) = records_of(tmp_path / "out", GapClosed)
    assert gap.cause == "mismatch"
    merge([record(tmp_path / "whole", stream), other], tmp_path / "out-whole")
    assert lines_of(tmp_path / "out-whole") == list(stream.lines)


def test_a_lost_message_that_the_checksum_sees_is_proved_by_it(tmp_path):
    stream = streamed(300, symbols=("BTC/USD",))
    seen = next(number for number in range(60, 300) if _verdicts_without(stream, number)[0])
    report = merge(
        [record(tmp_path / "a", stream, Recorder(lost=frozenset({seen}))), record(tmp_path / "b", stream)],
        tmp_path / "out",
    )
    assert report.exit_code() == 0
    assert lines_of(tmp_path / "out") == list(stream.lines)
    (repaired,) = records_of(tmp_path / "out", Repaired)
    assert (repaired.cause, repaired.proof, repaired.lines) == ("lost", "checksums", 1)


def changed(number: int, stream: Streamed):
    """A connection that says something else of one message, where no checksum sees it."""
    wrong = stream.lines[number].replace(b'"order_id":"O', b'"order_id":"X')
    assert wrong != stream.lines[number]
    return lambda line: wrong if line == stream.lines[number] else line


def test_different_content_at_one_place_is_a_conflict(tmp_path):
    stream = streamed(300, symbols=("BTC/USD",))
    one = record(tmp_path / "a", stream)
    other = record(tmp_path / "b", stream, Recorder(rewrite=changed(100, stream), latency_ns=8_000_000))
    report = merge([one, other], tmp_path / "out")
    assert report.exit_code() == 2
    assert report.conflicts == 1
    (conflict,) = records_of(tmp_path / "out", Conflict)
    lines = lines_of(tmp_path / "out")
    kept = (tmp_path / "out" / "l3-2026-11-22.conflicts").read_bytes().removesuffix(b"\n")
    assert conflict.symbol == "BTC/USD"
    assert {kept, lines[100]} == {stream.lines[100], changed(100, stream)(stream.lines[100])}
    # the one whose checksums come out is in the data, whichever comes first
    assert lines == list(stream.lines)
    assert verify(tmp_path / "out").symbols["BTC/USD"].tally.mismatched == 0


def test_of_a_conflict_the_line_whose_checksum_comes_out_is_kept(tmp_path):
    stream = streamed(300, symbols=("BTC/USD",))
    number = next(
        number
        for number in range(100, 300)
        if b'"event":"add"' in stream.lines[number] and _verdict_of(stream, number, more(stream.lines[number]))
    )
    wrong = Recorder(rewrite=lambda line: more(line) if line == stream.lines[number] else line)
    first = record(tmp_path / "a", stream, wrong)  # it begins first, so that it would be kept otherwise
    other = record(tmp_path / "b", stream, Recorder(begin=50))
    report = merge([first, other], tmp_path / "out")
    assert report.exit_code() == 2
    assert lines_of(tmp_path / "out") == list(stream.lines)
    assert report.mismatched == 0


def more(line: bytes) -> bytes:
    return line.replace(b'"order_qty":', b'"order_qty":9')


def _verdict_of(stream: Streamed, number: int, line: bytes) -> int:
    """What becomes of a line in the place of the one that the stream has there."""
    engine = PythonEngine(EngineOptions(messages=True))
    for pair in listing(list(stream.symbols)):
        engine.set_symbol(
            pair.symbol, price_precision=pair.price_precision, qty_precision=pair.qty_precision, depth=stream.depth
        )
    lines = [*stream.lines[:number], line]
    return engine.feed(b"\n".join(lines) + b"\n", 0, 0).messages["verdict"][-1]


def test_a_source_of_another_stream_is_not_spliced(tmp_path):
    stream = streamed(300, symbols=("BTC/USD",))
    foreign = streamed(250, symbols=("BTC/USD",), seed=9)
    one = record(tmp_path / "a", stream)
    other = record(tmp_path / "b", foreign, Recorder(begin=40))
    report = merge([one, other], tmp_path / "out")
    assert lines_of(tmp_path / "out") == list(stream.lines)  # no worse than the best of them
    assert report.exit_code() == 3
    (left_out,) = records_of(tmp_path / "out", NotSpliced)
    assert left_out.reason == "no message in common"


def test_another_depth_is_another_stream(tmp_path):
    shallow = record(tmp_path / "a", streamed(300, symbols=("BTC/USD",)))
    deep = record(tmp_path / "b", streamed(300, symbols=("BTC/USD",), depth=100))
    merge([shallow, deep], tmp_path / "out")
    assert lines_of(tmp_path / "out") in (lines_of(shallow), lines_of(deep))
    assert {each.reason for each in records_of(tmp_path / "out", NotSpliced)} == {"another depth"}


def stamped_anew(line: bytes) -> bytes:
    """A server that stamps the messages of each connection."""
    if b'"type":"update"' not in line:
        return line
    at = line.rindex(b'"timestamp":"') + len(b'"timestamp":"')
    end = line.index(b'"', at)
    later = format_rfc3339(parse_rfc3339(line[at:end].decode()) + 1_234_567)
    return line[:at] + later.encode() + line[end:]


def test_other_timestamps_are_aligned_by_content(tmp_path):
    stream = streamed(300)
    how = Recorder(outages=(Outage(100, 150),), lost=frozenset({60}))
    one = record(tmp_path / "a", stream, how)
    other = record(tmp_path / "b", stream, Recorder(rewrite=stamped_anew, outages=(Outage(200, 240),), shuffle_seed=1))
    report = merge([one, other], tmp_path / "out")
    assert report.exit_code() == 0, report
    found = {symbol: [each.untimed() for each in own] for symbol, own in identities(lines_of(tmp_path / "out")).items()}
    assert found == {symbol: [each.untimed() for each in own] for symbol, own in identities(stream.lines).items()}
    assert count_snapshots(lines_of(tmp_path / "out")) == 2
    assert {each.source for each in records_of(tmp_path / "out", AlignedByContent)} == {1}
    assert report.mismatched == 0


def test_the_clocks_are_written_down(tmp_path):
    stream = streamed()
    one = record(tmp_path / "a", stream)
    other = record(tmp_path / "b", stream, Recorder(offset_ns=HOUR_NS, begin=50))
    merge([one, other], tmp_path / "out")
    ahead = {each.name: each.clock_ahead_ns for each in records_of(tmp_path / "out", MergedSource)}
    assert ahead == {"a": 0, "b": HOUR_NS}


def test_how_much_later_is_told_from_a_bounded_number_of_messages(tmp_path):
    stream = slow()  # over three days
    out, _ = merged(tmp_path, Recorder(), Recorder(latency_ns=12_000_000), stream=stream)
    (all_of_them,), (few,) = (later_in(Archive(out), most=most) for most in (10**6, 30))
    assert all_of_them.messages == len(stream.lines)
    assert 20 <= few.messages <= 30
    assert few.p50_ns == all_of_them.p50_ns


def test_trades_are_there_once(tmp_path):
    stream = streamed()
    one = record(tmp_path / "a", stream, Recorder(outages=(Outage(100, 200),), trades=True))
    other = record(tmp_path / "b", stream, Recorder(outages=(Outage(250, 300),), trades=True))
    report = merge([one, other], tmp_path / "out")
    assert lines_of(tmp_path / "out", "trade") == [trade for _, trade in stream.trades]
    assert report.trades == len(stream.trades)
    assert report.exit_code() == 0


def slow() -> Streamed:
    """Three days of little."""
    return streamed(300, rate=0.0015, seed=4)


def test_what_was_killed_is_gone_on_with(tmp_path):
    stream = slow()
    sources = [
        record(tmp_path / "a", stream, Recorder(outages=(Outage(100, 130),), trades=True)),
        record(tmp_path / "b", stream, Recorder(latency_ns=9_000_000, rewrite=rewritten, trades=True)),
    ]
    merge(sources, tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    copies: list[Path] = []

    def killed_here(_bytes: int) -> None:
        if (tmp_path / "killed").exists():
            copies.append(tmp_path / f"copy{len(copies)}")
            shutil.copytree(tmp_path / "killed", copies[-1])

    merge(sources, tmp_path / "killed", progress=killed_here)
    assert contents(tmp_path / "killed") == whole
    kept = 0
    for copy in copies:
        for path in copy.glob("*-2026-11-24.*"):  # what was not synced may be gone, or half there
            path.write_bytes(path.read_bytes()[:-7])
        first = copy / "l3-2026-11-22.ndjson"
        is_closed = b'"rotated"' in (copy / "journal-2026-11-22.ndjson").read_bytes()
        before = first.stat()
        merge(sources, copy)
        assert contents(copy) == whole
        if is_closed:
            kept += 1
            assert first.stat().st_mtime_ns == before.st_mtime_ns
    assert kept


def test_what_is_interrupted_is_gone_on_with(tmp_path):
    stream = slow()
    sources = [record(tmp_path / "a", stream), record(tmp_path / "b", stream, Recorder(lost=frozenset({60})))]
    merge(sources, tmp_path / "whole")
    for reads in itertools.count(1):
        left = [reads]

        def stop(_bytes: int) -> None:
            left[0] -= 1  # noqa: B023 - of this round
            if not left[0]:  # noqa: B023
                raise KeyboardInterrupt

        try:
            merge(sources, tmp_path / "out", progress=stop)
        except KeyboardInterrupt:
            continue
        break
    assert reads > 5
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_something_else_is_not_overwritten(tmp_path):
    stream = streamed()
    one, other = record(tmp_path / "a", stream), record(tmp_path / "b", stream, Recorder(begin=50))
    before = contents(other)
    for out in (other, tmp_path):
        with pytest.raises(UsageError):
            merge([one, other], out)
    with pytest.raises(UsageError, match="something else"):
        merge([one], other)
    merge([one], tmp_path / "out")
    with pytest.raises(UsageError, match="something else"):
        merge([one, other], tmp_path / "out")
    assert contents(other) == before
    for missing in ("journal-*", "*.receipts"):  # lines alone are somebody's recording too
        for path in other.glob(missing):
            path.unlink()
        before = contents(other)
        with pytest.raises(UsageError, match="something else"):
            merge([one], other)
        assert contents(other) == before
    with pytest.raises(UsageError, match="not a directory"):
        merge([one], next(other.glob("l3-*.ndjson")))


def test_a_sealed_source_and_a_sealed_result(tmp_path):
    stream = slow()
    one = record(tmp_path / "a", stream, Recorder(outages=(Outage(100, 130),)))
    other = record(tmp_path / "b", stream, Recorder(outages=(Outage(190, 220),)))
    merge([one, other], tmp_path / "out")
    seal_days(one)
    assert list(one.glob("*.zst"))
    merge([one, other], tmp_path / "again")
    data = {name: text for name, text in contents(tmp_path / "out").items() if not name.startswith("journal")}
    assert data.items() <= contents(tmp_path / "again").items()
    seal_days(tmp_path / "again")
    assert_is_stream(tmp_path / "again", stream)
    manifests = list((tmp_path / "again").glob("*.manifest.json"))
    assert manifests
    assert b"l3-2026-11-22.sources" in manifests[0].read_bytes() or b".sources" in manifests[-1].read_bytes()


def seal_days(directory: Path) -> None:
    files, clock = OsFileSystem(), SystemClock()
    for day in unsealed_days(files, directory, dt.date(2026, 12, 31))[:2]:
        seal(day_sealing(files, directory, day), filesystem=files, clock=clock, describe=describe)


def test_files_of_another_recorder(tmp_path):
    """Without receipts and journal, and with lines of other channels between."""
    stream = streamed(300)
    one = record(tmp_path / "a", stream, Recorder(outages=(Outage(100, 150),)))
    heartbeat = b'{"channel":"heartbeat"}'
    with (tmp_path / "other.ndjson").open("wb") as file:
        for line in stream.lines:
            file.write(line + b"\n" + heartbeat + b"\n")
    report = merge([one, tmp_path / "other.ndjson"], tmp_path / "out")
    assert identities(lines_of(tmp_path / "out")) == identities(stream.lines)
    assert report.exit_code() == 0
    assert heartbeat not in lines_of(tmp_path / "out")
    assert sum(source.left_out for source in report.sources) == len(stream.lines)


def test_little_waits(tmp_path):
    """However small the bounds, what comes out is the stream, or less well spliced, and never anything twice."""
    stream = slow()
    one = record(tmp_path / "a", stream, Recorder(outages=(Outage(100, 130), Outage(180, 220)), shuffle_seed=1))
    other = record(tmp_path / "b", stream, Recorder(shuffle_seed=2, rewrite=rewritten, lost=frozenset({150})))
    merge([one, other], tmp_path / "out", waiting_bytes=1, slack_ns=0)
    whole = identities(stream.lines)
    for symbol, found in identities(lines_of(tmp_path / "out")).items():
        assert len(found) > len(whole[symbol]) // 2
        places = [whole[symbol].index(each) for each in found]
        assert places == sorted(set(places))


def test_trades_that_nobody_has(tmp_path):
    stream = streamed()
    at = stream.trades[len(stream.trades) // 2][0]
    one = record(tmp_path / "a", stream, Recorder(outages=(Outage(at - 40, at + 10),), trades=True))
    other = record(tmp_path / "b", stream, Recorder(outages=(Outage(at - 10, at + 40),), trades=True))
    merge([one, other], tmp_path / "out")
    lost = [trade for number, trade in stream.trades if at - 10 <= number < at + 10]
    assert lines_of(tmp_path / "out", "trade") == [trade for _, trade in stream.trades if trade not in lost]
    holes = records_of(tmp_path / "out", TradeGap)
    missing = {trade.trade_id for line in lost for trade in decode_trades(line)}
    assert sum(hole.next_id - hole.last_id - 1 for hole in holes) == len(missing)
