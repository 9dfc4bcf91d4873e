"""Pictures of archives: that each is drawn from the data that it says, from Python and as a command."""

import io
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest

import kraken_l3
from kraken_l3.errors import DataMissing, UsageError

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

import matplotlib

from kraken_l3 import plot
from kraken_l3.plot.picture import Span
from kraken_l3.plot.reading import trades_of

PNG = b"\x89PNG\r\n\x1a\n"
DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pictures") / "data"
    return kraken_l3.simulate(directory, "6m", symbols=["ETH/USD", "SOL/USD"], rate=20, gaps=1, depth=100)


def words(picture):
    return {text.get_text() for text in picture.findobj(lambda each: hasattr(each, "get_text"))}


@pytest.mark.parametrize("draw", [plot.depth, plot.queue, plot.spread, plot.survival])
def test_each_picture_has_a_title_units_and_is_legible_at_800_pixels(archive, draw):
    picture = draw(archive, "ETH/USD")
    png = picture._repr_png_()
    assert png.startswith(PNG)
    assert int.from_bytes(png[16:20], "big") == 800
    said = words(picture)
    assert any(text.startswith("ETH/USD: ") and text.endswith(" UTC") for text in said)
    assert {"receive time (UTC)", "time since arrival (s)"} & said
    assert any("(USD)" in text or "(ETH)" in text or "share of orders" in text for text in said)
    sizes = [text.get_fontsize() for text in picture.findobj(lambda each: hasattr(each, "get_fontsize"))]
    assert min(sizes) >= 8
    assert tuple(picture.get_facecolor()) == (1, 1, 1, 1)


@pytest.mark.parametrize("draw", [plot.depth, plot.queue, plot.spread])
def test_a_dollar_in_a_name_begins_no_formula(archive, tmp_path, draw):
    for file in archive.path.iterdir():
        if file.is_file():  # a name of the same length: the receipts fit
            (tmp_path / file.name).write_bytes(file.read_bytes().replace(b"ETH/USD", b"$TH/$S_"))
    picture = draw(kraken_l3.open(tmp_path), "$TH/$S_")
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        picture.savefig(file, format="svg")
    assert len(file.getvalue()) < 1_000_000  # the heat map is an image in it, not a path for each cell
    assert file.getvalue().count(b">$TH/$S_: ") == 1
    assert b"($S_)" in file.getvalue() or b"($TH)" in file.getvalue()


def test_depth_shows_what_rests_and_what_was_traded(archive):
    picture = plot.depth(archive, "ETH/USD", levels=100)
    axes, bar = picture.axes
    (mesh,) = [each for each in axes.collections if each.get_array() is not None]
    last = archive.book("ETH/USD")
    low, high = axes.get_ylim()
    resting = sum(
        float(level.qty) for level in (*last.bids[:100], *last.asks[:100]) if low <= float(level.price) < high
    )
    columns = np.nansum(np.asarray(mesh.get_array().filled(np.nan)), axis=0)
    assert columns[columns > 0][-1] == pytest.approx(resting, rel=0.05)  # the last grid instant lies before the end
    assert "ETH at" in bar.get_ylabel()
    trades = trades_of(archive, "ETH/USD", Span(0, 1 << 62))
    assert {f"buy ({trades.buys.sum()})", f"sell ({(~trades.buys).sum()})", "gap", "mid price"} <= words(picture)


def test_the_queue_ends_as_the_book_says(archive):
    book = archive.book("ETH/USD")
    level = max(book.asks, key=lambda each: len(each.orders))
    picture = plot.queue(archive, "ETH/USD", level.price)
    (axes,) = picture.axes
    end = max(path.vertices[:, 0].max() for each in axes.collections for path in each.get_paths())
    tops = [
        path.vertices[:, 1].max()
        for each in axes.collections
        for path in each.get_paths()
        if path.vertices[:, 0].max() == end
    ]
    assert len(tops) == len(level.orders)
    assert max(tops) == pytest.approx(float(level.qty))
    assert end * DAY_NS == pytest.approx(archive.coverage(verify=False)[0].end_ns, abs=1e6)


