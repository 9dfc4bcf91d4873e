"""The status in the archive's directory: replaced as a whole, and worth nothing when it is none."""

import errno
import os
import threading

import pytest

from kraken_l3.archive.layout import STATUS_NAME, is_archive_name
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.unread import unread_files
from kraken_l3.monitor.status import RecorderStatus, SymbolStatus, encode_status
from kraken_l3.monitor.status_file import is_fresh, read_status, write_status

NOW_NS = 1_790_000_000_000_000_000


def status(symbols=1, **values):
    rows = [SymbolStatus(symbol=f"S{n}/USD", connection=1, state="recording", messages=symbols) for n in range(symbols)]
    return RecorderStatus(**{"now_ns": NOW_NS, "since_ns": NOW_NS, "directory": "data", "rows": rows, **values})


def test_what_was_written_is_read(tmp_path):
    for each in (status(5), status(1)):  # a shorter one leaves nothing of the longer one
        write_status(tmp_path, encode_status(each))
        assert read_status(tmp_path) == each
    assert [path.name for path in tmp_path.iterdir()] == [STATUS_NAME]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"now_ns":1}', b"\xff", b"[" * 100_000])
def test_what_is_no_status_is_passed_over(tmp_path, content):
    assert read_status(tmp_path) is None
    (tmp_path / STATUS_NAME).write_bytes(content)
    assert read_status(tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
def test_a_fifo_is_not_waited_for_and_a_link_not_followed(tmp_path):
    os.mkfifo(tmp_path / STATUS_NAME)
    assert read_status(tmp_path) is None
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / (STATUS_NAME + ".tmp")).symlink_to(victim)
    with pytest.raises(OSError):
        write_status(tmp_path, b"{}")
    assert victim.read_text() == "mine"


def test_a_reader_never_sees_half_of_one(tmp_path):
    write_status(tmp_path, encode_status(status(1)))
    done = threading.Event()

    def write():
        for n in range(300):
            write_status(tmp_path, encode_status(status(1 + n % 50 * 20)))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        found = read_status(tmp_path)
        assert found is not None
        assert {row.messages for row in found.rows} == {len(found.rows)}
    writer.join()


def on_a_full_disk(path, text):
    with (path.parent / (path.name + ".tmp")).open("wb") as file:
        file.write(text[: len(text) // 2])
    raise OSError(errno.ENOSPC, "No space left on device")


def test_on_a_full_disk_the_old_one_is_written_over(tmp_path):
    write_status(tmp_path, encode_status(status(5)))
    size = (tmp_path / STATUS_NAME).stat().st_size
    write_status(tmp_path, encode_status(status(3)), replace=on_a_full_disk)
    assert read_status(tmp_path) == status(3)
    assert (tmp_path / STATUS_NAME).stat().st_size == size
    with pytest.raises(OSError, match="No space"):
        write_status(tmp_path, encode_status(status(9)), replace=on_a_full_disk)
    assert read_status(tmp_path) == status(3)
    assert [path.name for path in tmp_path.iterdir()] == [STATUS_NAME]


def test_without_an_old_one_a_full_disk_is_said(tmp_path):
    with pytest.raises(OSError):
        write_status(tmp_path, encode_status(status(1)), replace=on_a_full_disk)
    assert not list(tmp_path.iterdir())


def test_fresh_is_said_lately_by_one_that_has_not_stopped():
    assert is_fresh(status(), NOW_NS + 4 * 10**9)
    assert not is_fresh(status(), NOW_NS + 6 * 10**9)
    assert not is_fresh(status(), NOW_NS - 6 * 10**9)  # a clock that was set back
    assert not is_fresh(status(stopped=True), NOW_NS)


def test_it_belongs_to_an_archive(tmp_path):
    write_status(tmp_path, encode_status(status()))
    assert is_archive_name(STATUS_NAME)
    assert is_archive_name(STATUS_NAME + ".tmp")
    assert not unread_files(open_archive(tmp_path))
