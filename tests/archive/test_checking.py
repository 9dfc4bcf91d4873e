"""One changed byte in any sealed file is found, and where it is."""

import datetime as dt
import random
import re

import msgspec
import pytest
from archive_scenes import NOON_NS, SECOND_NS, frame, payload, start, stop
from disk_fakes import FakeClock

from kraken_l3.archive.checking import check_manifest
from kraken_l3.archive.filesystem import OsFileSystem
from kraken_l3.archive.manifest import Description, decode_manifest, encode_manifest
from kraken_l3.archive.opening import PlainFile
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.sealing import day_sealing, seal
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.archive.zstd import read_table
from kraken_l3.errors import DamageFound
from kraken_l3.model.timestamps import NS_PER_DAY

DAY = dt.date(2026, 11, 22)
LINES = 400
DATA = "l3-2026-11-22.ndjson.zst"
MANIFEST = "l3-2026-11-22.manifest.json"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """The files of a sealed day with many small frames, by name."""
    directory = tmp_path_factory.mktemp("sealed")
    clock = FakeClock(NOON_NS)
    writer = ArchiveWriter.open(directory, clock=clock)
    start(writer, clock)
    writer.append("level3", [frame(n, NOON_NS + n * SECOND_NS) for n in range(LINES)])
    writer.append("trade", [frame(n, NOON_NS + n * SECOND_NS) for n in range(20)])
    clock.now_ns += NS_PER_DAY
    writer.append("level3", [frame(0, clock.now_ns)])
    stop(writer, clock)
    (directory / "l3-2026-11-22.checkpoints").write_bytes(b'{"line":0}\n')
    day = day_sealing(OsFileSystem(), directory, DAY)
    seal(day, filesystem=OsFileSystem(), clock=clock, describe=lambda _: Description(), frame_bytes=2000)
    return {path.name: path.read_bytes() for path in directory.iterdir() if "2026-11-22" in path.name}


@pytest.fixture
def directory(tmp_path, sealed):
    for name, data in sealed.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def check(directory):
    return check_manifest(directory / "l3-2026-11-22.manifest.json").faults


def flip(path, at, bit=0):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def test_all_as_sealed(directory, sealed):
    checked = check_manifest(directory / "l3-2026-11-22.manifest.json")
    assert checked.faults == []
    assert checked.files == len(sealed) - 1
    assert checked.bytes == sum(map(len, sealed.values())) - len(sealed["l3-2026-11-22.manifest.json"])


@pytest.mark.parametrize("seed", range(10))
def test_one_flipped_bit_anywhere_is_found_and_its_file_named(directory, sealed, seed):
    rng = random.Random(seed)
    for name, data in sealed.items():
        for at in {0, len(data) - 1, *rng.choices(range(len(data)), k=4)}:
            flip(directory / name, at, rng.randrange(8))
            assert {fault.file for fault in check(directory)} == {name}, at
            (directory / name).write_bytes(data)


def test_every_byte_of_a_manifest_guards_itself(directory, sealed):
    path = directory / "l3-2026-11-22.manifest.json"
    text = sealed[path.name]
    assert encode_manifest(decode_manifest(text, path)) == text
    for at in range(len(text)):
        with pytest.raises(DamageFound, match="manifest"):
            decode_manifest(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :], path)


@pytest.mark.parametrize("with_receipts", [True, False], ids=["by receipts", "by counting"])
def test_the_frame_and_its_lines_are_named(directory, with_receipts):
    """The lines named are those that the frame held: the rest of the file still unpacks."""
    packed = PlainFile(directory / DATA)
    frames = read_table(packed)
    packed.close()
    assert len(frames) > 8
    if not with_receipts:
        (directory / "l3-2026-11-22.receipts").unlink()
    for number, frame_of in enumerate(frames):
        at = frame_of.offset + frame_of.length // 2
        flip(directory / DATA, at)
        [fault] = [fault for fault in check(directory) if fault.file == DATA]
        assert (fault.frame, fault.begin, fault.end) == (number, frame_of.start, frame_of.start + frame_of.size)
        lines = b"".join(payload(n) + b"\n" for n in range(fault.first_line, fault.last_line + 1))
        assert len(lines) == frame_of.size
        assert sum(len(payload(n)) + 1 for n in range(fault.first_line)) == frame_of.start
        flip(directory / DATA, at)


