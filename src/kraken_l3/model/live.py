"""What the live verifier tells the recorder, one message a line of JSON, from the child's stdout.

The recorder decodes exactly these types: anything else on the line means that the child is not to be trusted.
"""

from __future__ import annotations

from typing import Optional, Union

import msgspec

from kraken_l3.model.json_text import decode_json

__all__ = ["LiveMessage", "ResyncRequest", "VerifierFinding", "VerifierProgress", "decode_live", "encode_live"]


class ResyncRequest(msgspec.Struct, frozen=True, tag="resync"):
    """Resubscribe a symbol: its book is wrong, or nothing came for too long.

    Attributes:
        symbol: the pair.
        cause: "mismatch" or "silent_symbol", as in the journal.
        left_ns: receive time from which the symbol's data is in doubt, ns since 1970 (0: unknown, from now on).
    """

    symbol: str
    cause: str
    left_ns: int = 0


class VerifierFinding(msgspec.Struct, frozen=True, tag="finding"):
    """One line is wrong. The recorder copies these fields into the journal's `finding` record.

    Attributes:
        symbol: the pair ("": not known).
        what: the kind of fault: "mismatch", "malformed", "crossed", ...
        line: number of the line in the day's level3 file, from 0.
        offset: where the line starts, in bytes.
        detail: more about it, in words.
        expected: Kraken's checksum, where the fault is a mismatch.
        computed: the checksum of the rebuilt book.
    """

    symbol: str
    what: str
    line: int
    offset: int
    detail: str = ""
    expected: Optional[int] = None
    computed: Optional[int] = None


class VerifierProgress(msgspec.Struct, frozen=True, tag="progress"):
    """How far the verifier has read, and its counts since it started; sent once a second while there is news.

    Attributes:
        file: name of the level3 file.
        line: lines of it that were read.
        offset: bytes of it that were read.
        messages: messages applied to a book.
        ok: messages whose checksum agreed.
        mismatched: messages whose checksum did not.
        symbols: pairs seen.
        not_synced: those whose book is not right at the moment.
        received_ns: receive time of the last line that was read (0: not known).
    """

    file: str = ""
    line: int = 0
    offset: int = 0
    messages: int = 0
    ok: int = 0
    mismatched: int = 0
    symbols: int = 0
    not_synced: list[str] = []
    received_ns: int = 0


LiveMessage = Union[ResyncRequest, VerifierFinding, VerifierProgress]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LiveMessage)


def encode_live(message: LiveMessage) -> bytes:
    """One line, without its newline."""
    return _encoder.encode(message)


def decode_live(line: bytes) -> LiveMessage:
    """The inverse of `encode_live`.

    Raises:
        MalformedMessage: the line is none of these messages.
    """
    message: LiveMessage = decode_json(_decoder, line)
    return message
