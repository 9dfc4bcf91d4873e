"""The one shape of everything that `--json` prints, over every command that has it."""

import importlib.util
import json
from pathlib import Path

import pytest

from kraken_l3.cli.commands import APP
from kraken_l3.cli.json_output import MEANINGS
from kraken_l3.exchange.flow import generate
from kraken_l3.model.timestamps import parse_rfc3339
from processes import run

NO_NETWORK = {"KRAKEN_L3_PUBLIC_WS_URL": "ws://127.0.0.1:9/v2"}
NEEDS_RESEARCH = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("numpy", "pyarrow")), reason="needs the extra 'research'"
)
NEEDS_DUCKDB = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("duckdb", "numpy", "pyarrow")),
    reason="needs the extras 'research' and 'duckdb'",
)
#: Every command with `--json`: its words, its exit code over a whole day, and keys of its result.
COMMAND_LINES = [
    (["plan", "--symbols", "BTC/USD"], 0, {"connections", "basis"}),
    (["info", "ARCHIVE"], 0, {"files", "gaps"}),
    (["status", "ARCHIVE"], 0, {"state", "today", "sealed"}),
    (["recover", "ARCHIVE"], 0, {"repairs"}),
    (["seal", "ARCHIVE"], 0, {"sealed"}),
    (["check", "ARCHIVE"], 0, {"manifests"}),
    (["verify", "ARCHIVE"], 0, {"verdict", "total", "symbols"}),
    (["book", "ARCHIVE", "--symbol", "BTC/USD"], 0, {"bids", "asks"}),
    (["merge", "ARCHIVE", "--out", "m"], 0, {"sources", "gaps", "conflicts"}),
    pytest.param(["sql", "select count(*) from events", "ARCHIVE"], 0, {"columns", "rows"}, marks=NEEDS_DUCKDB),
    pytest.param(["export", "snapshots", "ARCHIVE", "--out", "o"], 0, {"files", "messages"}, marks=NEEDS_RESEARCH),
    *(
        pytest.param(["export", name, "ARCHIVE", "--out", "o"], 0, {"files", "messages"}, marks=NEEDS_RESEARCH)
        for name in ("events", "tardis", "lobster", "hftbacktest")
    ),
]
KEYS = ["command", "shape", "exit_code", "meaning", "result", "error"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A day of long ago by another recorder: it can be sealed."""
    directory = tmp_path_factory.mktemp("json") / "a"
    directory.mkdir()
    noon_ns = parse_rfc3339("2026-03-01T12:00:00Z")
    data = b"".join(line + b"\n" for line in generate(symbols=["BTC/USD"], messages=200, seed=1, start_ns=noon_ns))
    (directory / "l3-2026-03-01.ndjson").write_bytes(data)
    return directory


def words_of(line, archive: Path) -> list[str]:
    return [str(archive) if word == "ARCHIVE" else word for word in line]


def told_by(done) -> dict:
    """The one object of the output."""
    [line] = done.stdout.splitlines()
    told = json.loads(line)
    assert list(told) == KEYS
    assert told["shape"] == 1
    assert told["exit_code"] == done.returncode
    assert told["meaning"] == MEANINGS[done.returncode]
    assert (told["result"] is None) != (told["error"] is None)
    return told


@pytest.mark.parametrize(("line", "code", "keys"), COMMAND_LINES)
def test_a_result(archive, tmp_path, line, code, keys) -> None:
    words = words_of(line, archive)
    if words[0] == "check":
        run("seal", str(archive), directory=tmp_path)
    done = run(*words, "--json", directory=tmp_path, **NO_NETWORK)
    assert done.returncode == code, done.stderr
    told = told_by(done)
    assert told["command"] == " ".join(words[: 2 if words[0] == "export" else 1])
    assert keys <= set(told["result"])


@pytest.mark.parametrize(("line", "code", "keys"), COMMAND_LINES)
def test_an_error(archive, tmp_path, line, code, keys) -> None:
    words = ["--symbols", "nonsense"] if line[0] == "plan" else ["nothing-here"]
    words = [*line[: 2 if line[0] == "export" else 1], *words, *line[2:][-2:]]
    done = run(*words, "--json", directory=tmp_path, **NO_NETWORK)
    told = told_by(done)
    assert done.returncode != 0
    assert set(told["error"]) == {"what", "where", "hint"}
    assert told["error"]["what"] in done.stderr


def test_a_mistyped_option(archive, tmp_path) -> None:
    told = told_by(run("verify", str(archive), "--nosuch", "--json", directory=tmp_path))
    assert (told["exit_code"], told["command"]) == (1, "verify")
    assert "nosuch" in told["error"]["what"]


def test_damage_is_a_result_and_no_error(tmp_path) -> None:
    wrong = tmp_path / "wrong.ndjson"
    lines = [line + b"\n" for line in generate(symbols=["BTC/USD"], messages=50, seed=1)]
    wrong.write_bytes(b"".join([*lines[:20], *lines[21:]]))
    told = told_by(run("verify", str(wrong), "--json", directory=tmp_path))
    assert (told["exit_code"], told["result"]["verdict"]) == (2, "damaged")


def test_no_command_with_the_option_is_left_out(tmp_path) -> None:
    tested = {(line.values if hasattr(line, "values") else line)[0][0] for line in COMMAND_LINES}
    tested |= {"audit", "doctor", "keep", "report"}  # with what they need, in tests of their own
    for name in APP.commands:
        if name not in ("export", "conformance"):  # tests/conformance has the latter: it needs a server
            assert ("--json" in run(name, "--help", directory=tmp_path).stdout) == (name in tested), name
