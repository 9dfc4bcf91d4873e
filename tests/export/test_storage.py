"""Files that appear complete or not at all."""

from __future__ import annotations

import errno
import tempfile

import pyarrow as pa
import pytest

from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.export.parquet import ParquetOutput
from kraken_l3.export.storage import LocalStore, open_store, write_file


def names_in(directory) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_a_file_appears_when_it_is_published(tmp_path):
    store = LocalStore(tmp_path)
    output = store.begin("a/b.csv")
    output.file.write(b"12345")
    assert names_in(tmp_path) == ["a/.b.csv.tmp"]
    assert store.size("a/b.csv") is store.read("a/b.csv") is None
    assert output.publish() == 5
    assert names_in(tmp_path) == ["a/b.csv"]
    assert (store.size("a/b.csv"), store.read("a/b.csv")) == (5, b"12345")


def test_it_may_get_another_name_in_the_end(tmp_path):
    output = LocalStore(tmp_path).begin("a/b.csv")
    output.publish("a/b_5.csv")
    assert names_in(tmp_path) == ["a/b_5.csv"]


def test_what_is_abandoned_leaves_nothing(tmp_path):
    LocalStore(tmp_path).begin("a/b.csv").abandon()
    assert names_in(tmp_path) == []


def test_an_interrupted_write_leaves_nothing(tmp_path):
    class Interrupts:
        def __buffer__(self, flags):
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, TypeError)):  # Python before 3.12 knows no such buffers
        write_file(LocalStore(tmp_path), "a.json", Interrupts())  # type: ignore[arg-type] # breaks on purpose
    assert names_in(tmp_path) == []


class FullDisk:
    """Takes nothing, as /dev/full; closing fails too, since it writes what is left."""

    def __init__(self, output) -> None:
        self.file, self._output = self, output
        self.closed = False

    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")

    def tell(self):
        return 0

    def flush(self):
        pass

    def close(self):
        self.closed = True

    def abandon(self):
        self._output.abandon()


def test_a_table_on_a_full_disk_is_abandoned_whole(tmp_path):
    schema = pa.schema([("line", pa.int64())])
    output = ParquetOutput(LocalStore(tmp_path).begin("t.parquet"), schema, {})
    output.abandon()
    assert names_in(tmp_path) == []
    with pytest.raises(OSError, match="No space"):
        # the head of the file is written at once
        ParquetOutput(FullDisk(LocalStore(tmp_path).begin("u.parquet")), schema, {}).write(schema.empty_table())
    assert names_in(tmp_path) == []


def test_a_directory_that_cannot_be_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for place in ("/proc/nothing", str(tmp_path / "file")):
        store = open_store(place)
        with pytest.raises(LocalFault, match="cannot write"):
            store.begin("a/b.csv")
        with pytest.raises(LocalFault, match=f"{place}.*cannot write"):
            _ = store.scratch


def test_an_unknown_kind_of_url_is_a_clear_error():
    pytest.importorskip("fsspec")
    with pytest.raises(UsageError, match="cannot open"):
        open_store("nosuchkind://bucket/path")


def test_a_place_that_is_taken_leaves_nothing_half_done(tmp_path):
    (tmp_path / "t.csv").mkdir()
    output = LocalStore(tmp_path).begin("t.csv")
    with pytest.raises(LocalFault, match=r"t\.csv: cannot write"):
        output.publish()
    assert names_in(tmp_path) == []
    with pytest.raises(LocalFault, match=r"t\.csv: cannot read"):
        LocalStore(tmp_path).read("t.csv")


# -- object storage, as fsspec's own in memory


@pytest.fixture
def bucket():
    fsspec = pytest.importorskip("fsspec")
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.rm("/", recursive=True)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The system's directory for temporary files, empty."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def test_an_object_appears_when_it_is_published(bucket, temporary):
    store = open_store("memory://bucket/out/")
    assert store.scratch is None
    assert store.where("a/b.csv") == "memory://bucket/out/a/b.csv"
    output = store.begin("a/b.csv")
    output.file.write(b"12345")
    assert store.size("a/b.csv") is store.read("a/b.csv") is None
    assert output.publish("a/c.csv") == 5
    assert (store.size("a/c.csv"), store.read("a/c.csv"), store.size("a/b.csv")) == (5, b"12345", None)
    store.begin("a/d.csv").abandon()
    assert store.size("a/d.csv") is None
    assert not list(temporary.iterdir())
