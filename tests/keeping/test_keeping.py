"""Uploading sealed days and removing old ones: nothing goes that is not verified and proved to be elsewhere."""

import datetime as dt
import hashlib
import json
import shutil
import subprocess
import sys

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

import kraken_l3
from kraken_l3.archive.layout import parse_name
from kraken_l3.archive.lock import DirectoryLock
from kraken_l3.clock import SystemClock
from kraken_l3.errors import ArchiveLocked, UsageError
from kraken_l3.keeping.job import keep
from kraken_l3.keeping.rules import KeptDay, Limits, held_back, to_remove

DAYS = [dt.date(2026, 1, 2), dt.date(2026, 1, 3)]
ONE_DAY = Limits(days=1)


def run(*arguments):
    command = [sys.executable, "-m", "kraken_l3", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("keeping") / "data"
    kraken_l3.simulate(directory, "40s", symbols=["ETH/USD"], rate=20, start="2026-01-02T23:59:40Z", gaps=0)
    done = run("seal", directory)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def archive(sealed, tmp_path):
    return shutil.copytree(sealed, tmp_path / "data")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def names_of(directory, day):
    return {path.name for path in directory.iterdir() if (name := parse_name(path.name)) and name.day == day}


def sums(directory, names):
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}


class HalfWay(LocalFileSystem):
    """Another disk, which fails after so many bytes."""

    protocol = "halfway"
    left = 0

    def open(self, path, mode="rb", **kwargs):
        file = super().open(path.replace("halfway://", ""), mode, **kwargs)
        if "w" in mode:
            write = file.write

            def limited(data):
                HalfWay.left -= len(data)
                if HalfWay.left < 0:
                    raise OSError(28, "No space left on device")
                return write(data)

            file.write = limited
        return file

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).replace("halfway://", ""))


fsspec.register_implementation("halfway", HalfWay, clobber=True)


def test_every_file_of_a_sealed_day_is_copied_and_the_next_run_copies_none(archive, store):
    first = keep(archive, str(store), SystemClock())
    names = names_of(archive, DAYS[0]) | names_of(archive, DAYS[1])
    assert (first.uploaded, first.days_elsewhere, first.removed) == (len(names), 2, [])
    assert sums(archive, names) == sums(store, names)
    again = keep(archive, str(store), SystemClock())
    assert (again.uploaded, again.days_elsewhere) == (0, 2)


def test_the_copy_is_an_archive(archive, store):
    keep(archive, str(store), SystemClock())
    assert run("verify", store).returncode == 0
    assert run("check", store).returncode == 0


def test_old_days_go_when_all_of_them_is_proved_elsewhere(archive, store):
    report = keep(archive, str(store), SystemClock(), ONE_DAY)
    assert report.removed == DAYS
    assert not names_of(archive, DAYS[0])
    assert names_of(store, DAYS[0])
    assert run("info", store).returncode == 0


def test_a_day_that_was_fetched_back_is_not_removed_unless_the_limits_say_so(archive, store):
    keep(archive, str(store), SystemClock(), ONE_DAY)
    for name in names_of(store, DAYS[0]):
        shutil.copy(store / name, archive / name)
    assert keep(archive, str(store), SystemClock()).removed == []
    assert names_of(archive, DAYS[0])


def test_a_removal_that_was_interrupted_is_gone_on_with(archive, store):
    keep(archive, str(store), SystemClock())
    begun = {"kind": "removed", "at_ns": 1, "url": str(store), "day": "2026-01-02", "bytes": 5}
    with (archive / "uploads.ndjson").open("a") as file:
        file.write(json.dumps(begun) + "\n")
    next(archive.glob("l3-2026-01-02.receipts")).unlink()
    report = keep(archive, str(store), SystemClock())
    assert report.removed == [DAYS[0]]
    assert not names_of(archive, DAYS[0])


def test_what_was_written_during_an_interrupted_removal_stays(archive, store):
    keep(archive, str(store), SystemClock())
    begun = {"kind": "removed", "at_ns": 1, "url": str(store), "day": "2026-01-02", "bytes": 5}
    with (archive / "uploads.ndjson").open("a") as file:
        file.write(json.dumps(begun) + "\n")
    (archive / "trade-2026-01-02.filled").write_text("{}\n")
    keep(archive, str(store), SystemClock())
    assert names_of(archive, DAYS[0]) == {"trade-2026-01-02.filled"}


def test_the_archive_itself_is_no_store(archive, tmp_path):
    (tmp_path / "link").symlink_to(archive)
    before = sums(archive, names_of(archive, DAYS[0]))
    for url in (archive, tmp_path / "link", f"file://{archive}"):
        with pytest.raises(UsageError, match="the archive itself"):
            keep(archive, str(url), SystemClock(), ONE_DAY)
    assert sums(archive, names_of(archive, DAYS[0])) == before


def test_a_day_of_another_archive_in_the_store_is_not_replaced(archive, store):
    store.mkdir()
    other = store / "l3-2026-01-02.manifest.json"
    other.write_text('{"day": "2026-01-02", "of": "another archive"}')
    report = keep(archive, str(store), SystemClock(), ONE_DAY)
    assert report.removed == [DAYS[1]]
    assert [each.split()[0] for each in report.failed] == ["2026-01-02"]
    assert names_of(store, DAYS[0]) == {other.name}
    other.write_bytes((archive / other.name).read_bytes()[:99])  # ours, half written when the power went
    assert keep(archive, str(store), SystemClock(), ONE_DAY).removed == [DAYS[0]]


