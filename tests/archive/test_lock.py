"""One writer a directory: who comes second is told who is there, and a killed holder holds nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kraken_l3.archive.layout import LOCK_NAME, SEAL_LOCK_NAME
from kraken_l3.archive.lock import DirectoryLock, Holder, holder_of
from kraken_l3.errors import ArchiveError, ArchiveLocked

HOLD = """
import sys, time
from pathlib import Path
from kraken_l3.archive.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_the_second_is_told_who_is_there(tmp_path):
    lock = DirectoryLock(tmp_path)
    with pytest.raises(ArchiveLocked, match=f"another recorder writes here .pid {os.getpid()} on "):
        DirectoryLock(tmp_path)
    DirectoryLock(tmp_path, SEAL_LOCK_NAME).release()
    lock.release()
    DirectoryLock(tmp_path).release()


def test_a_killed_process_holds_nothing(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ArchiveLocked, match=f"pid {holder.pid} "):
            DirectoryLock(tmp_path)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    DirectoryLock(tmp_path).release()


def test_it_is_signed_by_its_holder(tmp_path):
    (tmp_path / LOCK_NAME).write_text("who was here before, at length" * 100)
    lock = DirectoryLock(tmp_path)
    assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()
    lock.release()


def test_where_no_file_can_be_made_it_says_so(tmp_path):
    with pytest.raises(ArchiveError, match="cannot open the lock file: No such file or directory"):
        DirectoryLock(tmp_path / "missing")


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b'{"pid": 1}', b"[" * 5000])
def test_a_lock_signed_by_nobody_holds_all_the_same(tmp_path, text):
    lock = DirectoryLock(tmp_path)
    (tmp_path / LOCK_NAME).write_bytes(text)
    with pytest.raises(ArchiveLocked, match="its pid is not known"):
        DirectoryLock(tmp_path)
    lock.release()


def test_the_holder_is_known_by_pid_and_host(tmp_path):
    assert holder_of(tmp_path) is None
    lock = DirectoryLock(tmp_path)
    assert holder_of(tmp_path) == Holder(os.getpid(), socket.gethostname())
    lock.release()
    assert holder_of(tmp_path) is None


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system does not list its locks")
def test_a_signature_that_is_left_over_names_nobody(tmp_path):
    lock = DirectoryLock(tmp_path)
    (tmp_path / LOCK_NAME).write_text('{"pid":1,"host":"here"}')
    with pytest.raises(ArchiveLocked, match="not by the process that it names"):
        holder_of(tmp_path)
    lock.release()
    assert holder_of(tmp_path) is None
