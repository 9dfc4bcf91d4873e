"""What `info` reads of a merged archive's sources, and what it makes of a companion that is damaged."""

from array import array

import pytest

from kraken_l3.archive.merged import later_in
from kraken_l3.archive.reader import open_archive
from kraken_l3.archive.receipts import Receipt, pack_receipt

LINE = b'{"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[]}]}\n'
LINES = 1_000
BEGIN_NS = 10**18


@pytest.fixture
def merged(tmp_path):
    """A thousand lines of two sources; the second received each 2 ms later, and every tenth not at all."""
    (tmp_path / "l3-2026-11-22.ndjson").write_bytes(LINE * LINES)
    receipts = (Receipt(BEGIN_NS + n, n, len(LINE) * (n + 1), 1, 0) for n in range(LINES))
    (tmp_path / "l3-2026-11-22.receipts").write_bytes(b"".join(map(pack_receipt, receipts)))
    rows = array("q")
    for n in range(LINES):
        rows.extend([0, BEGIN_NS + n, BEGIN_NS + n + 2_000_000 if n % 10 else 0])
    (tmp_path / "l3-2026-11-22.sources").write_bytes(rows.tobytes())
    return tmp_path


def test_each_pair_of_sources_has_its_percentiles(merged):
    (later,) = later_in(open_archive(merged))
    assert (later.source, later.than, later.messages) == (1, 0, 900)
    assert (later.p1_ns, later.p50_ns, later.p99_ns) == (2_000_000, 2_000_000, 2_000_000)
    (few,) = later_in(open_archive(merged), most=150)
    assert 0 < few.messages <= 150


@pytest.mark.parametrize("content", [b"", b"x" * 8, bytes(8 * LINES), bytes(8 * LINES * 3 - 8)])
def test_a_companion_that_does_not_fit_the_lines_tells_nothing(merged, content):
    (merged / "l3-2026-11-22.sources").write_bytes(content)
    assert later_in(open_archive(merged)) == []


def test_an_archive_that_was_not_merged_has_no_sources(merged):
    (merged / "l3-2026-11-22.sources").unlink()
    assert later_in(open_archive(merged)) == []
    (merged / "l3-2026-11-22.receipts").unlink()
    assert later_in(open_archive(merged)) == []
