"""Zstandard with a seek table: what `zstd` makes of it, random access, files of others, and damage."""

import io
import shutil
import struct
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.datafile import DataFile
from kraken_l3.archive.opening import content_size, open_source
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.zstd import Frame, UnpackedFile, compress, encode_table, find_frames, pieces, read_table
from kraken_l3.errors import DamageFound, DataMissing

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd command is not installed")


class Memory:
    """Bytes as a source."""

    def __init__(self, data):
        self.data = bytes(data)

    def size(self):
        return len(self.data)

    def read_at(self, offset, count):
        return self.data[offset : offset + count]

    def close(self):
        pass


class Counted(Memory):
    """Says what was read."""

    def __init__(self, data):
        super().__init__(data)
        self.reads = []

    def read_at(self, offset, count):
        self.reads.append((offset, count))
        return super().read_at(offset, count)


def seekable(content, frame_bytes):
    packed, frames, start = b"", [], 0
    for piece in pieces(Memory(content), frame_bytes):
        frame = compress(piece)
        frames.append(Frame(len(packed), len(frame), start, len(piece)))
        packed, start = packed + frame, start + len(piece)
    return packed + encode_table(frames)


def unpacked(packed):
    source = UnpackedFile(Memory(packed), "test.zst")
    try:
        return source.read_at(0, source.size())
    finally:
        source.close()


def lines(count):
    return b"".join(b'{"n":%d}\n' % n for n in range(count))


class TestFormat:
    def test_the_table_byte_by_byte(self):
        frames = [Frame(0, 30, 0, 100), Frame(30, 40, 100, 200)]
        body = struct.pack("<IIII", 30, 100, 40, 200) + struct.pack("<IB", 2, 0) + b"\xb1\xea\x92\x8f"
        assert encode_table(frames) == b"\x5e\x2a\x4d\x18" + struct.pack("<I", len(body)) + body

    def test_every_frame_is_a_file_of_its_own_that_ends_with_a_line_and_holds_its_size_and_sum(self):
        content = lines(500)
        packed = seekable(content, 256)
        frames = read_table(Memory(packed))
        assert len(frames) > 10
        for frame in frames:
            text = packed[frame.offset : frame.offset + frame.length]
            assert zstd.decompress(text) == content[frame.start : frame.start + frame.size]
            assert zstd.decompress(text).endswith(b"}\n")
            assert zstd.get_frame_info(text).decompressed_size == frame.size
            assert text[4] & 0b100, "the frame has no checksum"

    @needs_zstd
    @pytest.mark.parametrize("content", [b"", b"{}\n", lines(1000), b"no newline"])
    def test_the_zstd_command_reads_it(self, tmp_path, content):
        path = tmp_path / "a.ndjson.zst"
        path.write_bytes(seekable(content, 256))
        assert subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout == content
        subprocess.run(["zstd", "-qt", path], check=True)

    def test_a_table_with_checksums_is_read_too(self):
        content = lines(100)
        packed = seekable(content, 256)
        frames = read_table(Memory(packed))
        end = frames[-1].offset + frames[-1].length
        entries = b"".join(struct.pack("<III", frame.length, frame.size, 7) for frame in frames)
        body = entries + struct.pack("<IBI", len(frames), 0x80, 0x8F92EAB1)
        other = packed[:end] + struct.pack("<II", 0x184D2A5E, len(body)) + body
        assert read_table(Memory(other)) == frames
        assert unpacked(other) == content

    def test_a_line_longer_than_a_frame_stays_whole(self):
        content = b"a\n" + b"x" * 5000 + b"\nb\n"
        assert [piece.endswith(b"\n") for piece in pieces(Memory(content), 64)] == [True, True]
        assert b"".join(pieces(Memory(content), 64)) == content


