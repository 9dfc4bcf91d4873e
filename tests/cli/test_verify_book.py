"""`verify` and `book` as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kraken_l3.archive.journal import GapOpened
from kraken_l3.archive.writer import ArchiveWriter
from kraken_l3.exchange.flow import generate
from kraken_l3.model.frames import Frame
from kraken_l3.model.timestamps import parse_rfc3339

DOCS_EXAMPLE = Path(__file__).parents[1] / "book" / "data" / "kraken-docs-level3-snapshot.ndjson"
NOON_NS = parse_rfc3339("2026-11-22T12:00:00Z")


class Clock:
    def wall_ns(self):
        return NOON_NS

    mono_ns = wall_ns


def run(*words):
    done = subprocess.run([sys.executable, "-m", "kraken_l3", *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def write(path, lines):
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def lines():
    return list(generate(symbols=["BTC/USD", "ETH/USD"], messages=300, seed=1))


@pytest.fixture(scope="module")
def good(tmp_path_factory, lines):
    return write(tmp_path_factory.mktemp("good") / "theirs.ndjson", lines)


@pytest.fixture(scope="module")
def bad(tmp_path_factory, lines):
    kept = [*lines[:100], *lines[101:], b'{"channel":"level3"', b'{"channel":"heartbeat"}']
    return write(tmp_path_factory.mktemp("bad") / "theirs.ndjson", kept)


def test_verify_in_words(good):
    code, out, err = run("verify", good)
    assert code == 0
    assert err == ""
    assert "verified" in out.splitlines()[-1]
    assert "300 lines" in out
    assert "BTC/USD" in out


def test_verify_for_programs(bad):
    code, out, _ = run("verify", bad, "--json")
    report = json.loads(out)["result"]
    assert code == 2
    assert report["verdict"] == "damaged"
    assert report["lines"] == 301
    assert report["bytes"] == bad.stat().st_size
    total = report["total"]
    assert (total["malformed"], report["not_data"]) == (1, 1)
    assert total["messages"] == total["ok"] + total["mismatched"] == 299
    assert total["incidents"] == 1
    bad_lines = bad.read_bytes().splitlines(keepends=True)
    first = total["first_bad"]
    assert first["offset"] == sum(map(len, bad_lines[: first["line"]]))
    assert first["expected"] != first["computed"]
    hit = next(s for s in report["symbols"].values() if s["first_bad"])
    assert hit["incidents"] == 1
    assert hit["first_bad"]["file"] == "theirs.ndjson"
    assert hit["first_bad"]["line"] >= 100
    assert {
        "messages", "ok", "mismatched", "incidents", "before_snapshot", "unverifiable", "gaps", "findings", "first_bad",
    } <= hit.keys() & total.keys()  # fmt: skip
    assert any(note["kind"] == "malformed" and note["line"] == 299 for note in report["notes"])


def test_verify_tells_where_in_words(bad):
    code, out, _ = run("verify", bad, "--engine", "python", "--jobs", "2")
    assert code == 2
    assert "incident opened" in out
    assert "theirs.ndjson line 299" in out
    assert "damaged" in out.splitlines()[-1]


def test_kraken_docs_example():
    code, out, _ = run("verify", DOCS_EXAMPLE, "--json")
    assert (code, json.loads(out)["result"]["symbols"]["BTC/USD"]["ok"]) == (0, 1)


def test_updates_without_a_snapshot_are_not_verifiable(tmp_path, lines):
    code, out, _ = run("verify", write(tmp_path / "x.ndjson", lines[2:]), "--json")
    assert (code, json.loads(out)["result"]["verdict"]) == (3, "not all verifiable")
    assert json.loads(out)["result"]["total"]["before_snapshot"] == 298


def test_several_paths_are_one_report(good, bad, lines):
    code, out, _ = run("verify", good, bad, "--json")
    report = json.loads(out)["result"]
    assert code == 2
    assert report["paths"] == [str(good), str(bad)]
    assert report["total"]["messages"] == 300 + 299
    assert report["lines"] == 300 + 301


def test_a_depth_that_the_user_knows(good, tmp_path):
    deep = write(tmp_path / "deep.ndjson", generate(symbols=["BTC/USD"], depth=100, messages=2000, seed=3))
    code, out, _ = run("verify", deep, "--depth", "100", "--json")
    assert (code, json.loads(out)["result"]["symbols"]["BTC/USD"]["depth_inferred"]) == (0, False)
    code, out, _ = run("verify", deep, "--depth", "10", "--json")
    assert (code, json.loads(out)["result"]["symbols"]["BTC/USD"]["depth"]) == (2, 10)
    assert run("verify", deep, "--depth", "11")[0] == 1


def test_lost_zeros_are_not_called_wrong(good, tmp_path):
    """As the naive recorder wrote it: through json.loads and json.dumps."""
    lossy = [json.dumps(json.loads(line)).encode() for line in good.read_bytes().splitlines()]
    code, out, _ = run("verify", write(tmp_path / "lossy.ndjson", lossy), "--json")
    total = json.loads(out)["result"]["total"]
    assert code in (0, 3)
    assert total["mismatched"] == total["findings"] == 0
    assert total["ok"] + total["unverifiable"] + total["before_snapshot"] == 300


def test_a_gap_counts_where_completeness_is_asked_for(tmp_path, lines):
    writer = ArchiveWriter.open(tmp_path, clock=Clock())
    frames = [Frame(line, NOON_NS + i, NOON_NS + i, 1) for i, line in enumerate(lines)]
    writer.append("level3", frames[:100])
    gap = {"at_ns": NOON_NS, "channel": "level3", "symbol": "BTC/USD", "cause": "network", "left_ns": NOON_NS + 1}
    writer.journal(GapOpened(**gap))
    writer.append("level3", frames[100:])
    writer.journal(GapOpened(**{**gap, "symbol": "ETH/USD", "left_ns": NOON_NS + 10_000}))  # nothing came after it
    writer.close()
    code, out, _ = run("verify", tmp_path, "--json")
    report = json.loads(out)["result"]
    assert (report["symbols"]["BTC/USD"]["gaps"], report["symbols"]["ETH/USD"]["gaps"]) == (1, 0)
    assert report["total"]["gaps"] == 1
    assert (code, report["verdict"]) == (0, "verified, with gaps")
    assert run("verify", tmp_path, "--require-complete")[0] == 3


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFOs")
def test_instruments_from_a_fifo_are_not_waited_for(tmp_path, good):
    os.mkfifo(tmp_path / "instruments.json")
    code, _, err = run("verify", good, "--instruments", tmp_path / "instruments.json")
    assert (code, "not a regular file" in err) == (1, True)


def test_instruments_from_a_file(tmp_path, good):
    pairs = ",".join(
        f'{{"symbol":"{s}","price_precision":{p},"qty_precision":8}}' for s, p in (("BTC/USD", 1), ("ETH/USD", 2))
    )
    path = tmp_path / "instruments.json"
    path.write_text(f'{{"channel":"instrument","type":"snapshot","data":{{"pairs":[{pairs}]}}}}')
    code, out, _ = run("verify", good, "--instruments", path, "--json")
    assert (code, json.loads(out)["result"]["symbols"]["ETH/USD"]["precision_inferred"]) == (0, False)


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "/no/such/file"),
        ("verify", Path(__file__).parent),
        ("book", DOCS_EXAMPLE, "--symbol", "BTC/USD", "--depth", "11"),
        ("verify", DOCS_EXAMPLE, "--engine", "steam"),
        ("verify", DOCS_EXAMPLE, "--instruments", "/no/such/file"),
        ("book", DOCS_EXAMPLE, "--symbol", "BTC/USD", "--at", "yesterday"),
        ("book", DOCS_EXAMPLE, "--symbol", "BTC/USD", "--at", "2026-11-22", "--line", "1"),
        ("book", DOCS_EXAMPLE.parent, "--symbol", "BTC/USD", "--line", "1"),
    ],
)
def test_usage_errors(words):
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert err.strip()
    assert "Traceback" not in err


def test_book_in_words(good):
    code, out, _ = run("book", good, "--symbol", "BTC/USD", "--levels", "3")
    assert code == 0
    assert "BTC/USD after 300 lines of theirs.ndjson" in out
    assert "10 bid and 10 ask levels" in out


def test_book_for_programs_and_as_a_message(good, tmp_path):
    code, out, _ = run("book", good, "-s", "ETH/USD", "--line", "200", "--json")
    report = json.loads(out)["result"]
    assert (code, report["line"], report["state"], report["gap"]) == (0, 200, "synced", None)
    assert len(report["bids"]) == len(report["asks"]) == 10
    assert float(report["bids"][0]["price"]) < float(report["asks"][0]["price"])
    for level in (*report["bids"], *report["asks"]):
        assert abs(sum(float(o["qty"]) for o in level["orders"]) - float(level["qty"])) < 1e-9
    code, out, _ = run("book", good, "-s", "ETH/USD", "--line", "200", "--message")
    message = tmp_path / "message.ndjson"
    message.write_text(out)
    assert run("verify", message)[0] == 0
    assert json.loads(out)["data"][0]["checksum"] == report["checksum"]


def test_book_of_a_moment(tmp_path, lines):
    writer = ArchiveWriter.open(tmp_path, clock=Clock())
    writer.append("level3", [Frame(line, NOON_NS + n * 1_000_000_000, n, 1) for n, line in enumerate(lines)])
    writer.close()
    code, out, _ = run("book", tmp_path, "-s", "BTC/USD", "--at", "2026-11-22T12:01:00Z", "--json")
    report = json.loads(out)["result"]
    assert (code, report["line"], report["received"]) == (0, 61, "2026-11-22T12:01:00.000000000Z")
    code, _, err = run("book", tmp_path, "-s", "BTC/USD", "--at", "2026-11-22T11:59:59Z")
    assert code == 3
    assert "there is no book of BTC/USD" in err


def test_a_book_that_is_wrong(bad, tmp_path, lines):
    wrong = write(tmp_path / "x.ndjson", [*lines[:-1], lines[-1].replace(b'"checksum":', b'"checksum":1')])
    symbol = "BTC/USD" if b"BTC/USD" in lines[-1] else "ETH/USD"
    code, out, _ = run("book", wrong, "-s", symbol)
    assert code == 2
    assert "does not agree" in out