def test_a_store_that_fails_half_way_keeps_everything_here_and_is_gone_on_with(archive, store):
    HalfWay.left = 3_000
    report = keep(archive, f"halfway://{store}", SystemClock(), ONE_DAY)
    assert report.failed
    assert report.removed == []
    assert set(report.held_back.values()) == {"is not proved to be in the store"}
    HalfWay.left = 10**9
    again = keep(archive, f"halfway://{store}", SystemClock(), ONE_DAY)
    assert (again.failed, again.removed) == ([], DAYS)
    assert report.uploaded + again.uploaded == len(names_of(store, DAYS[0]) | names_of(store, DAYS[1]))


def test_a_file_that_changed_in_the_store_or_vanished_keeps_the_day_here(archive, store):
    keep(archive, str(store), SystemClock())
    (store / "l3-2026-01-02.ndjson.zst").unlink()
    report = keep(archive, str(store), SystemClock(), ONE_DAY)
    assert report.removed == [DAYS[1]]
    assert "no longer in the store" in report.held_back[DAYS[0]]


def test_a_manifest_that_lies_uploads_and_removes_nothing(archive, store):
    path = archive / "l3-2026-01-02.ndjson.zst"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    report = keep(archive, str(store), SystemClock(), ONE_DAY)
    assert any("SHA-256" in each or "zst" in each for each in report.damaged)
    assert report.removed == [DAYS[1]]
    assert not (store / path.name).exists()
    text = archive / "l3-2026-01-02.manifest.json"
    text.write_text(text.read_text().replace('"lines": ', '"lines": 1', 1))
    assert any("not as it was written" in each for each in keep(archive, str(store), SystemClock(), ONE_DAY).damaged)


def test_a_day_that_is_not_sealed_stays(archive, store):
    (archive / "l3-2026-01-02.manifest.json").unlink()
    report = keep(archive, str(store), SystemClock(), ONE_DAY)
    assert report.held_back == {DAYS[0]: "is not sealed, or not as it was sealed"}
    assert names_of(archive, DAYS[0])


def test_two_runs_at_once_are_refused(archive, store):
    lock = DirectoryLock(archive, "keep.lock")
    with pytest.raises(ArchiveLocked, match="kraken-l3 keep"):
        keep(archive, str(store), SystemClock())
    lock.release()


def test_no_secret_is_taken_in_a_url_and_no_directory_without_an_archive(archive, tmp_path):
    with pytest.raises(UsageError, match="password"):
        keep(archive, "s3://name:secret@bucket/day", SystemClock())
    with pytest.raises(UsageError, match="no archive directory"):
        keep(tmp_path, str(tmp_path / "store"), SystemClock())


def test_the_command_says_what_it_did(archive, store):
    done = run("keep", archive, "--to", store, "--keep-days", 1)
    assert done.returncode == 0, done.stderr
    assert "2 days removed here" in done.stdout
    told = json.loads(run("keep", store, "--to", archive, "--json").stdout)
    assert told["result"]["days_elsewhere"] == 2


TODAY = dt.date(2026, 11, 27)


@st.composite
def days(draw):
    back = draw(st.lists(st.integers(0, 400), unique=True, max_size=12))
    return [
        KeptDay(
            TODAY - dt.timedelta(days=number),
            draw(st.integers(0, 100)),
            draw(st.booleans()),
            draw(st.sampled_from(["verified", "verified, with gaps", "damaged", "not all verifiable", None])),
            draw(st.booleans()),
        )
        for number in back
    ]


@given(days(), st.none() | st.integers(1, 400), st.none() | st.integers(0, 500))
def test_only_days_that_are_sealed_verified_and_elsewhere_go_and_no_more_than_needed(kept, most_days, most_bytes):
    removed, held = to_remove(kept, Limits(most_days, most_bytes), TODAY)
    assert all(each.is_sealed and each.is_elsewhere and (each.verdict or "")[:8] == "verified" for each in removed)
    assert all((TODAY - each.day).days > 1 for each in (*removed, *held))
    assert all(held_back(each) for each in held)
    left = sum(each.bytes for each in kept) - sum(each.bytes for each in removed)
    for each in removed:
        is_old = most_days is not None and (TODAY - each.day).days > most_days
        assert is_old or (most_bytes is not None and left + each.bytes > most_bytes)
    if most_days is None and most_bytes is None:
        assert removed == held == []


def test_a_store_that_ends_with_the_program_is_none(archive):
    for url in ("memory://x", "dir::memory://x"):
        with pytest.raises(UsageError, match="gone when this program ends"):
            keep(archive, url, SystemClock(), ONE_DAY)
    assert names_of(archive, DAYS[0])


def test_a_store_below_a_file_is_told_and_nothing_is_removed(archive, tmp_path):
    (tmp_path / "file").touch()
    for place in ("file", "file/store"):
        report = keep(archive, str(tmp_path / place), SystemClock(), ONE_DAY)
        assert any("cannot write" in text for text in report.failed)
        assert not report.removed