class TestContent:
    @given(
        content=st.lists(st.binary(max_size=60), max_size=60).map(b"\n".join),
        frame_bytes=st.integers(1, 400),
        reads=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 4000)), max_size=10),
    )
    def test_any_content_by_any_offset(self, content, frame_bytes, reads):
        source = UnpackedFile(Memory(seekable(content, frame_bytes)), "test.zst")
        assert source.size() == len(content)
        for offset, count in reads:
            assert source.read_at(offset, count) == content[offset : offset + count]
        source.close()

    def test_reading_on_unpacks_each_frame_once(self):
        packed = seekable(lines(2000), 512)
        counted = Counted(packed)
        source = UnpackedFile(counted, "test.zst", lambda: read_table(Memory(packed)))
        at = 0
        while data := source.read_at(at, 700):
            at += max(1, len(data) - 30)  # as a reader of lines goes back to the last line's beginning
        source.close()
        assert counted.reads == [(frame.offset, frame.length) for frame in read_table(Memory(packed))]

    def test_one_line_in_the_middle_unpacks_one_frame(self):
        packed = seekable(lines(2000), 512)
        counted = Counted(packed)
        source = UnpackedFile(counted, "test.zst", lambda: read_table(Memory(packed)))
        source.read_at(9000, 5)
        source.close()
        assert len(counted.reads) == 1


def by_others():
    content = lines(3000)
    whole = zstd.compress(content)
    streamed = io.BytesIO()
    with zstd.ZstdFile(streamed, "w") as file:
        file.write(content[:7])
        file.write(content[7:])
    skippable = struct.pack("<II", 0x184D2A50, 5) + b"hello"
    half = len(content) // 2
    return {
        "one frame": whole,
        "no size in its head": streamed.getvalue(),
        "several frames": zstd.compress(content[:half]) + zstd.compress(content[half:]),
        "skippable frames": skippable + zstd.compress(content[:half]) + skippable + zstd.compress(content[half:]),
        "an empty frame": zstd.compress(b"") + whole,
    }


class TestFilesOfOthers:
    @pytest.mark.parametrize("packed", by_others().values(), ids=by_others())
    @pytest.mark.parametrize("largest", [100, 1 << 20], ids=["running on", "by frame"])
    def test_they_are_read(self, packed, largest):
        content = lines(3000)
        source = UnpackedFile(Memory(packed), "test.zst", largest_frame_bytes=largest)
        assert source.size() == len(content)
        for offset, count in [(0, 3), (0, 100), (20_000, 500), (20_400, 10**6), (5, 5), (10**7, 5), (0, 10**7)]:
            assert source.read_at(offset, count) == content[offset : offset + count]
        source.close()

    def test_as_an_archive(self, tmp_path):
        path = tmp_path / "l3-2026-11-22.ndjson.zst"
        path.write_bytes(by_others()["no size in its head"])
        assert b"".join(line.payload + b"\n" for line in open_archive(tmp_path).lines()) == lines(3000)
        assert content_size(path) == len(lines(3000))

    def test_a_file_that_was_replaced_is_looked_at_anew(self, tmp_path):
        path = tmp_path / "a.ndjson.zst"
        for count in (10, 2000):
            path.write_bytes(zstd.compress(lines(count)))
            assert content_size(path) == len(lines(count))

    def test_an_empty_file_is_empty(self):
        assert unpacked(b"") == b""

    @pytest.mark.parametrize("cut", [1, 3, 5, 20, 300])
    def test_one_that_ends_too_early_is_damage_and_says_how_to_save_the_rest(self, cut):
        with pytest.raises(DamageFound, match="zstd -dc"):
            unpacked(by_others()["one frame"][:-cut])

    def test_something_else_is_damage(self):
        with pytest.raises(DamageFound, match=r"test\.zst"):
            unpacked(lines(10))

    def test_a_plain_path_finds_what_it_was_sealed_as(self, tmp_path):
        (tmp_path / "a.ndjson.zst").write_bytes(seekable(lines(5), 20))
        source = open_source(tmp_path / "a.ndjson")
        assert source.read_at(0, 1000) == lines(5)
        source.close()


