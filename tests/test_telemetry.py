"""Logging as it is read: by a person at a terminal, by programs, by journald."""

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import time

import pytest
import structlog

from kraken_l3 import telemetry
from kraken_l3.telemetry import LONGEST_VALUE, REPEATS, Repeats, configure_logging, get_logger


def flush():
    for handler in logging.getLogger().handlers:
        handler.flush()


class Stderr:
    def __init__(self, capsys):
        self._capsys = capsys
        self._text = ""

    def getvalue(self):
        flush()
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def stderr(capsys):
    yield Stderr(capsys)
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, telemetry._StderrHandler)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.WARNING)
    logging.getLogger("kraken_l3").setLevel(logging.NOTSET)


def lines(stderr):
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


def test_one_json_object_a_line_when_nobody_looks(stderr):
    configure_logging()
    get_logger("kraken_l3.some").warning("it\nhappened", symbol="BTC/USD", count=3)
    (line,) = lines(stderr)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "it\nhappened",
        "level": "warning",
        "logger": "kraken_l3.some",
        "symbol": "BTC/USD",
        "count": 3,
    }


def test_readable_for_people(stderr):
    configure_logging(json=False)
    get_logger("kraken_l3.some").info("recording", symbols=2)
    text = stderr.getvalue()
    assert "recording" in text
    assert "symbols=2" in text
    assert "{" not in text


def test_levels(stderr):
    configure_logging(level="warning")
    get_logger("kraken_l3.some").info("not this")
    get_logger("kraken_l3.some").error("this")
    assert [line["event"] for line in lines(stderr)] == ["this"]


def test_configured_twice_writes_once(stderr):
    configure_logging()
    configure_logging()
    get_logger("kraken_l3.some").info("once")
    assert len(lines(stderr)) == 1


def test_other_libraries_take_the_same_way(stderr):
    configure_logging()
    logging.getLogger("asyncio").warning("socket.send() raised %s", "exception")
    logging.getLogger("asyncio").info("chatter")
    (line,) = lines(stderr)
    assert (line["event"], line["logger"], line["level"]) == ("socket.send() raised exception", "asyncio", "warning")


def test_an_exception_is_one_line(stderr):
    configure_logging()
    try:
        int("odd")
    except ValueError:
        get_logger("kraken_l3.some").exception("it broke")
    (line,) = lines(stderr)
    assert "ValueError: invalid literal" in line["exception"]


@pytest.mark.parametrize("json_wanted", [True, False])
def test_secrets_are_hidden_wherever_they_hide(stderr, json_wanted):
    configure_logging(json=json_wanted)
    get_logger("kraken_l3.some").info(
        "asked",
        token="S3CRET1",
        api_secret="S3CRET2",
        headers={"API-Key": "S3CRET3", "API-Sign": "S3CRET4", "deep": [{"Authorization": "S3CRET5"}]},
        symbol="BTC/USD",
    )
    assert "S3CRET" not in stderr.getvalue()
    assert "BTC/USD" in stderr.getvalue()


@pytest.mark.parametrize("json_wanted", [True, False])
def test_a_traceback_does_not_show_the_values_of_variables(stderr, json_wanted):
    configure_logging(json=json_wanted)
    secret = "S3CRET"[::-1]
    try:
        int("odd" + secret[:0])
    except ValueError:
        get_logger("kraken_l3.some").exception("it broke")
    text = stderr.getvalue()
    assert "invalid literal" in text
    assert "TERC3S" not in text


@pytest.mark.parametrize("value", ["x" * 50_000, b"x" * 50_000, {"frame": "x" * 50_000}, ["x" * 50_000]])
def test_long_values_are_cut(stderr, value):
    configure_logging()
    get_logger("kraken_l3.some").warning("long", value=value)
    assert len(stderr.getvalue()) < LONGEST_VALUE + 300
    assert lines(stderr)[0]["value"].endswith("characters)")


def test_a_flood_of_one_event_is_counted_and_others_get_through():
    now = [0.0]
    repeats = Repeats(lambda: now[0])

    def written(event):
        try:
            return repeats(None, "warning", {"event": event})
        except structlog.DropEvent:
            return None

    assert sum(written("malformed message") is not None for _ in range(1000)) == REPEATS
    assert written("the disk is full") == {"event": "the disk is full"}
    now[0] = 61.0
    assert written("malformed message") == {"event": "malformed message", "left_out": 1000 - REPEATS}
    assert written("malformed message") == {"event": "malformed message"}


def test_a_stderr_that_is_gone_does_not_stop_the_program(stderr, monkeypatch):
    configure_logging()
    gone = io.StringIO()
    gone.close()
    monkeypatch.setattr(sys, "stderr", gone)
    get_logger("kraken_l3.some").error("nobody hears this")
    flush()


def test_a_stderr_that_takes_nothing_does_not_hold_up_who_logs(stderr, monkeypatch):
    read, write = os.pipe()
    full = os.fdopen(write, "w")
    monkeypatch.setattr(sys, "stderr", full)
    configure_logging()
    began = time.monotonic()
    for number in range(5_000):  # far more than a pipe and the queue hold
        get_logger("kraken_l3.some").error(f"event {number}", text="x" * 100)
    assert time.monotonic() - began < 20
    os.close(read)  # now its thread fails, and goes on
    monkeypatch.undo()
    flush()
    with contextlib.suppress(OSError):
        full.close()


def test_journald_learns_the_level(tmp_path):
    """journald names its socket by device and inode; a file stands in for it."""
    path = tmp_path / "journal"
    program = (
        "from kraken_l3.telemetry import *\nconfigure_logging()\n"
        "log = get_logger('kraken_l3.x')\nlog.info('well')\nlog.error('ill')"
    )
    with path.open("wb") as file:
        status = os.fstat(file.fileno())
        env = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        subprocess.run([sys.executable, "-c", program], env=env, stderr=file, check=True, timeout=60)
    well, ill = path.read_text().splitlines()
    assert (well[:3], json.loads(well[3:])["event"]) == ("<6>", "well")
    assert (ill[:3], json.loads(ill[3:])["event"]) == ("<3>", "ill")