def test_two_frames_and_damaged_receipts(directory):
    packed = PlainFile(directory / DATA)
    frames = read_table(packed)
    packed.close()
    for number in (1, 4):
        flip(directory / DATA, frames[number].offset + 20)
    flip(directory / "l3-2026-11-22.receipts", 100)
    faults = {fault.frame: fault for fault in check(directory) if fault.file == DATA}
    assert set(faults) == {1, 4}
    assert faults[1].first_line is not None
    assert faults[1].last_line is None  # what frame 4 held is not known either
    assert faults[4].last_line is not None


def test_a_damaged_seek_table_costs_nothing_and_is_said(directory):
    for back in (4, 8, 12, 16):  # magic number, number of frames, sizes
        flip(directory / DATA, -back)
        [fault] = check(directory)
        assert "what it holds is whole" in fault.what
        flip(directory / DATA, -back)


def test_a_truncated_file(directory, sealed):
    (directory / DATA).write_bytes(sealed[DATA][: len(sealed[DATA]) // 2])
    [fault] = check(directory)
    assert fault.file == DATA
    assert "ends in the middle" in fault.what


def test_another_whole_file_in_its_place(directory):
    (directory / DATA).write_bytes((directory / "trade-2026-11-22.ndjson.zst").read_bytes())
    [fault] = check(directory)
    assert "another file" in fault.what


def test_a_missing_file_is_missing_and_one_that_was_unpacked_is_pointed_to(directory):
    (directory / "journal-2026-11-22.ndjson").unlink()
    lines = b"".join(line.payload + b"\n" for line in open_archive(directory / DATA).lines())
    (directory / "l3-2026-11-22.ndjson").write_bytes(lines)
    (directory / DATA).unlink()
    faults = {fault.file: fault for fault in check(directory)}
    assert set(faults) == {DATA, "journal-2026-11-22.ndjson"}
    assert all(fault.missing for fault in faults.values())
    assert re.search(r"l3-2026-11-22\.ndjson is there instead", faults[DATA].what)


def test_checkpoints_may_have_grown_but_not_changed(directory):
    path = directory / "l3-2026-11-22.checkpoints"
    with path.open("ab") as file:
        file.write(b'{"line":5}\n')
    assert check(directory) == []
    flip(path, 3)
    assert [fault.file for fault in check(directory)] == [path.name]


@pytest.mark.parametrize("name", ["../precious", "/etc/hostname", "..", ".", "", "a/../b"])
def test_a_manifest_names_no_file_elsewhere(directory, name):
    """Whoever makes a manifest up has a program of somebody else read and sum what it names."""
    path = directory / "l3-2026-11-22.manifest.json"
    manifest = decode_manifest(path.read_bytes(), path)
    elsewhere = msgspec.structs.replace(manifest.files[0], name=name)
    path.write_bytes(encode_manifest(msgspec.structs.replace(manifest, files=[elsewhere])))
    (fault,) = check_manifest(path).faults
    assert fault.file == name


def test_what_is_wrong_is_told_in_the_manifests_order_and_all_bytes_count(directory):
    names = [entry.name for entry in decode_manifest((directory / MANIFEST).read_bytes(), directory).files]
    for name in names:
        (directory / name).write_bytes((directory / name).read_bytes()[:-1])
    read = []
    checked = check_manifest(directory / MANIFEST, progress=read.append)
    assert list(dict.fromkeys(fault.file for fault in checked.faults)) == names
    assert sum(read) == sum((directory / name).stat().st_size for name in names)