class TestDamage:
    def test_no_flipped_byte_ever_changes_what_is_read(self):
        content = lines(60)
        packed = seekable(content, 128)
        for at in range(len(packed)):
            damaged = bytearray(packed)
            damaged[at] ^= 1 << at % 8
            try:
                assert unpacked(damaged) == content
            except DamageFound:
                continue

    def test_the_frame_and_its_place_are_named(self):
        content = lines(60)
        packed = bytearray(seekable(content, 128))
        frame = read_table(Memory(packed))[2]
        packed[frame.offset + frame.length - 1] ^= 1
        with pytest.raises(DamageFound, match=f"bytes {frame.start} to {frame.start + frame.size} .*frame 2"):
            unpacked(packed)

    def test_frames_before_a_damaged_one_are_read(self):
        content = lines(60)
        packed = bytearray(seekable(content, 128))
        frame = read_table(Memory(packed))[2]
        packed[frame.offset + 10] ^= 1
        source = UnpackedFile(Memory(packed), "test.zst")
        assert source.read_at(0, frame.start) == content[: frame.start]
        source.close()

    def test_a_damaged_table_is_made_again_from_the_frames(self):
        content = lines(60)
        packed = bytearray(seekable(content, 128))
        packed[-16] ^= 1  # the length of the last frame
        assert read_table(Memory(packed)) is None
        assert unpacked(packed) == content
        assert find_frames(Memory(packed), "")[-1].size > 0

    def test_a_table_that_promises_too_little_unpacks_no_more_than_that(self):
        bomb = compress(bytes(10**7))
        packed = bomb + encode_table([Frame(0, len(bomb), 0, 10)])
        with pytest.raises(DamageFound, match="10 bytes"):
            unpacked(packed)


class TestBounds:
    """A small file may unpack to anything, and ask for anything."""

    @pytest.mark.parametrize("line_limit", [1 << 20, 3 << 20])
    @pytest.mark.parametrize("frame_bytes", [1 << 40, 1 << 22])
    def test_a_run_of_nuls_takes_no_more_memory_than_a_line_may(self, tmp_path, line_limit, frame_bytes):
        path = tmp_path / "nuls.ndjson.zst"
        path.write_bytes(self.stream(bytes(1 << 20), 64, frame_bytes))
        tracemalloc.start()
        with DataFile(path, line_limit=line_limit) as file, pytest.raises(DamageFound, match="a line longer than"):
            for _ in file.blocks(size=1 << 20):
                pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8 * line_limit + (32 << 20)

    def stream(self, piece, count, frame_bytes):
        """`count` pieces in frames of about so many bytes, as a compressor without knowledge of the end writes them."""
        packer, parts, written = zstd.ZstdCompressor(), [], 0
        for _ in range(count):
            parts.append(packer.compress(piece))
            written += len(piece)
            if written >= frame_bytes:
                parts.append(packer.flush())
                packer, written = zstd.ZstdCompressor(), 0
        return b"".join([*parts, packer.flush()])

    @pytest.mark.parametrize("table", [False, True])
    def test_frames_without_number_are_refused(self, table):
        packed = [compress(b"") if number % 2 else compress(b"x") for number in range(11)]
        frames = [Frame(0, len(each), 0, number % 2 ^ 1) for number, each in enumerate(packed)]
        source = Memory(b"".join(packed) + (encode_table(frames) if table else b""))
        assert len(find_frames(source, "a.zst", most=11)) == 11
        with pytest.raises(DataMissing, match="more than 10 zstd frames"):
            find_frames(source, "a.zst", most=10)

    def test_a_window_that_is_too_large_is_refused_and_is_no_damage(self):
        packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
        packed = packer.compress(b"{}\n") + packer.flush()
        with pytest.raises(DataMissing, match="unpacking takes more than 128 MiB of memory"):
            unpacked(packed)
