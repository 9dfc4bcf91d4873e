"""The daily report: its figures against a slow count of the same archive, its grade, its files, and bad days."""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

import kraken_l3
from kraken_l3.errors import UsageError

pytest.importorskip("scipy")

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.journal import GapClosed, GapOpened
from kraken_l3.archive.layout import DayPaths
from kraken_l3.export.bulk import export_table
from kraken_l3.export.events import EventsTable
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.report import report_day
from kraken_l3.report.figures import GapFigure
from kraken_l3.report.files import write_report
from kraken_l3.report.grade import GRADES, grade_of, poorest
from kraken_l3.report.histogram import Histograms
from kraken_l3.report.page import html_of
from scenes import NOON_NS, SYMBOLS, Scene

MINUTE_NS = 60 * 10**9


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report") / "data"
    return kraken_l3.simulate(directory, "20m", symbols=["ETH/USD", "SOL/USD"], rate=10, gaps=1, depth=10)


@pytest.fixture(scope="module")
def day(archive):
    return report_day(archive.path)


def figures(day, symbol):
    return next(each for each in day.report.symbols if each.symbol == symbol)


@pytest.mark.parametrize("symbol", ["ETH/USD", "SOL/USD"])
def test_counts_are_those_of_the_events_and_messages(archive, day, symbol):
    found = figures(day, symbol)
    events = archive.events(symbol).read_all()
    kinds = Counter(zip(*(events[name].cast("string").to_pylist() for name in ("action", "classification"))))
    assert found.added == kinds["add", "new"] > 100
    assert found.reentered == kinds["add", "reentry"]
    assert found.messages == sum(1 for line in archive.messages() if f'"symbol":"{symbol}"'.encode() in line.payload)
    assert found.verified == 1.0
    assert found.mismatched == 0


def test_sizes_lags_and_spreads_are_those_of_the_tables(archive, day):
    found = figures(day, "ETH/USD")
    events = kraken_l3.doubles(archive.events("ETH/USD").read_all())
    names = [events[name].cast("string").to_pylist() for name in ("action", "classification")]
    is_new = np.array([pair == ("add", "new") for pair in zip(*names)])
    sizes = events["qty"].to_numpy(zero_copy_only=False)[is_new]
    assert found.order_size.p50 == pytest.approx(np.quantile(sizes, 0.5, method="inverted_cdf"), rel=0.03)
    rows = archive.snapshots("ETH/USD", "60s", 10, wide=True).read_all()
    spread, mid = (rows[name].to_numpy(zero_copy_only=False).astype(float) for name in ("spread", "mid"))
    spreads = 1e4 * spread / mid
    assert found.spread_bp == pytest.approx(np.median(spreads), rel=0.02)
    assert 0 < found.lag_ms.p50 <= found.lag_ms.p90 <= found.lag_ms.p99 <= found.lag_ms.p999


