"""What a check found, and how every check is given an end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import Callable, NamedTuple, Optional, TypeVar, cast

from kraken_l3.errors import KrakenL3Error, LocalFault

__all__ = ["Finding", "bad", "bounded", "exit_code_of", "failed", "good", "in_thread", "skipped", "warning"]

Value = TypeVar("Value")


class Finding(NamedTuple):
    """One line of the report.

    Attributes:
        check: what was looked at.
        state: "ok", "warning", "bad" or "skipped".
        what: what was found.
        remedy: what to do about it; empty if it is well.
        exit_code: of a bad one, by the tree of errors; else 0.
    """

    check: str
    state: str
    what: str
    remedy: str = ""
    exit_code: int = 0


def good(check: str, what: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", what)


def skipped(check: str, what: str) -> Finding:
    """It could not be looked at, or need not be."""
    return Finding(check, "skipped", what)


def warning(check: str, what: str, remedy: str) -> Finding:
    """The recorder works, but not as well as it could, or not for long."""
    return Finding(check, "warning", what, remedy)


def bad(check: str, what: str, remedy: str, exit_code: int = LocalFault.exit_code) -> Finding:
    """The recorder, or something that it is configured to do, would not work."""
    return Finding(check, "bad", what, remedy, exit_code)


def failed(check: str, error: KrakenL3Error) -> Finding:
    """What an error says."""
    return bad(check, f"{error.where}: {error.what}" if error.where else error.what, error.hint, error.exit_code)


def exit_code_of(findings: list[Finding]) -> int:
    """0 unless something is bad; of several codes the smallest, since a configuration has to be right first."""
    return min((finding.exit_code for finding in findings if finding.state == "bad"), default=0)


async def bounded(check: str, work: Awaitable[list[Finding]], limit_s: float) -> list[Finding]:
    """What the work finds, or that it took too long."""
    try:
        return await asyncio.wait_for(work, limit_s)
    except asyncio.TimeoutError:
        return [
            bad(check, f"no answer within {limit_s:g} s", "It hangs: look at the network, the disk, and what is busy")
        ]
    except KrakenL3Error as error:
        return [failed(check, error)]


async def in_thread(work: Callable[[], Value]) -> Value:
    """The result of a call that may block for ever, as on a dead network disk.

    The threads of `asyncio.to_thread` are waited for when the program ends; this one is left behind.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Value] = loop.create_future()

    def settle(value: Optional[Value], error: Optional[BaseException]) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("Value", value))

    def run() -> None:
        value, failure = None, None
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001 - handed on to whoever waits
            failure = error
        if not loop.is_closed():  # else nobody waits any more
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=run, daemon=True).start()
    return await done
