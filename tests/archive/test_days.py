"""Which days are closed, which came next, and in which order they were written."""

import datetime as dt
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.days import closed_days, current_day, next_day_in, written_order
from kraken_l3.archive.filesystem import OsFileSystem, opened
from kraken_l3.archive.journal import Rotated, Stopped, encode_record
from kraken_l3.archive.layout import DayPaths, parse_name
from kraken_l3.archive.reader import open_archive

D20, D21, D22, D23, D24, D25 = (dt.date(2026, 11, number) for number in range(20, 26))


def rotated(day):
    return encode_record(Rotated(at_ns=1, next_day=day)) + b"\n"


STOPPED = encode_record(Stopped(at_ns=1, reason="SIGTERM")) + b"\n"


def order(days, **next_days):
    return written_order(days, lambda day: next_days.get(f"d{day.day}"))


def test_days_that_tell_nothing_are_ordered_by_date():
    assert order([D23, D20, D22]) == [D20, D22, D23]


def test_a_clock_that_stepped_back_over_a_day_and_forward_again():
    assert order([D22, D23, D24], d23=D22, d22=D24) == [D23, D22, D24]
    assert order([D22, D23, D24, D25], d22=D24, d24=D23, d23=D25) == [D22, D24, D23, D25]


def test_days_of_others_keep_their_place():
    assert order([D20, D21, D22, D23], d23=D22) == [D20, D21, D23, D22]


@given(
    days=st.sets(st.sampled_from([D20, D21, D22, D23, D24, D25])),
    links=st.dictionaries(
        st.sampled_from([D20, D21, D22, D23, D24, D25]), st.sampled_from([D20, D21, D22, D23, D24, D25, dt.date.max])
    ),
)
def test_whatever_journals_tell_every_day_comes_once(days, links):
    found = written_order(days, links.get)
    assert sorted(found) == sorted(days)
    entered = [day for day in links.values() if day in days]
    if len(entered) == len(set(entered)):
        for day, after in links.items():
            if day in days and after in days and found.index(after) != found.index(day) + 1:
                assert found.index(after) <= found.index(day)  # a circle was entered somewhere


@pytest.mark.parametrize(
    ("journal", "day"),
    [
        (rotated(D23), D23),
        (STOPPED * 200 + rotated(D23), D23),
        (rotated(D23) + STOPPED, None),
        (rotated(D23)[:-10], None),
        (b"", None),
        (b"\n", None),
        (b"\xff\n", None),
        (b"[" * 5_000, None),
        (b'{"kind":"rotated","at_ns":1,"next_day":"2026-02-31"}\n', None),
    ],
)
def test_the_next_day_is_that_of_the_last_record(tmp_path, journal, day):
    path = tmp_path / "journal"
    path.write_bytes(journal)
    with opened(OsFileSystem(), path) as file:
        assert next_day_in(file) == day


def journalled(directory, day, journal):
    paths = DayPaths(directory, day)
    paths.data("level3").touch()
    if journal is not None:
        paths.journal.write_bytes(journal)


def test_which_days_are_closed_and_which_is_current(tmp_path):
    disk = OsFileSystem()
    journalled(tmp_path, D20, None)
    journalled(tmp_path, D22, rotated(D23))
    journalled(tmp_path, D23, STOPPED)
    closed = closed_days(disk, tmp_path, D24)
    assert closed == {D20: None, D22: D23}
    assert current_day(disk, tmp_path, closed) == D23
    assert closed_days(disk, tmp_path, D20) == {D22: D23}  # today's is gone on with, whoever began it


def test_the_current_day_may_have_no_file_yet(tmp_path):
    journalled(tmp_path, D22, rotated(D23))
    closed = closed_days(OsFileSystem(), tmp_path, D23)
    assert current_day(OsFileSystem(), tmp_path, closed) == D23
    assert current_day(OsFileSystem(), tmp_path / "..", {}) is None


def test_an_archive_is_read_as_it_was_written(tmp_path):
    journalled(tmp_path, D23, rotated(D22))
    journalled(tmp_path, D22, rotated(D24))
    journalled(tmp_path, D24, STOPPED)
    archive = open_archive(tmp_path)
    assert archive.days == [D23, D22, D24]
    files = archive.files()
    assert [path.name for path in files] == [f"l3-{day}.ndjson" for day in archive.days]
    first, second, third = (parse_name(path.name) for path in files)
    assert not archive.goes_on(first, second)
    assert archive.goes_on(second, third)


def test_a_day_that_is_missing_between_breaks_the_row(tmp_path):
    journalled(tmp_path, D22, rotated(D24))
    journalled(tmp_path, D24, STOPPED)
    archive = open_archive(tmp_path)
    assert not archive.goes_on(*(parse_name(path.name) for path in archive.files()))


def test_an_archive_that_may_only_be_read_tells_its_closed_days(tmp_path):
    class ReadOnly(OsFileSystem):
        def open(self, path):
            raise OSError(errno.EROFS, "Read-only file system", str(path))

    (tmp_path / DayPaths(tmp_path, D22).journal.name).write_bytes(rotated(D23))
    (tmp_path / DayPaths(tmp_path, D23).journal.name).write_bytes(STOPPED)
    assert closed_days(ReadOnly(), tmp_path, D24) == {D22: D23}
