"""Names of an archive directory: what is one, and what a day's files are called."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.layout import (
    DayPaths,
    FileName,
    Stream,
    data_files,
    days_in,
    is_archive_name,
    parse_name,
    stem,
)

DAY = dt.date(2026, 11, 22)


@given(day=st.dates(), stream=st.sampled_from(list(Stream)))
def test_every_path_is_taken_apart_again(day, stream):
    paths = DayPaths(Path("a"), day)
    for path, suffix in [
        (paths.data(stream), "ndjson"),
        (paths.receipts(stream), "receipts"),
        (paths.torn(stream), "torn"),
    ]:
        name = parse_name(path.name)
        assert name == FileName(stream.prefix, day, suffix)
        assert name.stream == stream
        assert DayPaths.of(path) == paths
    for path in (paths.journal, paths.checkpoints, paths.manifest):
        assert DayPaths.of(path) == paths


@pytest.mark.parametrize(
    "name",
    [
        "",
        "l3-2026-11-22",
        "l3-2026-02-30.ndjson",
        "l3-20261122.ndjson",
        "x-2026-11-22.ndjson",
        "l3-2026-11-22.ndjson\n",
        "../l3-2026-11-22.ndjson",
        "l3-2026-11-22-1.ndjson",
        "l3-2026-11-22-0000.ndjson",
        "l3-2026-11-22-0001.receipts",
        "journal-2026-11-22-0001.ndjson",
        "journal-2026-11-22.ndjson.1",
        "l3-٢٠٢٦-11-22.ndjson",
    ],
)
def test_any_other_name_is_none(name):
    assert parse_name(name) is None


def test_a_file_whose_name_tells_no_day_belongs_to_none():
    assert DayPaths.of(Path("a/recording.ndjson")) is None


def test_the_journal_belongs_to_no_stream():
    assert parse_name("journal-2026-11-22.ndjson").stream is None


def test_days_are_those_with_data_or_a_journal():
    names = ["l3-2026-11-23.ndjson.zst", "journal-2026-11-22.ndjson", "l3-2026-11-21.receipts", "notes.txt"]
    assert days_in([*names, "trade-2026-11-22.ndjson"]) == [DAY, dt.date(2026, 11, 23)]


def test_a_day_may_be_split_and_packed():
    names = [f"l3-2026-11-{end}" for end in ("23.ndjson.gz", "22-0002.ndjson.zst", "22.ndjson", "22-0001.ndjson")]
    assert data_files([*names, "l3-2026-11-24.ndjson.bz2", "notes.txt"], "level3") == [
        "l3-2026-11-22.ndjson", "l3-2026-11-22-0001.ndjson", "l3-2026-11-22-0002.ndjson.zst", "l3-2026-11-23.ndjson.gz",
    ]  # fmt: skip
    assert data_files(names, "level3", parts=False) == ["l3-2026-11-22.ndjson", "l3-2026-11-23.ndjson.gz"]
    assert data_files(names, "trade") == []


def test_of_a_file_that_is_there_in_several_ways_the_plain_one_is_read():
    names = ["l3-2026-11-22.ndjson.gz", "l3-2026-11-22.ndjson.zst", "l3-2026-11-22.ndjson"]
    assert data_files(names, "level3") == names[2:]
    assert data_files(names[:2], "level3") == names[1:2]


@pytest.mark.parametrize(
    ("name", "before", "continues"),
    [
        ("l3-2026-11-22-0001.ndjson", "l3-2026-11-22.ndjson", True),
        ("l3-2026-11-22-0002.ndjson", "l3-2026-11-22-0001.ndjson", True),
        ("l3-2026-11-22-0002.ndjson", "l3-2026-11-22.ndjson", False),
        ("l3-2026-11-23.ndjson", "l3-2026-11-22-0002.ndjson", True),
        ("l3-2026-11-23-0002.ndjson", "l3-2026-11-22.ndjson", False),
        ("l3-2026-11-24.ndjson", "l3-2026-11-22.ndjson", False),
        ("l3-2026-11-22.ndjson", "l3-2026-11-23.ndjson", False),
    ],
)
def test_a_file_continues_the_one_before_when_none_is_missing_between(name, before, continues):
    assert parse_name(name).continues(parse_name(before)) is continues


def test_names_of_an_archive_are_known_and_no_others():
    ours = ["l3-2026-11-22.ndjson.zst.tmp", "l3-2026-11-22.repair.refused", "journal-2026-11-22.torn", "writer.lock"]
    assert all(map(is_archive_name, [*ours, "theirs.manifest.json", "disk.reserve"]))
    assert not any(map(is_archive_name, ["l3-2026-11-22.ndjson.bak", "l3-2026-11-22", "theirs.ndjson"]))


def test_sealed_or_not_a_file_has_one_stem():
    assert {stem(Path(f"a/l3-2026-11-22.{suffix}")) for suffix in ("ndjson", "ndjson.zst", "receipts")} == {
        "l3-2026-11-22"
    }
