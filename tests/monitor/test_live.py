"""The live table, as text on screens of different sizes."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kraken_l3.monitor.live import LiveTable, render
from kraken_l3.monitor.status import DiskStatus, RecorderStatus, SymbolStatus, VerifierStatus
from kraken_l3.monitor.units import size

NOW_NS = 1_790_000_000_000_000_000


def row(symbol, **values):
    usual = {"connection": 1, "state": "recording", "messages": 0, "rate": 0.0, "lag_s": 0.05, "gaps": 0}
    return SymbolStatus(symbol=symbol, **{**usual, "last_snapshot_ns": NOW_NS - 65 * 10**9, **values})


def view(rows, **values):
    usual = {
        "messages": 5,
        "rate": 12.0,
        "written_bytes": 3 * 1024**3,
        "queue_bytes": 0,
        "disk": DiskStatus(free_bytes=2**40),
    }
    since = {"now_ns": NOW_NS, "since_ns": NOW_NS - 3_700 * 10**9}
    return RecorderStatus(rows=rows, directory="data", **since, **{**usual, **values})


def text(shown, width=100, height=24):
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(render(shown, height=height))
    return console.file.getvalue()


def test_a_symbol_is_a_row_with_everything():
    said = text(view([row("BTC/USD", messages=12_345, rate=67.25, gaps=2, connection=3)]))
    assert "BTC/USD" in said
    for word in ("recording", "3", "12,345", "67.2", "50 ms", "1 min 05 s ago", "2 gaps", "for 1 h 01 min"):
        assert word in said, word
    for word in ("3.0 GiB written to data", "1.00 TiB free", "Ctrl+C"):
        assert word in said, word
    assert "waiting" not in said


def test_what_is_not_known_is_a_dash():
    said = text(view([row("BTC/USD", connection=0, state="waiting", lag_s=None, last_snapshot_ns=None)]))
    (line,) = [line for line in said.splitlines() if "BTC/USD" in line]
    assert line.split() == ["BTC/USD", "waiting", "-", "0", "0.0", "-", "-", "0"]


def test_of_700_symbols_the_busiest_are_shown_and_the_rest_counted():
    rows = [row(f"S{number:03}/USD", rate=float(number % 100), messages=number) for number in range(700)]
    said = text(view(rows), width=80, height=30)
    assert "…" not in said  # on 80 columns every number is whole
    assert len(said.splitlines()) < 30
    assert "S699/USD" in said
    assert "S000/USD" not in said
    shown = sum("/USD" in line for line in said.splitlines())
    (more,) = [line for line in said.splitlines() if "more" in line]
    assert more.split()[0] == str(700 - shown)


def test_trouble_comes_before_business():
    rows = [row(f"S{number:03}/USD", rate=100.0) for number in range(100)] + [row("BAD/USD", state="rejected")]
    assert "BAD/USD" in text(view(rows), height=12)


def test_a_queue_and_a_mismatch_are_told():
    said = text(view([row("A/B")], queue_bytes=5 * 1024**2, verifier=VerifierStatus(ok=1_000, mismatched=1)), width=160)
    assert "5.0 MiB waiting" in said
    assert "1,000 verified, 1 MISMATCHED" in said


def test_before_the_list_of_pairs_is_known():
    assert "waiting for Kraken's list" in text(view([]))


@given(
    st.integers(0, 60),
    st.integers(20, 250),
    st.integers(0, 800),
    st.floats(0, 1e7),
    st.floats(-1e6, 1e6),
    st.integers(0),
)
def test_it_fits_any_screen(height, width, count, rate, lag_s, messages):
    rows = [row(f"S{number}/USD", rate=rate, lag_s=lag_s, messages=messages) for number in range(count)]
    lines = text(view(rows), width=width, height=height).splitlines()
    if width >= 80 and height >= 10:
        assert len(lines) < height
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize(
    ("count", "says"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**3, "5.0 GiB"), (3 * 1024**4, "3.00 TiB")],
)
def test_sizes(count, says):
    assert size(count) == says


def test_no_table_without_a_terminal_that_can_redraw():
    assert not LiveTable(Console(file=io.StringIO())).can_show
    assert not LiveTable(Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})).can_show
    assert LiveTable(Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})).can_show


def test_it_is_redrawn_in_place():
    file = io.StringIO()
    with LiveTable(Console(file=file, force_terminal=True, width=100, height=24, _environ={"TERM": "xterm"})) as live:
        live.show(view([row("BTC/USD", messages=1)]))
        live.show(view([row("BTC/USD", messages=2)]))
    assert "\x1b[1A" in file.getvalue()
    assert "\x1b[?25h" in file.getvalue()  # the cursor is shown again
