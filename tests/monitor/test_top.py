"""The screen of top, driven as a user does, without a terminal."""

import asyncio

import pytest

import processes
from kraken_l3.model.histogram import LAG_BOUNDS_S, Histogram
from kraken_l3.monitor.status import ClockStatus, ConnectionStatus, DiskStatus, RecorderStatus, SymbolStatus

pytest.importorskip("textual", reason="needs the extra 'top'")

from textual.widgets import DataTable, Static

from kraken_l3.monitor.top import Top

S = 10**9
NOW_NS = 1_790_000_000 * S


def row(symbol, **values):
    usual = {"connection": 1, "state": "recording", "messages": 5, "rate": 1.0, "lag_s": 0.02}
    return SymbolStatus(
        symbol=symbol, last_message_ns=NOW_NS - 3 * S, last_snapshot_ns=NOW_NS - 60 * S, **{**usual, **values}
    )


ROWS = [
    row("BTC/USD", rate=50.0),
    row("ETH/USD", rate=70.0, gaps=2),
    row("ADA/USD", lag_s=4.0, gap_cause="mismatch", gap_since_ns=NOW_NS, gaps=1),
]


def status(seconds=0, **values):
    connection = ConnectionStatus(number=1, channel="level3", symbols=3, last_frame_ns=NOW_NS + seconds * S)
    usual = {"rows": ROWS, "connections": [connection], "disk": DiskStatus(free_bytes=2**30)}
    now_ns = NOW_NS + seconds * S
    return RecorderStatus(now_ns=now_ns, since_ns=NOW_NS - 60 * S, directory="data", **{**usual, **values})


class Source:
    """Tells what it is given."""

    def __init__(self, told):
        self.told = told
        self.now_ns = NOW_NS

    def read(self):
        return self.told

    def wall_ns(self):
        return self.now_ns


def text(app, name):
    return app.query_one(name, Static).render().plain


def symbols(app):
    table = app.query_one(DataTable)
    return [str(table.get_row_at(number)[0]) for number in range(table.row_count)]


def watching(source, check, size=(110, 30)):
    async def main():
        app = Top(source.read, source.wall_ns, "data", every_s=3600)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await check(app, pilot)

    asyncio.run(main())


def test_symbols_with_problems_come_first_and_s_changes_the_order():
    async def check(app, pilot):
        assert symbols(app) == ["ADA/USD", "ETH/USD", "BTC/USD"]
        orders = []
        for _ in range(5):
            await pilot.press("s")
            await pilot.pause()
            orders.append((symbols(app)[0], text(app, "#facts").partition(" · ")[0]))
        assert orders == [
            ("ADA/USD", "3 symbols by symbol"),
            ("ADA/USD", "3 symbols by lag"),
            ("ADA/USD", "3 symbols by last message"),
            ("ETH/USD", "3 symbols by gaps"),
            ("ADA/USD", "3 symbols by problems, then rate"),
        ]

    watching(Source(status()), check)


def test_everything_is_told_in_words():
    lag = Histogram.of(LAG_BOUNDS_S)
    lag.add(0.02)

    async def check(app, pilot):
        table = app.query_one(DataTable)
        cells = [str(cell) for cell in table.get_row("ADA/USD")]
        assert cells == [
            "ADA/USD", "gap: mismatch", "1", "5", "1.0", "4,000 ms", "3 s ago", "1 min 00 s ago", "1",
        ]  # fmt: skip
        assert "3 of 3 symbols recording" in text(app, "#headline")
        assert text(app, "#headline").endswith("1 problem")
        assert text(app, "#problems") == "ADA/USD: it has a gap since 2026-09-21T14:13:20Z (mismatch)"
        assert "lag 50 % < 25 ms" in text(app, "#rate")
        assert "1.0 GiB free" in text(app, "#facts")
        assert "nobody keeps the clock right" in text(app, "#facts")

    watching(Source(status(lag=lag, clock=ClockStatus(synchronised=False))), check)


def test_it_follows_the_recorder_to_its_end_and_pauses():
    source = Source(None)

    async def check(app, pilot):
        assert "no recorder has told its status here" in text(app, "#headline")
        source.told = status(rows=[row("BTC/USD")])
        app.look()
        await pilot.pause()
        assert text(app, "#headline").endswith("healthy")
        source.now_ns += 20 * S
        app.look()
        assert "the recorder has told nothing for 20 s" in text(app, "#problems")
        await pilot.press("p")
        source.told = status(1, rows=[row("A/B"), row("C/D")])
        app.look()
        assert "paused" in text(app, "#headline")
        assert symbols(app) == ["BTC/USD"]
        await pilot.press("p")
        assert symbols(app) == ["A/B", "C/D"]
        source.told = status(2, stopped=True)
        app.look()
        assert "was stopped" in text(app, "#headline")
        await pilot.press("q")
        assert app.return_code == 0

    watching(source, check)


def test_700_symbols_and_a_small_screen():
    rows = [row(f"S{n:03}/USD", rate=float(n), gap_cause="network" if n < 50 else "") for n in range(700)]

    async def check(app, pilot):
        table = app.query_one(DataTable)
        assert table.row_count == 700
        await pilot.press("pagedown", "down")
        await pilot.pause()
        at = table.cursor_row
        assert at > 0
        app._shown_ns = 0
        app.look()
        await pilot.pause()
        assert table.cursor_row == at  # the next status leaves the cursor where it is
        assert "... and 45 more" in text(app, "#problems")

    watching(Source(status(rows=rows)), check, size=(60, 16))


def test_without_a_terminal_it_points_to_status(tmp_path):
    done = processes.run("top", str(tmp_path), directory=tmp_path)
    assert done.returncode == 1
    assert "kraken-l3 status" in done.stderr
