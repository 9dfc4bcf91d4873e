"""The recorded messages beside the books, `trade` and `instrument`, as they become due."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from typing import Optional

import msgspec

from kraken_l3.archive.datafile import Skipped
from kraken_l3.archive.layout import Stream
from kraken_l3.archive.reader import Archive
from kraken_l3.exchange.feed import Message

__all__ = ["OtherStreams", "elements_of", "message_of"]


class _Element(msgspec.Struct):
    symbol: str = ""


class _TradeMessage(msgspec.Struct):
    data: list[_Element] = []


_SNAPSHOT = re.compile(rb'"type"\s*:\s*"snapshot"')
_trade = msgspec.json.Decoder(_TradeMessage)


class OtherStreams:
    """Both streams in the order of their receive times.

    Args:
        archive: what was recorded; a single file has none of them.
        begin_ns: what was received before is passed over.
    """

    def __init__(self, archive: Archive, begin_ns: Optional[int] = None) -> None:
        streams = [Stream.TRADE, Stream.INSTRUMENT] if archive.is_directory else []
        self._lines = heapq.merge(
            *(self._read(archive, stream, begin_ns) for stream in streams), key=lambda each: each[0]
        )
        self._next = next(self._lines, None)

    @staticmethod
    def _read(archive: Archive, stream: Stream, begin_ns: Optional[int]) -> Iterator[tuple[int, Message]]:
        for line in archive.lines(stream, start_ns=begin_ns, skipped=Skipped()):
            if line.receipt is None:
                return  # nothing tells when they came
            yield line.receipt.recv_ns, message_of(stream, line.payload)

    def until(self, recv_ns: int) -> Iterator[Message]:
        """Those received at or before a moment that were not given yet."""
        while self._next is not None and self._next[0] <= recv_ns:
            yield self._next[1]
            self._next = next(self._lines, None)


def message_of(stream: Stream, payload: bytes) -> Message:
    """A recorded line as a message of its channel.

    A recorder asks for the instruments anew with each connection. A client gets one snapshot, the answer to its
    subscription (https://docs.kraken.com/api/docs/websocket-v2/instrument); for it the others are updates.
    """
    if stream is Stream.INSTRUMENT:
        return Message(stream.value, "", 0, _SNAPSHOT.sub(b'"type":"update"', payload, count=1))
    return Message(stream.value, _symbol_of(payload), 0, payload)


def _symbol_of(payload: bytes) -> str:
    try:
        data = _trade.decode(payload).data
    except msgspec.DecodeError:
        return ""
    return data[0].symbol if data else ""


class _Elements(msgspec.Struct):
    data: list[msgspec.Raw] = []


def elements_of(payload: bytes) -> list[str]:
    """The elements of a message's `data`, as they stand in it; none where it cannot be read."""
    try:
        return [bytes(each).decode() for each in msgspec.json.decode(payload, type=_Elements).data]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
