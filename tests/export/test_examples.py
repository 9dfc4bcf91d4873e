"""The examples in examples/ run, print what they promise, and draw a picture."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from archives import record

pytest.importorskip("matplotlib", reason="needs the extra 'research'")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return record(tmp_path_factory.mktemp("examples") / "a", messages=8_000, gap=True)


def run(name: str, *arguments: object) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_arrival_rates_are_not_fooled_by_reentries(source, tmp_path):
    said = run("arrival_rates.py", source, "--picture", tmp_path / "p.png")
    adds, news = (float(re.search(rf"{name} +([\d.]+)", said)[1]) for name in ("adds on the wire", r"arrivals \(new\)"))
    assert adds > 1.2 * news > 0
    assert is_picture(tmp_path / "p.png")


def test_queue_position(source, tmp_path):
    said = run("queue_position.py", source, "--picture", tmp_path / "p.png")
    assert len(re.findall(r"place \S+ +[\d,]+ orders", said)) == 4
    assert is_picture(tmp_path / "p.png")


def test_depth_over_time(source, tmp_path):
    said = run("depth.py", source, "--picture", tmp_path / "p.png")
    assert re.search(r"of which (9|10) over gaps", said)
    assert is_picture(tmp_path / "p.png")
