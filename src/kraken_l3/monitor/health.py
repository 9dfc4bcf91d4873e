"""Whether a recording is sound at a moment: every symbol acknowledged, fresh and verified. Pure functions.

A symbol counts as
- acknowledged while its subscription stands and its snapshot is there,
- fresh while its connection brings frames (Kraken sends a heartbeat a second) and it has no open gap. A symbol that is
  silent for much longer than usual has one: the verifier asks for it to be subscribed again (`silent_symbol`).
- verified while its book agrees with Kraken's checksum, and the verifier keeps up.

A relay that is configured has to run, and to keep up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

import msgspec

from kraken_l3.model.timestamps import NS_PER_S, format_rfc3339
from kraken_l3.monitor.status import RecorderStatus, RelayStatus, SymbolStatus, VerifierStatus

__all__ = ["Health", "Problem", "health_of"]

#: A recorder that has said nothing for longer is stuck or dead: it tells its status once a second.
STALE_S = 5.0
#: As the recorder itself: it replaces a connection that is silent for 10 s, by default.
SILENT_S = 15.0
#: A verifier or relay that reads on is known to be a second behind. After a restart it reads from the last checkpoints.
BEHIND_S = 30.0


class Problem(msgspec.Struct, frozen=True):
    """One thing that is not as it should be.

    Attributes:
        what: "recorder", "acknowledged", "fresh", "verified", "relay", "disk".
        why: a sentence.
        symbol: which pair ("": the whole recording).
    """

    what: str
    why: str
    symbol: str = ""


class Health(msgspec.Struct, frozen=True):
    """The answer, and all reasons why it is not yes.

    Attributes:
        healthy: whether there are none.
        symbols: how many are recorded.
        problems: those of the recorder first.
    """

    healthy: bool
    symbols: int
    problems: list[Problem]


def health_of(status: Optional[RecorderStatus], *, age_s: float) -> Health:
    """The health of a recording.

    Args:
        status: the last status of its recorder (None: it has told none yet).
        age_s: seconds since it was told.
    """
    if status is None:
        return Health(False, 0, [Problem("recorder", "the recorder has not told its status yet")])
    problems = [*_of_recorder(status, age_s), *_of_symbols(status)]
    return Health(not problems, len(status.rows), problems)


def _of_recorder(status: RecorderStatus, age_s: float) -> Iterator[Problem]:
    if status.stopped:
        yield Problem("recorder", "the recorder was stopped")
    elif age_s > STALE_S:
        yield Problem("recorder", f"the recorder has told nothing for {age_s:.0f} s")
    if not status.rows:
        yield Problem("recorder", "the recorder waits for Kraken's list of pairs")
    if status.disk.mark == "scarce":
        yield Problem("disk", "the disk is nearly full: only recording goes on, until there is room")
    if status.disk.is_full:
        yield Problem("disk", "the disk is full: free some space, and recording goes on by itself")
    elif status.paused:
        yield Problem("disk", "reading is paused: the disk cannot keep up")
    if any(row.messages for row in status.rows):  # else there is nothing to verify or to pass on
        yield from _of_verifier(status.verifier)
        yield from _of_relay(status.relay)


def _of_verifier(verifier: Optional[VerifierStatus]) -> Iterator[Problem]:
    if verifier is None:
        return
    if verifier.lag_s is None:
        yield Problem("verified", "the verifier has not told anything yet")
    elif verifier.lag_s > BEHIND_S:
        yield Problem("verified", f"the verifier is {verifier.lag_s:.0f} s behind")


def _of_relay(relay: Optional[RelayStatus]) -> Iterator[Problem]:
    if relay is None:
        return
    if not relay.url:
        again = "; it was started again, and the log says why" if relay.restarts else " yet"
        yield Problem("relay", f"the relay does not serve{again}")
    elif relay.lag_s is not None and relay.lag_s > BEHIND_S:
        yield Problem("relay", f"the relay is {relay.lag_s:.0f} s behind")


def _of_symbols(status: RecorderStatus) -> Iterator[Problem]:
    last_frame_ns = {each.number: each.last_frame_ns for each in status.connections}
    not_synced = frozenset(status.verifier.not_synced if status.verifier is not None else ())
    for row in status.rows:
        problem = _of_symbol(row, last_frame_ns.get(row.connection, 0), status.now_ns)
        if problem is None and row.symbol in not_synced:
            problem = Problem("verified", "its book does not agree with Kraken's checksum", row.symbol)
        if problem is not None:
            yield problem


def _of_symbol(row: SymbolStatus, last_frame_ns: int, now_ns: int) -> Optional[Problem]:
    """The first thing that is wrong with a symbol: the rest follows from it."""
    if row.state != "recording" or row.last_snapshot_ns is None:
        why = f"it is {row.state}" if row.state != "recording" else "its snapshot is not written yet"
        cause = f", since {format_rfc3339(row.gap_since_ns)[:19]}Z ({row.gap_cause})" if row.gap_cause else ""
        return Problem("acknowledged", why + cause, row.symbol)
    if row.gap_cause:
        since = format_rfc3339(row.gap_since_ns)[:19]
        return Problem("fresh", f"it has a gap since {since}Z ({row.gap_cause})", row.symbol)
    silent_s = (now_ns - last_frame_ns) / NS_PER_S
    if silent_s > SILENT_S:
        return Problem("fresh", f"connection {row.connection} has been silent for {silent_s:.0f} s", row.symbol)
    return None
