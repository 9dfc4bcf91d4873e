"""`kraken-l3 simulate --write`: an archive without sockets, as a recorder would have written it."""

import datetime as dt
import hashlib
import json
import subprocess
import sys

import pyarrow.compute as pc
import pytest

import kraken_l3
from kraken_l3.archive.checkpoints import read_checkpoints
from kraken_l3.archive.gaps import gaps_in
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.reader import open_archive
from kraken_l3.errors import UsageError
from kraken_l3.exchange.flow.measure import Mix
from kraken_l3.exchange.written import _Recording, write_archive
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.rebuild.recheckpointing import make_checkpoints
from kraken_l3.rebuild.verify import verify

MIDNIGHT = "2026-01-02T23:56:00Z"


def digests(directory):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
        if path.name not in ("writer.lock", "disk.reserve")
    }


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Over midnight, with two gaps, at a rate at which some trades come."""
    directory = tmp_path_factory.mktemp("simulated") / "data"
    return kraken_l3.simulate(directory, "8m", symbols=["ETH/USD", "SOL/USD"], start=MIDNIGHT, gaps=2, rate=25, seed=5)


def test_all_of_it_is_verified_and_each_day_has_its_files(archive):
    found = archive.verify()
    assert found.exit_code() == 0
    assert sum(report.tally.ok for report in found.symbols.values()) == found.totals.lines > 10_000
    assert archive.days == [dt.date(2026, 1, 2), dt.date(2026, 1, 3)]
    assert archive.symbols == ["ETH/USD", "SOL/USD"]


def test_what_waits_for_many_acknowledgements_is_not_sorted_again_at_every_message(tmp_path, monkeypatch):
    writes = []
    write = _Recording._write

    def counted(self, before_ns):
        writes.append(before_ns)
        write(self, before_ns)

    monkeypatch.setattr(_Recording, "_write", counted)
    written = write_archive(tmp_path, duration_ns=4 * NS_PER_S, symbols=150, rate=2_000)
    assert written.level3 > 6_000
    assert len(writes) < 10


def test_each_day_has_checkpoints_of_the_books_that_its_data_leads_to(archive, tmp_path):
    for day in archive.days:
        begun = [each for each in read_checkpoints(DayPaths(archive.path, day).checkpoints) if each.line == 0]
        assert [each.symbol for each in begun] == (archive.symbols if day.day == 3 else [])
        assert all(each.snapshot for each in begun)
    assert verify(archive.path).lies == []
    for path in archive.path.iterdir():
        if path.suffix != ".checkpoints":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    make_checkpoints(tmp_path, engine_name="python")
    assert digests(tmp_path) == digests(archive.path)


def test_gaps_have_both_edges_and_the_market_went_on(archive):
    files = open_archive(archive.path)
    gaps = [gap for gap in gaps_in(files, channel="level3") if gap.cause == "network"]
    assert [gap.symbol for gap in gaps] == ["ETH/USD", "SOL/USD"] * 2
    for gap in gaps:
        assert 2e9 < gap.right_ns - gap.left_ns < 61e9
        received = [line.receipt.recv_ns for line in archive.messages(start=gap.left_ns + 1, end=gap.right_ns)]
        assert received == [] or gap.symbol == "SOL/USD"  # whose snapshot comes second


def trades(archive, symbol="ETH/USD"):
    found = [entry for line in archive.messages("trade") for entry in json.loads(line.payload)["data"]]
    return [entry for entry in found if entry["symbol"] == symbol]


def test_trades_go_on_over_gaps_without_a_hole_and_fills_match_them(archive):
    made = trades(archive)
    assert [entry["trade_id"] for entry in made] == list(range(1, len(made) + 1))
    events = archive.events("ETH/USD").read_all().to_pylist()
    fills = [event for event in events if "fill" in event["classification"]]
    assert len(fills) > 10
    assert all(event["trade_id"] is not None and event["fill_confidence"] >= 0.5 for event in fills)


def test_receive_times_never_fall_and_lag_behind_the_exchange(archive):
    times = [line.receipt.recv_ns for line in archive.messages()]
    assert times == sorted(times)
    events = archive.events("SOL/USD").read_all().filter(pc.field("line") >= 0)
    lags = sorted(pc.subtract(*(events[name].cast("int64") for name in ("ts_recv", "ts_event"))).to_pylist())
    assert lags[0] >= 12e6 > lags[0] - 1e6
    assert 12e6 < lags[len(lags) // 2] < 20e6 < lags[-1]


def test_the_flow_is_the_exchange_s(archive):
    mix = Mix()
    for line in archive.messages():
        mix.add(line.payload)
    shares = mix.shares()
    assert shares["re-entries, of all adds"] > 0.2
    assert shares["amended orders coming back, of all adds"] > 0.02
    assert shares["modifies, of all events"] > 0.003


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path):
    made = [kraken_l3.simulate(tmp_path / name, "20s", seed=seed).path for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    a, b, c = map(digests, made)
    assert a == b
    assert a["l3-2026-01-02.ndjson"] != c["l3-2026-01-02.ndjson"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"depth": 11}, "depth must be 10, 100 or 1000, got 11"),
        ({"rate": float("inf")}, "rate must be more than 0 and finite"),
        ({"rate": 0}, "rate must be more than 0 and finite"),
        ({"gaps": 1}, "gaps must be 0 to one in two minutes"),
        ({"duration": "change"}, "duration must be a length of time"),
        ({"duration": "0s"}, "duration must be a length of time"),
        ({"symbols": "XBT/USD"}, "Did you mean BTC/USD?"),
        ({"start": 5}, "integers are nanoseconds"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, arguments, said):
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        kraken_l3.simulate(tmp_path / "data", **{"duration": "10s", **arguments})
    assert not (tmp_path / "data").exists()


def simulate(*options):
    command = [sys.executable, "-m", "kraken_l3", "simulate", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_writes_what_the_function_writes_and_overwrites_nothing(tmp_path):
    done = simulate("--write", tmp_path / "typed", "--duration", "0.5m", "--symbols", "BTC/USD", "--depth", 100)
    assert done.returncode == 0, done.stderr
    assert "level3 messages and" in done.stdout
    assert "lines/s" in done.stderr
    kraken_l3.simulate(tmp_path / "called", "30s", symbols="BTC/USD", depth=100)
    assert digests(tmp_path / "typed") == digests(tmp_path / "called")
    again = simulate("--write", tmp_path / "typed", "--duration", "30s")
    assert again.returncode == 1
    assert "the directory is not empty" in again.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--write", "x", "--port", 1), "--port has no meaning with --write"),
        (("--write", "x", "--faults", "y"), "--faults has no meaning with --write"),
        (("--gaps", 1), "--gaps has no meaning without --write"),
        (("--duration", "soon"), "write 90, 90s, 10m, 1h or 2d"),
        (("--duration", "nan"), "write 90, 90s, 10m, 1h or 2d"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(options, said):
    done = simulate(*options)
    assert done.returncode == 1
    assert said in done.stderr
