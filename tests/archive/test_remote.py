"""Archives read by URL: the same answers as from a directory, by ranges, and no more of them than needed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import kraken_l3
from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.layout import DayPaths
from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.remote import RemoteFile, RemotePath, path_of
from kraken_l3.archive.zstd import Frame, compress, encode_table, pieces
from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import KrakenL3Error, UsageError
from kraken_l3.export.storage import open_store
from kraken_l3.rebuild.checkpointing import Checkpointing
from kraken_l3.rebuild.metadata import metadata_in

fsspec = pytest.importorskip("fsspec")

SYMBOL = "BTC/USD"
MEBIBYTE = 1 << 20


def write_checkpoints(source: Path) -> None:
    """As the verifier writes them, of little data."""
    archive = open_archive(source)
    engine = make_engine(EngineOptions())
    for told in metadata_in(archive):
        engine.set_symbol(*told[1:2], price_precision=told[2], qty_precision=told[3], depth=told[4])
    checkpointing = Checkpointing(engine, least_bytes=2_000)
    [path] = archive.files()
    checkpoints = DayPaths.of(path).checkpoints
    with DataFile(path) as file:
        for block in file.blocks(size=16 * 1024):
            engine.feed(block.data, block.first_line, block.offset)
            lines, end = block.data.count(b"\n"), block.offset + len(block.data)
            checkpointing.fed(checkpoints, block.first_line + lines, end, lines=lines, size=len(block.data))


def seal(path: Path, frame_bytes: int) -> None:
    """Frames as small against the file as those of a day of some gigabytes are."""
    source = PlainFile(path)
    packed, frames, offset, start = b"", [], 0, 0
    for piece in pieces(source, frame_bytes):
        frame = compress(piece)
        frames.append(Frame(offset, len(frame), start, len(piece)))
        offset, start = offset + len(frame), start + len(piece)
        packed += frame
    source.close()
    path.with_name(path.name + ".zst").write_bytes(packed + encode_table(frames))
    path.unlink()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("remote") / "a"
    kraken_l3.simulate(directory, "12m", symbols=[SYMBOL], rate=60.0, depth=10)
    write_checkpoints(directory)
    return directory


@pytest.fixture
def url(source):
    filesystem = fsspec.filesystem("memory")
    for path in source.iterdir():
        filesystem.pipe_file(f"/market/day/{path.name}", path.read_bytes())
    yield "memory://market/day"
    filesystem.rm("/", recursive=True)


@pytest.fixture
def counted(monkeypatch):
    """Bytes of each range that is asked for, and how often directories are listed."""
    filesystem = type(fsspec.filesystem("memory"))
    ranges, listings = [], []
    read, listed = filesystem.cat_file, filesystem.ls

    def cat_file(self, path, start=None, end=None, **how):
        ranges.append(end - start)
        return read(self, path, start=start, end=end, **how)

    def ls(self, path, *arguments, **how):
        listings.append(path)
        return listed(self, path, *arguments, **how)

    monkeypatch.setattr(filesystem, "cat_file", cat_file)
    monkeypatch.setattr(filesystem, "ls", ls)
    return ranges, listings


def test_an_archive_gives_the_same_by_url(source, url):
    here, there = kraken_l3.open(source), kraken_l3.open(url)
    assert (there.days, there.symbols) == (here.days, here.symbols)
    [at] = [line.receipt.recv_ns for number, line in enumerate(here.messages()) if number == 4_000]
    assert there.book(SYMBOL, at=at) == here.book(SYMBOL, at=at)
    assert there.book(SYMBOL) == here.book(SYMBOL)
    window = {"start": at, "end": at + 30 * 10**9}
    assert there.events(SYMBOL, **window).read_all().equals(here.events(SYMBOL, **window).read_all())
    assert [line.payload for line in there.messages("trade")] == [line.payload for line in here.messages("trade")]
    assert there.verify().exit_code() == here.verify().exit_code() == 0


def test_a_file_alone_by_its_url(source, url):
    [name] = [path.name for path in source.glob("l3-*.ndjson")]
    assert kraken_l3.open(f"{url}/{name}").book(SYMBOL) == kraken_l3.open(source / name).book(SYMBOL)


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_book_at_a_moment_reads_little_of_a_day(source, tmp_path, counted, is_sealed):
    copy = tmp_path / "day"
    copy.mkdir()
    for path in source.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    if is_sealed:
        seal(next(copy.glob("l3-*.ndjson")), 8 * 1024)
    filesystem = fsspec.filesystem("memory")
    for path in copy.iterdir():
        filesystem.pipe_file(f"/market/day/{path.name}", path.read_bytes())
    here = kraken_l3.open(copy)
    lines = open_archive(copy).files()
    with DataFile(lines[0]) as file:
        at_ns = file.receipts[len(file.receipts) * 2 // 3].recv_ns
        size = file.source.size()
    ranges, listings = counted
    found = kraken_l3.open("memory://market/day").book(SYMBOL, at=at_ns)
    assert found == here.book(SYMBOL, at=at_ns)
    assert len(listings) <= 4
    # of a small day the few blocks of 16 KiB that any look-up takes weigh more than they do in one of gigabytes
    assert sum(ranges) < 0.02 * size + 60 * 16 * 1024
    filesystem.rm("/", recursive=True)


@pytest.mark.parametrize("command", [["info"], ["verify"], ["book", "--symbol", SYMBOL], ["verify", "--jobs", "2"]])
def test_commands_take_urls(source, tmp_path, command):
    """By file://, which other processes see too."""
    url = f"file://{source}"
    program = [sys.executable, "-m", "kraken_l3", command[0]]
    there = subprocess.run([*program, url, *command[1:], "--json"], capture_output=True, text=True, check=False)
    here = subprocess.run([*program, str(source), *command[1:], "--json"], capture_output=True, text=True, check=False)
    assert there.stderr == ""
    seconds = re.compile(r'"seconds": [0-9.e-]+')
    assert seconds.sub("", there.stdout.replace(url, str(source))) == seconds.sub("", here.stdout)


