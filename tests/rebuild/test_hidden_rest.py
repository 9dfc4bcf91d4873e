"""A compressed frame that cannot be unpacked hides the rest of its file, and of that file alone."""

import pytest

from kraken_l3.archive.zstd import Frame, compress, encode_table
from kraken_l3.errors import DamageFound
from kraken_l3.exchange.flow import generate
from kraken_l3.rebuild.book_at import book_at
from kraken_l3.rebuild.report import Report
from kraken_l3.rebuild.verify import verify

DAYS = ("2026-11-22", "2026-11-23", "2026-11-24")
FRAME_LINES = 100
DAMAGED_FRAME = 2


@pytest.fixture(params=["python", "native"])
def engine_name(request):
    if request.param == "native":
        pytest.importorskip("kraken_l3_native", reason="the native engine is not installed")
    return request.param


def packed(lines, *, damaged=None):
    """The lines in frames with a seek table, as a sealed file has it; one frame with a changed byte."""
    data, frames, start = b"", [], 0
    for number, first in enumerate(range(0, len(lines), FRAME_LINES)):
        content = b"".join(line + b"\n" for line in lines[first : first + FRAME_LINES])
        frame = bytearray(compress(content))
        frames.append(Frame(len(data), len(frame), start, len(content)))
        if number == damaged:
            frame[len(frame) // 2] ^= 0xFF
        data, start = data + bytes(frame), start + len(content)
    return data + encode_table(frames)


@pytest.fixture
def archive(tmp_path):
    """Three packed days of 400 messages, each beginning with a snapshot; the third frame of the second is damaged."""
    for number, day in enumerate(DAYS):
        lines = list(generate(symbols=["BTC/USD"], messages=400, seed=number))
        damaged = DAMAGED_FRAME if number == 1 else None
        (tmp_path / f"l3-{day}.ndjson.zst").write_bytes(packed(lines, damaged=damaged))
    return tmp_path


@pytest.mark.parametrize("jobs", [1, 2])
def test_it_is_told_and_the_other_days_are_verified(archive, engine_name, jobs):
    found = verify(archive, engine_name=engine_name, jobs=jobs)
    (hidden,) = found.hidden
    assert f"l3-{DAYS[1]}.ndjson.zst" in hidden.where
    assert found.exit_code() == DamageFound.exit_code
    assert found.symbols["BTC/USD"].tally.ok == 400 + DAMAGED_FRAME * FRAME_LINES + 400
    assert [part.lines for part in found.files] == [400, DAMAGED_FRAME * FRAME_LINES, 400]


def test_the_report_has_it(archive):
    report = Report(require_complete=False)
    report.add(archive, verify(archive))
    assert report.verdict() == "damaged"
    assert len(report.as_dict()["hidden"]) == 1


def test_books_do_not_go_on_behind_it(archive):
    """The next day begins in the middle: its updates are before its snapshot, not of the book that the damage hid."""
    lines = list(generate(symbols=["BTC/USD"], messages=500, seed=9))[100:]
    (archive / f"l3-{DAYS[2]}.ndjson.zst").write_bytes(packed(lines))
    tally = verify(archive).symbols["BTC/USD"].tally
    assert tally.mismatched == 0
    assert tally.unverifiable == {"after_gap": 400}


def test_a_book_behind_it_is_found_and_one_within_is_refused(archive, engine_name):
    last = archive / f"l3-{DAYS[2]}.ndjson.zst"
    alone = book_at(last, "BTC/USD", engine_name=engine_name)
    assert book_at(archive, "BTC/USD", engine_name=engine_name).image == alone.image
    last.unlink()
    with pytest.raises(DamageFound, match=f"l3-{DAYS[1]}"):
        book_at(archive, "BTC/USD", engine_name=engine_name)
