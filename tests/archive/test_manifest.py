"""A manifest's text: what is written is read again, and nothing else is taken for one."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.gaps import Gap
from kraken_l3.archive.manifest import (
    Content,
    Description,
    Manifest,
    SealedFile,
    StreamSummary,
    decode_manifest,
    encode_manifest,
    read_manifest,
)
from kraken_l3.errors import ArchiveError, DamageFound

PATH = Path("l3-2026-11-22.manifest.json")
numbers = st.integers(0, 2**62)
times = st.none() | st.integers(-(2**63), 2**63 - 1)
texts = st.text(max_size=12)
files = st.builds(
    SealedFile,
    name=texts,
    bytes=numbers,
    sha256=texts,
    content=st.none() | st.builds(Content, bytes=numbers, sha256=texts, lines=numbers),
)
manifests = st.builds(
    Manifest,
    day=st.none() | texts,
    sealed_ns=st.integers(0, 2**63 - 1),
    program=texts,
    files=st.lists(files, max_size=3),
    contains=st.builds(
        Description,
        streams=st.lists(
            st.builds(
                StreamSummary,
                name=texts,
                stream=texts,
                lines=numbers,
                first_received_ns=times,
                last_received_ns=times,
                symbols=st.lists(texts, max_size=2),
            ),
            max_size=2,
        ),
        depths=st.dictionaries(texts, numbers, max_size=2),
        verdicts=st.none() | st.dictionaries(texts, numbers | texts, max_size=2),
        gaps=st.lists(st.builds(Gap, texts, texts, texts, numbers, times, st.none()), max_size=2),
        missing=st.lists(texts, max_size=2),
    ),
)
SMALL = Manifest(day="2026-11-22", sealed_ns=1, program="kraken-l3 0", files=[], contains=Description())


@given(manifest=manifests)
def test_what_is_written_is_read_again(manifest):
    text = encode_manifest(manifest)
    found = decode_manifest(text, PATH)
    assert encode_manifest(found) == text
    assert (found.day, found.files, found.contains) == (manifest.day, manifest.files, manifest.contains)


@given(manifest=manifests)
def test_its_sum_is_that_of_the_text_with_zeros_in_its_place(manifest):
    """As docs/archive-format.md says, so that anybody can check it."""
    text = encode_manifest(manifest).decode()
    told = json.loads(text)["manifest_sha256"]
    begin = text.rindex(told)
    assert hashlib.sha256((text[:begin] + "0" * 64 + text[begin + 64 :]).encode()).hexdigest() == told


def test_a_file_is_found_by_its_name():
    file = SealedFile(name="a", bytes=1, sha256="x")
    manifest = Manifest(day=None, sealed_ns=1, program="p", files=[file], contains=Description())
    assert manifest.file("a") is file
    assert manifest.file("b") is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[" * 5_000,
        b"\xff",
        b"null",
        encode_manifest(SMALL)[:-5],
        encode_manifest(SMALL).replace(b"2026-11-22", b"2026-11-23"),
        encode_manifest(SMALL).replace(b'"sealed_ns": 1', b'"sealed_ns": 1e99'),
    ],
)
def test_anything_else_is_none(text):
    with pytest.raises(DamageFound, match="manifest"):
        decode_manifest(text, PATH)


def test_spaces_count_too():
    with pytest.raises(DamageFound, match="not as it was written"):
        decode_manifest(encode_manifest(SMALL) + b" ", PATH)


def test_one_that_cannot_be_read_or_is_no_file(tmp_path):
    with pytest.raises(ArchiveError):
        read_manifest(tmp_path / "none.manifest.json")
    with pytest.raises(ArchiveError, match="not a regular file"):
        read_manifest(tmp_path)
    (tmp_path / "a").write_bytes(encode_manifest(SMALL))
    assert read_manifest(tmp_path / "a").day == SMALL.day
