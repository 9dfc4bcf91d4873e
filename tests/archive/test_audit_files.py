"""What audits leave beside an archive."""

import resource
import signal

import pytest

from kraken_l3.archive.audit_files import AuditFiles, read_lines
from kraken_l3.errors import ArchiveError, ArchiveLocked, DiskFull


def test_records_are_appended_a_line_each(tmp_path):
    path = tmp_path / "audit"
    with AuditFiles(tmp_path) as files:
        files.append(path, [{"a": 1}, {"b": 2}])
        files.append(path, [])
        files.append(path, [{"c": 3}])
    assert list(read_lines(path)) == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


def test_behind_a_torn_line_a_new_one_begins(tmp_path):
    path = tmp_path / "audit"
    path.write_bytes(b'{"a":1}\n{"to')
    assert list(read_lines(path)) == [b'{"a":1}']
    with AuditFiles(tmp_path) as files:
        files.append(path, [{"b": 2}])
    assert list(read_lines(path)) == [b'{"a":1}', b'{"to', b'{"b":2}']


def test_one_audit_at_a_time(tmp_path):
    with AuditFiles(tmp_path), pytest.raises(ArchiveLocked, match="another audit writes here"):
        AuditFiles(tmp_path)
    with AuditFiles(tmp_path):
        pass


def test_nothing_is_left_of_records_that_do_not_fit(tmp_path):
    path = tmp_path / "audit"
    path.write_bytes(b'{"a":1}\n')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with AuditFiles(tmp_path) as files:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with pytest.raises(DiskFull, match=str(path)):
                files.append(path, [{"text": "x" * 200}])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b'{"a":1}\n'


def test_what_is_no_file_is_said(tmp_path):
    path = tmp_path / "audit"
    assert list(read_lines(path)) == []
    path.mkdir()
    with pytest.raises(ArchiveError, match=str(path)):
        list(read_lines(path))
    with AuditFiles(tmp_path) as files, pytest.raises(ArchiveError, match=str(path)):
        files.append(path, [{"a": 1}])
