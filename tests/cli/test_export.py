"""`kraken-l3 export` as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numpy", reason="needs the extra 'research'")
pytest.importorskip("pyarrow", reason="needs the extra 'research'")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "export"))

from archives import record


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "kraken_l3", "export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return record(tmp_path_factory.mktemp("cli") / "a", messages=1_500, gap=True)


def test_snapshots_end_with_rows_and_paths(source, tmp_path):
    done = run("snapshots", source, "--out", tmp_path, "--every", "1s")
    assert done.returncode == 0, done.stderr
    assert "snapshots/symbol=BTC-USD/date=2026-11-22/part-0.parquet" in done.stdout
    assert "bid_prices" in done.stdout
    assert "1,500 messages: 1,500 verified" in done.stdout
    assert not done.stderr


def test_events_as_json(source, tmp_path):
    done = run("events", source, "--out", tmp_path, "--symbols", "ETH/USD", "--json")
    report = json.loads(done.stdout)["result"]
    assert [file["symbol"] for file in report["files"]] == ["ETH/USD"]
    assert (tmp_path / report["files"][0]["name"]).stat().st_size == report["files"][0]["bytes"]
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["snapshots", "SOURCE", "--out", "OUT", "--every", "soon"], "must be a time span"),
        (["snapshots", "SOURCE", "--out", "OUT", "--every", "0s"], "must be a time span"),
        (["snapshots", "SOURCE", "--out", "OUT", "--levels", "0"], "levels"),
        (["events", "nothing-here", "--out", "OUT"], "no such file"),
        (
            ["events", "SOURCE", "--out", "OUT", "--symbols", "BTCUSD"],
            "Did you mean BTC/USD? The archive has BTC/USD, ETH",
        ),
        (["tardis", "SOURCE", "--out", "OUT", "--symbols", "X"], "The archive has BTC/USD, ETH/USD"),
        (["events", "SOURCE", "--out", "/proc/foo"], "cannot write there"),
        (["lobster", "SOURCE", "--out", "/proc/foo"], "cannot write there"),
        (["events", "SOURCE", "--out", "OUT", "--symbols", ","], "no symbol given"),
        (["hftbacktest", "SOURCE", "--out", "OUT", "--resync", "maybe"], "diff or clear"),
        (["nautilus", "SOURCE", "--out", "s3://bucket"], "local directory"),
        (["events", "SOURCE"], "--out"),
    ],
)
def test_what_cannot_work_is_said_and_exits_with_1(source, tmp_path, arguments, says):
    places = {"SOURCE": source, "OUT": tmp_path}
    done = run(*(places.get(argument, argument) for argument in arguments))
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_damage_exits_with_2(source, tmp_path):
    data = next(source.glob("l3-*.ndjson")).read_bytes().splitlines(keepends=True)
    data[700] = data[700].replace(b'"checksum":', b'"checksum":1')
    damaged = tmp_path / "damaged.ndjson"
    damaged.write_bytes(b"".join(data))
    done = run("events", damaged, "--out", tmp_path / "o")
    assert done.returncode == 2
    assert "1 bad" in done.stdout or "bad" in done.stdout


def test_nothing_verifiable_exits_with_3(source, tmp_path):
    lines = next(source.glob("l3-*.ndjson")).read_bytes().splitlines(keepends=True)
    updates = tmp_path / "updates.ndjson"
    updates.write_bytes(b"".join(line for line in lines if b'"update"' in line))
    assert run("events", updates, "--out", tmp_path / "o").returncode == 3


@pytest.mark.parametrize("tool", ["tardis", "lobster", "hftbacktest"])
def test_other_tools_list_their_files(source, tmp_path, tool):
    done = run(tool, source, "--out", tmp_path, "--symbols", "BTC/USD")
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert names
    assert all(Path(name).stat().st_size for name in names)


@pytest.mark.parametrize("command", ["snapshots", "events", "tardis", "lobster", "hftbacktest", "nautilus"])
def test_help(command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert "--out" in done.stdout


def _allow_small_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
@pytest.mark.parametrize("command", ["snapshots", "events", "tardis", "lobster", "hftbacktest"])
def test_a_disk_that_takes_no_more_is_a_clear_error_and_leaves_nothing_half_done(source, tmp_path, command):
    words = [sys.executable, "-m", "kraken_l3", "export", command, str(source), "--out", str(tmp_path)]
    words += ["--levels", "100"] if command in ("snapshots", "lobster") else []
    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=_allow_small_files)
    assert done.returncode == 5
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.name.startswith(".")] == []


def test_an_empty_directory_is_no_empty_export(tmp_path):
    (tmp_path / "empty").mkdir()
    for command in ("events", "lobster"):
        done = run(command, tmp_path / "empty", "--out", tmp_path / "o")
        assert done.returncode == 1
        assert "no level3 data here" in done.stderr
        assert not (tmp_path / "o").exists()