def test_survival_counts_orders_that_arrived_and_those_that_were_filled(archive):
    orders = archive.orders("ETH/USD").read_all().to_pylist()
    arrived = [order for order in orders if order["birth"] == "new"]
    picture = plot.survival(archive, "ETH/USD")
    assert any(f"lives of {len(arrived):,} orders" in text for text in words(picture))
    best = [order for order in arrived if order["level"] == 0]
    filled = sum(order["end_cause"] == "fill" for order in best)
    assert {f"best price ({len(best):,})", f"best price ({filled:,} filled)"} <= words(picture)
    resting = picture.axes[0].lines[0]
    times, shares = resting.get_data()
    ends = [(order["time_in_book_ns"] / 1e9, not order["right_censored"]) for order in best]
    left = 1.0
    for age in sorted({age for age, is_end in ends if is_end}):  # the product-limit estimate, spelt out
        left *= 1 - ends.count((age, True)) / sum(other >= age for other, _ in ends)
        assert shares[np.searchsorted(times, age, "right") - 1] == pytest.approx(left)
    assert left < 0.2
    for curve in picture.axes[1].lines:  # a few orders tell no chance
        last = curve.get_xdata()[-1]
        assert sum(order["time_in_book_ns"] / 1e9 >= last for order in arrived) >= 10
    assert picture.axes[1].get_ylim()[1] < 0.5


def test_a_window_is_drawn_and_nothing_else(archive):
    start = "2026-01-02T12:04:00Z"
    picture = plot.spread(archive, "SOL/USD", start=start, end="2026-01-02T12:05:00Z")
    assert any("12:04:00 to 12:05:00 UTC" in text for text in words(picture))
    low, high = picture.axes[1].get_xlim()
    assert (high - low) * 86_400 == pytest.approx(60, abs=1e-3)
    assert "gap" not in words(picture)
    assert "gap" in words(plot.spread(archive, "SOL/USD"))


@pytest.mark.parametrize(
    ("draw", "arguments", "error", "said"),
    [
        (plot.depth, {"symbol": "XYZ/USD"}, DataMissing, "nothing of XYZ/USD"),
        (plot.depth, {"symbol": "ETH/USD", "start": "2027-01-01"}, DataMissing, "nothing of ETH/USD"),
        (plot.depth, {"symbol": "ETH/USD", "levels": 0}, UsageError, "levels must be"),
        (plot.queue, {"symbol": "ETH/USD", "price": "much"}, UsageError, "price must be a number"),
        (plot.queue, {"symbol": "ETH/USD", "price": Decimal(1)}, DataMissing, "nothing rested at 1"),
        (plot.queue, {"symbol": "ETH/USD", "side": "left"}, UsageError, "unknown side"),
        (plot.spread, {"symbol": "ETH/USD", "end": "soon"}, UsageError, "end: "),
    ],
)
def test_what_cannot_be_drawn_is_said(archive, draw, arguments, error, said):
    with pytest.raises(error, match=said):
        draw(archive, **arguments)


def command(*options):
    done = [sys.executable, "-m", "kraken_l3", "plot", *map(str, options)]
    return subprocess.run(done, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_writes_a_file_and_says_where(archive, tmp_path):
    target = tmp_path / "depth.png"
    done = command("depth", archive.path, "--symbol", "SOL/USD", "--out", target, "--end", "2026-01-02T12:01:00Z")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(target)
    assert target.read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["spread", "--out", "x.txt", "--symbol", "SOL/USD"], "--out must end in .png, .svg, .pdf, got 'x.txt'"),
        (["spread", "--out", "x.png"], "--symbol is needed. The archive has ETH/USD, SOL/USD"),
        (["spread", "--out", "/nowhere/x.png", "--symbol", "SOL/USD"], "cannot write: No such file or directory"),
    ],
)
def test_the_command_says_what_is_wrong(archive, options, said):
    what, *others = options
    done = command(what, archive.path, *others)
    assert done.returncode != 0
    assert said in done.stderr
