"""Structured logging to stderr: readable on a terminal, otherwise one JSON object per line.

Log lines of other libraries (asyncio, aiohttp) are treated the same. The log is bounded: a value is cut at 2,000
characters, and an event that repeats is written 10 times a minute at most; its next line says how many were left out.
Secrets are replaced by value (`redaction`), and whatever is named like a secret as well.

A thread writes the lines, because nobody who logs may wait for a stopped terminal (Ctrl+S, a dead ssh connection) or
for journald. Lines that do not fit into the queue meanwhile are lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import MutableMapping
from typing import Any, Callable, NamedTuple, Optional

import structlog

from kraken_l3.redaction import SECRETS

__all__ = ["configure_logging", "get_logger", "say"]

LONGEST_VALUE = 2_000
REPEATS = 10
WAITING_LINES = 1_000
FLUSH_S = 1.0
REPEATS_PER_S = 60.0
_SECRET_WORDS = ("token", "secret", "password", "api_key", "apikey", "api-key", "api_sign", "api-sign", "authorization")
_HIDDEN = "[hidden]"
#: sd-daemon(3): journald takes the level from such a prefix, and does not store it.
_JOURNAL_PREFIX = {"critical": "<2>", "error": "<3>", "warning": "<4>", "info": "<6>", "debug": "<7>"}

_EventDict = MutableMapping[str, Any]
_Processor = Callable[[Any, str, _EventDict], _EventDict]


def configure_logging(json: Optional[bool] = None, level: str = "info") -> None:
    """Set up logging for this process; the last call counts.

    Args:
        json: write one JSON object per line (None: unless stderr is a terminal).
        level: the lowest level that is written: debug, info, warning or error.
    """
    as_json = json if json is not None else not sys.stderr.isatty()
    repeats = Repeats(time.monotonic)
    chain: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
        hide_secrets,
        cut_long_values,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            repeats,
            *chain,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[repeats, *chain], processors=_rendering(as_json, _is_journal())
        )
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _StderrHandler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("kraken_l3").setLevel(level.upper())


def say(line: str) -> None:
    """Write a plain line to stderr, after the log lines, by the log's thread: a stopped terminal blocks nobody."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _StderrHandler):
            handler.put(line)


def get_logger(name: str) -> Any:
    """A structured logger; `name` starts with "kraken_l3."."""
    return structlog.get_logger(name)


def _rendering(as_json: bool, journal: bool) -> list[Any]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if not as_json:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=0,
            exception_formatter=structlog.dev.plain_traceback,  # rich's would show local variables: the token, the key
        )
        return [remove_meta, _drop_logger_name, renderer]
    render = structlog.processors.JSONRenderer(ensure_ascii=False)
    rendering = [remove_meta, structlog.processors.format_exc_info, render]
    return [remove_meta, _Journal(rendering[1:])] if journal else rendering


class _StderrHandler(logging.Handler):
    """A thread writes to whatever stderr is at that moment (the live table redirects it). It never fails.

    Python's logging flushes and closes it when the process ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[Optional[str]] = queue.Queue(WAITING_LINES)
        threading.Thread(target=self._write, name="log-writer", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record."""
        with contextlib.suppress(structlog.DropEvent):
            self.put(self.format(record))

    def put(self, line: str) -> None:
        """Queue one line."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(SECRETS.redact(line))

    def flush(self) -> None:
        """Wait for the thread, up to FLUSH_S."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_S)

    def close(self) -> None:
        """End the thread."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # a terminal that is gone, a full disk behind stderr
                sys.stderr.write(line + "\n")
                sys.stderr.flush()
            self._lines.task_done()
        self._lines.task_done()


class _Journal:
    """Puts the level in front of the line, for journald."""

    def __init__(self, rendering: list[Any]) -> None:
        self._rendering = rendering

    def __call__(self, logger: Any, method: str, event: _EventDict) -> str:
        prefix = _JOURNAL_PREFIX.get(str(event.get("level")), "")
        result: Any = event
        for step in self._rendering:
            result = step(logger, method, result)
        return prefix + str(result)


def _is_journal() -> bool:
    """Whether stderr is journald's socket, which systemd names by device and inode."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _drop_logger_name(_logger: Any, _method: str, event: _EventDict) -> _EventDict:
    event.pop("logger", None)
    return event


def hide_secrets(_logger: Any, _method: str, event: _EventDict) -> _EventDict:
    """Replace values whose keys are named like secrets, in nested dictionaries too."""
    for key, value in event.items():
        event[key] = _without_secrets(key, value)
    return event


def _without_secrets(key: Any, value: Any) -> Any:
    if isinstance(key, str) and any(word in key.lower() for word in _SECRET_WORDS):
        return _HIDDEN
    if isinstance(value, dict):
        return {inner: _without_secrets(inner, each) for inner, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_secrets(None, each) for each in value]
    return value


def cut_long_values(_logger: Any, _method: str, event: _EventDict) -> _EventDict:
    """Cut values that are too long for a log."""
    for key, value in event.items():
        text = value if isinstance(value, str) else str(value) if isinstance(value, (bytes, dict, list)) else ""
        if len(text) > LONGEST_VALUE:
            event[key] = f"{text[:LONGEST_VALUE]}... ({len(text)} characters)"
    return event


class _Count(NamedTuple):
    since: float
    written: int
    left_out: int


class Repeats:
    """Drops an event that was written 10 times in the last minute; its next line says how many were dropped.

    Args:
        now: seconds on a clock that never steps back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._counts: dict[str, _Count] = {}

    def __call__(self, _logger: Any, _method: str, event: _EventDict) -> _EventDict:
        now, name = self._now(), str(event.get("event"))[:100]
        count = self._counts.get(name, _Count(now, 0, 0))
        if now - count.since >= REPEATS_PER_S:
            if count.left_out:
                event["left_out"] = count.left_out
            count = _Count(now, 0, 0)
        if count.written >= REPEATS:
            self._counts[name] = count._replace(left_out=count.left_out + 1)
            raise structlog.DropEvent
        self._counts[name] = count._replace(written=count.written + 1)
        return event
