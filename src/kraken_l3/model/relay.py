"""What the relay tells the recorder that runs it, one JSON object a line, from the child's stdout."""

from __future__ import annotations

import msgspec

from kraken_l3.model.json_text import decode_json

__all__ = ["RelayProgress", "decode_relay", "encode_relay"]


class RelayProgress(msgspec.Struct, frozen=True):
    """How far the relay is; told once a second, also where nothing is new.

    Attributes:
        url: where programs reach it ("": it does not listen yet).
        clients: connections of programs.
        received_ns: receive time of the newest line that it has passed on (0: none yet).
    """

    url: str = ""
    clients: int = 0
    received_ns: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RelayProgress)


def encode_relay(progress: RelayProgress) -> bytes:
    """One line, without its newline."""
    return _encoder.encode(progress)


def decode_relay(line: bytes) -> RelayProgress:
    """The inverse of `encode_relay`.

    Raises:
        MalformedMessage: the line is no such object.
    """
    progress: RelayProgress = decode_json(_decoder, line)
    return progress
