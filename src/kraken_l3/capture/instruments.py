"""The instrument list: changes of the recorded pairs are journalled.

Source: https://docs.kraken.com/api/docs/websocket-v2/instrument
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Callable, Optional

import structlog

from kraken_l3.archive.journal import Instruments, Record
from kraken_l3.capture.transport import connect
from kraken_l3.clock import Clock
from kraken_l3.errors import KrakenL3Error, MalformedMessage
from kraken_l3.model.instruments import Instrument
from kraken_l3.protocol.decoding import decode_instruments
from kraken_l3.protocol.frames import Data, classify
from kraken_l3.protocol.requests import subscribe

__all__ = ["InstrumentWatch", "fetch_instruments"]

FETCH_S = 20.0

log = structlog.get_logger("kraken_l3.capture.instruments")


class InstrumentWatch:
    """Follows the `instrument` channel, for the symbols that are recorded.

    Args:
        symbols: the recorded ones.
        known: what the journal already says of them.
        journal: called with each journal record.
        clock: timestamps the records.
        listed: called with each list; returns the pairs in it that are to be recorded from now on.
    """

    def __init__(
        self,
        symbols: Iterable[str],
        known: dict[str, Instrument],
        journal: Callable[[Record], None],
        clock: Clock,
        *,
        listed: Callable[[list[Instrument]], Iterable[str]],
    ) -> None:
        self._symbols = set(symbols)
        self._known = dict(known)
        self._listed = listed
        self._journal = journal
        self._clock = clock

    def observe(self, payload: bytes, connection: int) -> None:
        """A message of the channel arrived (it is already queued for the archive)."""
        try:
            instruments = decode_instruments(payload, _log_refused)
        except MalformedMessage as error:
            log.warning("unreadable instrument message", connection=connection, error=str(error))
            return
        self._symbols.update(self._listed(instruments))
        changed = [i for i in instruments if i.symbol in self._symbols and self._known.get(i.symbol) != i]
        if not changed:
            return
        self._known.update((i.symbol, i) for i in changed)
        at_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        self._journal(Instruments(at_ns=at_ns, mono_ns=mono_ns, instruments=changed))


def _log_refused(pair: Instrument) -> None:
    log.warning(
        "impossible precision, the pair is ignored",
        symbol=pair.symbol[:50],
        price_precision=str(pair.price_precision)[:20],
        qty_precision=str(pair.qty_precision)[:20],
    )


class _FirstSnapshot:
    """Waits for the instrument snapshot on a connection of its own; implements `transport.Receiver`."""

    def __init__(self) -> None:
        self.arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def on_opened(self, extensions: str) -> None:
        """`fetch_instruments` subscribes once `connect` has returned."""

    def on_message(self, payload: bytes, recv_ns: int, mono_ns: int) -> None:
        message = classify(payload)
        is_snapshot = isinstance(message, Data) and message.channel == "instrument" and message.kind == "snapshot"
        if is_snapshot and not self.arrived.done():
            self.arrived.set_result(payload)

    def on_sign_of_life(self, recv_ns: int, mono_ns: int) -> None:
        """Only messages count here."""

    def on_violation(self, payload: bytes, what: str) -> None:
        self._fail(what)

    def on_closed(self, code: Optional[int], reason: str) -> None:
        self._fail(f"the connection was closed before the list arrived (code {code})")

    def _fail(self, what: str) -> None:
        if not self.arrived.done():
            self.arrived.set_exception(KrakenL3Error(what, where="instrument list"))


async def fetch_instruments(public_ws_url: str, clock: Clock) -> list[Instrument]:
    """Fetch the list of instruments once.

    Raises:
        KrakenL3Error: there was none.
    """
    receiver = _FirstSnapshot()
    socket = await connect(public_ws_url, receiver, clock)
    try:
        socket.send(subscribe("instrument", None, req_id=1))
        return decode_instruments(await asyncio.wait_for(receiver.arrived, FETCH_S))
    except asyncio.TimeoutError as error:
        raise KrakenL3Error(f"no instrument list within {FETCH_S:.0f} s", where=public_ws_url) from error
    except MalformedMessage as error:
        raise KrakenL3Error(f"the instrument list cannot be read: {error}", where=public_ws_url) from error
    finally:
        receiver.arrived.cancel()
        socket.close()