def test_what_only_works_here_says_so(source):
    program = [sys.executable, "-m", "kraken_l3", "recover", "s3://market/day"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "path on this machine" in done.stderr


def test_what_is_not_there_is_told(url):
    with pytest.raises(UsageError, match="no such file or directory"):
        kraken_l3.open("memory://market/nowhere")
    with pytest.raises(UsageError, match="cannot open"):
        kraken_l3.open("gopher://market/day")


@pytest.mark.parametrize(
    "url",
    ["s3://key:s3cr3t@bucket/day", "https://bucket.example/day?X-Amz-Signature=s3cr3t", "ftp://me:s3cr3t@host/day"],
)
@pytest.mark.parametrize("command", ["info", "recover"])
def test_a_secret_in_a_url_is_refused_and_not_told(url, command, tmp_path):
    for take in (kraken_l3.open, open_store):
        with pytest.raises(UsageError, match="a password or a query") as told:
            take(url)
        assert "s3cr3t" not in str(told.value)
    done = subprocess.run(
        [sys.executable, "-m", "kraken_l3", command, url, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "s3cr3t" not in done.stdout + done.stderr


class _Answers:
    """A store that answers with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def cat_file(self, *_: object, **__: object) -> bytes:
        raise self._error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError("The specified bucket does not exist"), "there is no such bucket"),
        (FileNotFoundError("market/day/big"), "removed while it was read"),
        (PermissionError("Forbidden: https://a/b?token=s3cr3t"), "access denied"),
        (OSError("404, url='https://me:s3cr3t@a/b?token=s3cr3t'"), "cannot read: 404"),
    ],
)
def test_what_a_store_answers_is_told_without_secrets(url, error, told):
    fsspec.filesystem("memory").pipe_file("/market/day/big", b"1")
    file = RemoteFile(path_of(f"{url}/big"))
    file._filesystem = _Answers(error)
    with pytest.raises(KrakenL3Error, match=told) as raised:
        file.read_at(0, 1)
    assert "s3cr3t" not in str(raised.value)


def test_a_bucket_that_is_missing_is_told(url, monkeypatch):
    def ls(*_: object, **__: object) -> None:
        raise FileNotFoundError("The specified bucket does not exist")  # s3fs's words

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "ls", ls)
    with pytest.raises(UsageError, match="there is no such bucket"):
        kraken_l3.open(url)


def test_without_fsspec_a_url_says_what_to_install():
    code = (
        "import sys; sys.modules['fsspec'] = None\nimport kraken_l3\n"
        "try:\n    kraken_l3.open('s3://a/b')\nexcept kraken_l3.errors.UsageError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install fsspec s3fs" in done.stdout


def test_small_reads_come_from_blocks_and_large_ones_as_asked(url, counted):
    path = path_of(f"{url}/big")
    data = bytes(range(256)) * 4096
    fsspec.filesystem("memory").pipe_file("/market/day/big", data)
    file = PlainFile(path)
    ranges, _ = counted
    assert file.size() == MEBIBYTE
    for offset, count in ((5, 100), (16_380, 10), (6, 50), (MEBIBYTE - 3, 100), (MEBIBYTE, 1), (1_000, 500_000)):
        assert file.read_at(offset, count) == data[offset : offset + count]
    assert ranges == [16_384, 16_384, 16_384, 500_000]
    file.close()


def test_a_path_of_a_store_is_like_one_of_this_machine():
    path = RemotePath("s3://market/day") / "l3-2026-11-22.ndjson"
    assert (str(path), path.name, path.suffix) == (
        "s3://market/day/l3-2026-11-22.ndjson",
        "l3-2026-11-22.ndjson",
        ".ndjson",
    )
    assert str(path.with_name("x")) == "s3://market/day/x"
    assert path.parent == RemotePath("s3://market/day")
    assert path_of("/a/b") == Path("/a/b")
    assert path_of(Path("/a")) == Path("/a")


def test_foreign_readers_of_seekable_zstd_read_sealed_days(source, tmp_path):
    pyzstd = pytest.importorskip("pyzstd")
    [path] = source.glob("l3-*.ndjson")
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    seal(copy, 64 * 1024)
    with pyzstd.SeekableZstdFile(str(copy) + ".zst", "r") as file:
        assert file.is_seekable_format_file(str(copy) + ".zst")
        content = path.read_bytes()
        for offset in (0, 70_000, len(content) // 2, len(content) - 100):
            file.seek(offset)
            assert file.read(5_000) == content[offset : offset + 5_000]
