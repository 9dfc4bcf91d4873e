"""`kraken-l3 demo` as a user types it, and its comparison against archives that are not what was sent."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from kraken_l3.app import demo
from kraken_l3.archive.journal import Disconnected, GapClosed, HandedOver, Stopped
from processes import ROOT, run


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory):
    """One run that is kept: what it printed, and its directory."""
    directory = tmp_path_factory.mktemp("demo")
    # settings of the user's own: a demo that heeded them would talk to their servers
    done = run("demo", "--out", "kept", directory=directory, KRAKEN_L3_WS_URL="wss://not.here", KRAKEN_API_KEY="theirs")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, directory / "kept"


def test_it_shows_the_cut_the_lines_and_the_commands(shown) -> None:
    text, _ = shown
    assert "the connection broke" in text
    assert re.search(rf"{len(demo.SYMBOLS)} symbols go on over connection \d+", text)
    assert "0 are missing: the second connection delivered what the first one lost." in text
    assert '"type":"snapshot"' in text
    for command in ("info", "verify"):
        assert f"$ kraken-l3 {command} {Path('kept') / demo.ARCHIVE}" in text
    for symbol in demo.SYMBOLS:
        assert symbol in text
    assert "verified" in text
    if find_spec("pyarrow") is not None:
        assert f"$ kraken-l3 export snapshots {Path('kept') / demo.ARCHIVE}" in text
        assert "symbol=BTC-USD" in text


def test_the_figures_are_those_of_the_archive(shown) -> None:
    text, directory = shown
    recorded = b"".join(path.read_bytes() for path in sorted((directory / demo.ARCHIVE).glob("l3-*.ndjson")))
    count = recorded.count(b"\n")
    assert count > demo.CUT_AFTER_MESSAGES
    assert f"{count:,} of {count:,} messages are byte for byte what the exchange sent" in text
    assert demo.compare(directory).missing == 0


def test_the_archive_tells_the_same_story(shown) -> None:
    _, directory = shown
    records = demo.journal_of(directory / demo.ARCHIVE)
    assert {record.symbol for record in records if isinstance(record, HandedOver)} == set(demo.SYMBOLS)
    assert not any(isinstance(record, GapClosed) for record in records)
    assert "network" in [record.cause for record in records if isinstance(record, Disconnected)]
    assert any(isinstance(record, Stopped) for record in records)


def test_the_example_of_the_readme_reads_the_archive(shown, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    _, directory = shown
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(directory)
    said: dict = {}
    exec(example, said)
    assert said["archive"].symbols == sorted(demo.SYMBOLS)
    assert said["archive"].snapshots("BTC/USD", every="1s", levels=10).read_all().num_rows > 1


WITHOUT_PANDAS = """
import sys

class NoPandas:
    def find_spec(self, name, *_):
        if name == "pandas":
            raise ImportError(name)

sys.meta_path.insert(0, NoPandas())
from kraken_l3.cli import main
main()
"""


def test_every_change_can_be_exported_without_pandas(shown, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    _, directory = shown
    arguments = ["export", "snapshots", directory / demo.ARCHIVE, "--out", tmp_path, "--every", "change"]
    command = [sys.executable, "-c", WITHOUT_PANDAS, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d\d:\d\d:\d\d\.\d{4}", done.stdout)


def test_the_comparison_finds_one_changed_byte(shown, tmp_path: Path) -> None:
    _, kept = shown
    directory = shutil.copytree(kept, tmp_path / "copy")
    before = demo.compare(directory)
    assert before.identical == before.recorded
    path = next((directory / demo.ARCHIVE).glob("l3-*.ndjson"))
    data = bytearray(path.read_bytes())
    at = data.index(b"checksum", len(data) // 2) + len(b'checksum":')
    data[at] = ord("1") if data[at] != ord("1") else ord("2")
    path.write_bytes(data)
    assert demo.compare(directory) == before._replace(identical=before.identical - 1, missing=before.missing + 1)


def test_the_comparison_counts_what_was_under_way(shown, tmp_path: Path) -> None:
    _, kept = shown
    directory = shutil.copytree(kept, tmp_path / "copy")
    before = demo.compare(directory)
    last = sorted(set((directory / "sent.ndjson.connections").read_text().split()))[-1]
    for name, more in (("sent.ndjson", b'{"channel":"level3"}\n'), ("sent.ndjson.connections", last.encode() + b"\n")):
        with (directory / name).open("ab") as file:
            file.write(more)
    assert demo.compare(directory) == before._replace(under_way=before.under_way + 1)


def test_its_last_lines_are_commands_that_work(shown) -> None:
    text, directory = shown
    look, page, real = (shlex.split(line.split(":", 1)[1]) for line in text.splitlines()[-3:])
    assert run(*look[1:], directory=directory.parent).returncode == 0
    assert real[1:] == ["init"]
    assert page[-1] == "--open"
    command = [sys.executable, "-m", "kraken_l3", *page[1:-1], "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=directory.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.terminate()


def test_the_next_demo_takes_the_place_of_the_last_and_of_nothing_else(tmp_path: Path) -> None:
    mine = tmp_path / "demo" / "mine"
    mine.parent.mkdir()
    mine.touch()
    done = run("demo", directory=tmp_path)
    assert (done.returncode, "not empty" in done.stderr, mine.exists()) == (1, True, True)
    (mine.parent / ".kraken-l3-demo").touch()  # one that was made by a demo
    done = run("demo", "--redundancy", "1", directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (gap,) = re.findall(rf"{len(demo.SYMBOLS)} symbols recording again after a gap of ([\d.]+) s", done.stdout)
    assert 0 < float(gap) < demo.RECORD_S
    (missing,) = re.findall(r"About ([\d,]+) are missing: the gap of", done.stdout)
    assert int(missing) == pytest.approx(float(gap) * demo.MESSAGES_PER_S, abs=10)
    assert not mine.exists()
    assert (mine.parent / demo.ARCHIVE).is_dir()


@pytest.mark.parametrize("command", ["simulate", "record"])
def test_a_process_that_does_not_start_says_why(tmp_path: Path, command: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(
        f"import sys\nif {command!r} in sys.orig_argv:\n    sys.exit('no ' + 'chance')\n"
    )
    with pytest.raises(demo.DemoFailed, match="no chance") as caught:
        demo.record_with_a_cut(tmp_path, lambda _: None, PYTHONPATH=str(tmp_path / "broken"))
    assert caught.value.where == f"kraken-l3 {command}"
