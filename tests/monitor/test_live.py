"""The live table, as drawn on a screen of a given size."""

import io

import pytest
from rich.console import Console

from kraken_l3.monitor.live import FRAME_LINES, LiveTable, render, size
from kraken_l3.monitor.view import RecorderView, SymbolRow

NOW_NS = 1_795_300_000_000_000_000
S = 1_000_000_000


def row(number=0, **values):
    fields = {
        "symbol": f"S{number:03}/USD",
        "connection": 1 + number // 200,
        "state": "recording",
        "messages": 100 * number,
        "rate": float(number),
        "lag_s": 0.012,
        "last_snapshot_ns": NOW_NS - 185 * S,
        "gaps": 0,
    }
    return SymbolRow(**{**fields, **values})


def view(rows, **values):
    fields = {
        "now_ns": NOW_NS,
        "since_ns": NOW_NS - 7_500 * S,
        "directory": "data",
        "rows": rows,
        "written_bytes": 5 * 1024**3,
        "queue_bytes": 0,
        "disk_free_bytes": 800 * 1024**3,
    }
    return RecorderView(**{**fields, **values})


def drawn(shown, height=24, width=80):
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(render(shown, height=height))
    return console.file.getvalue().splitlines()


def test_a_symbol_is_one_line_with_all_that_is_asked_for():
    lines = drawn(view([row(7, symbol="BTC/USD", messages=12_345, rate=48.25, gaps=2)]))
    (line,) = [line for line in lines if "BTC/USD" in line]
    assert " ".join(line.split()) == "BTC/USD recording 1 12,345 48.2 12 ms 3 min 05 s ago 2"
    assert "1 of 1 symbols recording, 48 messages/s, 2 gaps, for 2 h 05 min" in lines[0]
    assert lines[-1].startswith("5.0 GiB written to data, 800.0 GiB free. Ctrl+C stops.")


def test_before_anything_has_come_it_says_so_with_dashes():
    lines = drawn(view([row(symbol="BTC/USD", connection=0, state="waiting", lag_s=None, last_snapshot_ns=None)]))
    (line,) = [line for line in lines if "BTC/USD" in line]
    assert line.split() == ["BTC/USD", "waiting", "-", "0", "0.0", "-", "-", "0"]


@pytest.mark.parametrize("height", [12, 24, 50])
def test_of_700_symbols_the_busiest_fit_the_screen_and_the_rest_is_counted(height):
    lines = drawn(view([row(number) for number in range(700)]), height=height)
    assert len(lines) < height
    names = [line.split()[0] for line in lines if line.startswith("S")]
    assert names == [f"S{699 - n:03}/USD" for n in range(height - FRAME_LINES - 1)]
    (rest,) = [line for line in lines if " more" in line]
    assert rest.startswith(f"{700 - len(names)} more")
    assert f"{700 - len(names)} recording" in rest
    assert not any("…" in line for line in lines)  # on 80 columns every number is whole


def test_what_was_rejected_is_never_hidden_by_what_is_busy():
    rows = [row(number) for number in range(100)]
    rows[0] = row(0, state="rejected", rate=0.0)
    assert any(line.split()[:2] == ["S000/USD", "rejected"] for line in drawn(view(rows), height=12))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_screen(width):
    long = view([row(n) for n in range(50)], directory="/a/very/long/" + "path/" * 40, queue_bytes=3 * 1024**2)
    lines = drawn(long, width=width, height=20)
    assert max(map(len, lines)) <= width


def test_a_queue_that_grows_is_shown():
    assert "3.0 MiB waiting" in drawn(view([row()], queue_bytes=3 * 1024**2))[-1]
    assert "waiting" not in drawn(view([row()], queue_bytes=10))[-1]


def test_it_draws_until_it_is_left():
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None)
    with LiveTable(console) as table:
        table.show(view([row(symbol="BTC/USD")]))
        table.show(view([row(symbol="ETH/USD")]))
    text = console.file.getvalue()
    assert "BTC/USD" in text
    assert text.rindex("ETH/USD") > text.rindex("BTC/USD")
    assert "\x1b[?25h" in text  # the cursor is shown again


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 1024**4, "3.00 TiB")]
)
def test_sizes(count, text):
    assert size(count) == text