def test_minutes_that_a_gap_touches_or_that_are_not_whole_are_not_usable(day):
    (gap,) = [gap for gap in day.report.gaps if gap.symbol == "ETH/USD"]
    usable = day.usable["ETH/USD"]
    touched = np.zeros(1440, bool)
    touched[gap.left_ns // MINUTE_NS % 1440 : gap.right_ns // MINUTE_NS % 1440 + 1] = True
    assert not usable[touched].any()
    assert usable.sum() >= 20 - 2 - touched.sum()
    assert figures(day, "ETH/USD").usable == usable.sum() / 1440
    assert figures(day, "ETH/USD").missing_s == pytest.approx(gap.seconds)
    assert day.report.grade == "F"  # twenty minutes of a day


def test_a_message_that_fails_spoils_its_minute_and_those_after_it(archive, tmp_path):
    broken = tmp_path / "data"
    subprocess.run(["cp", "-r", str(archive.path), str(broken)], check=True)
    path = DayPaths(broken, archive.days[0]).data("level3")
    lines = path.read_bytes().split(b"\n")
    place = next(i for i, line in enumerate(lines) if i > len(lines) // 5 and b"ETH/USD" in line and b"update" in line)
    digits = lines[place].split(b'"checksum":')[1].split(b",")[0]
    wrong = bytes([digits[0] ^ 1 if digits[0] != ord("1") else ord("2")]) + digits[1:]
    lines[place] = lines[place].replace(b'"checksum":' + digits, b'"checksum":' + wrong)
    path.write_bytes(b"\n".join(lines))
    before, after = (report_day(each) for each in (archive.path, broken))
    assert figures(after, "ETH/USD").mismatched == 1
    assert 0 < after.usable["ETH/USD"].sum() < before.usable["ETH/USD"].sum() - 1
    assert (after.usable["SOL/USD"] == before.usable["SOL/USD"]).all()
    assert (usable_in_table(kraken_l3.open(broken), "ETH/USD", after) == after.usable["ETH/USD"]).all()


def usable_in_table(archive, symbol, day):
    """Which minutes of the day the table `verdicts` calls usable."""
    usable = np.zeros(1440, bool)
    with tempfile.TemporaryDirectory() as out:
        export_table(str(archive.path), out, EventsTable())
        part = Path(out) / "verdicts" / f"symbol={symbol.replace('/', '-')}"
        for row in pq.read_table(part).to_pylist():
            if row["usable"] and row["minute"].date() == day.report.day:
                usable[row["minute"].hour * 60 + row["minute"].minute] = True
    return usable


def with_wrong_checksum(line):
    return re.sub(rb'"checksum":(\d)', lambda found: b'"checksum":%d' % (int(found[1]) % 8 + 1), line)


@pytest.mark.parametrize("agreeing", [0, 2])
def test_a_book_that_was_wrong_before_midnight_is_not_usable_after_it(tmp_path, agreeing):
    scene = Scene(tmp_path, now_ns=NOON_NS + (12 * 3600 - 300) * NS_PER_S)
    lines = scene.flow(3_000)
    of = {symbol: [line for line in lines if f'"{symbol}"'.encode() in line] for symbol in SYMBOLS}
    right, wrong = of[SYMBOLS[0]], of[SYMBOLS[1]]
    scene.write(right[:100] + wrong[:100])
    scene.write([with_wrong_checksum(wrong[100]), *wrong[101 : 101 + agreeing]])
    scene.step_ns = NS_PER_S
    scene.write(right[100:1000])  # ten minutes past midnight
    scene.write(wrong[101 + agreeing : 200])
    scene.close()
    archive = kraken_l3.open(tmp_path)
    day = report_day(tmp_path, archive.days[1])
    assert day.usable[SYMBOLS[0]].sum() > 9
    assert day.usable[SYMBOLS[1]].sum() == 0
    for symbol in SYMBOLS:
        assert (day.usable[symbol] == usable_in_table(archive, symbol, day)).all()


def test_both_engines_report_the_same(archive, day):
    pytest.importorskip("kraken_l3_native")
    assert report_day(archive.path, engine_name="python").report == day.report


def test_files_are_one_page_the_figures_and_a_table(day, tmp_path):
    names = write_report(day, str(tmp_path))
    page, text, table = (tmp_path / name for name in names)
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") == 4
    assert not any(each in html for each in ("<script", "<link", "<img", "src=", "<a ", "url(http", "@import"))
    assert json.loads(text.read_text())["symbols"][0]["symbol"] == "ETH/USD"
    assert pq.read_table(table)["messages"].to_pylist() == [each.messages for each in day.report.symbols]


def test_what_a_journal_says_is_text_on_the_page(day):
    gap = GapFigure("<i>A", "<i>B", "<i>C", 0, 1, 1e-9)
    html = html_of(day._replace(report=msgspec.structs.replace(day.report, gaps=[gap], damage=["<i>D"])))
    assert "<i>" not in html
    assert html.count("&lt;i&gt;") == 4


def run(*arguments):
    command = [sys.executable, "-m", "kraken_l3", "report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_prints_grades_and_exits_with_3_for_gaps(archive, tmp_path):
    done = run(archive.path, "--out", tmp_path)
    assert done.returncode == 3, done.stderr
    assert "grade F" in done.stdout
    assert (tmp_path / f"report-{archive.days[0]}.html").exists()


def test_the_command_prints_one_object_for_programs(archive, day, tmp_path):
    told = json.loads(run(archive.path, "--out", tmp_path, "--date", archive.days[0], "--json").stdout)
    assert (told["exit_code"], told["result"]["report"]["grade"]) == (3, day.report.grade)
    assert [path.rpartition(".")[2] for path in told["result"]["files"]] == ["html", "json", "parquet"]
    assert json.loads(run(archive.path, "--date", "22.11.2026", "--json").stdout)["error"]["where"] == "--date"


def test_a_day_with_nothing_in_it_is_said_to_be_one(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "l3-2026-11-22.ndjson").write_bytes(b"")
    day = report_day(data)
    assert (day.report.grade, day.report.symbols) == ("F", [])
    page, *_ = write_report(day, str(tmp_path))
    assert "Nothing was recorded on this day." in (tmp_path / page).read_text(encoding="utf-8")


def test_a_gap_behind_the_recording_is_no_part_of_it(tmp_path):
    first = Scene(tmp_path)
    first.write(first.flow(300))
    left_ns = first.clock.now_ns
    gap = {"channel": "level3", "symbol": SYMBOLS[0], "cause": "stop", "left_ns": left_ns}
    first.journal(GapOpened, **gap)
    first.close()
    second = Scene(tmp_path, now_ns=left_ns + 44 * 3600 * NS_PER_S)
    second.journal(GapClosed, right_ns=second.clock.now_ns, **gap)
    second.write(second.flow(300))
    second.close()
    archive = kraken_l3.open(tmp_path)
    for date in archive.days:
        known = next(each for each in archive.coverage() if (each.symbol, each.day) == (SYMBOLS[0], date))
        told = figures(report_day(tmp_path, date), SYMBOLS[0])
        assert told.covered == pytest.approx(known.covered)
        assert told.missing_s == pytest.approx(known.missing_s)
        assert told.covered > 0


def test_a_day_that_is_not_there_and_a_file_are_usage_errors(archive, tmp_path):
    with pytest.raises(UsageError, match="nothing of 2020-01-01"):
        report_day(archive.path, __import__("datetime").date(2020, 1, 1))
    with pytest.raises(UsageError, match="no archive directory"):
        report_day(DayPaths(archive.path, archive.days[0]).data("level3"))


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_off_by_half_a_class_at_most(values, share):
    counted = Histograms(1e-3, 1e5)
    counted.resize(2)
    counted.add(np.ones(len(values), np.int64), np.array(values))
    (found,) = counted.quantiles(1, (share,))
    assert found == pytest.approx(np.quantile(values, share, method="inverted_cdf"), rel=0.012)
    assert counted.quantiles(0, (share,)) is None


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_usable_minutes_never_give_a_poorer_grade(one, other):
    worse, better = sorted((one, other))
    assert poorest([grade_of(better), grade_of(worse)]) == grade_of(worse)
    assert grade_of(1.0) == GRADES[0][0]
