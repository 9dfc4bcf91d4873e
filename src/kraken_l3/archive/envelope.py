"""Level3 messages as other recorders wrap them, one a line:

    1771632000.123456 {"channel":"level3",...}            a time, or anything short, before the message or behind it
    1771632000,"{""channel"":""level3"",...}"             the same as CSV
    {"ts":1771632000123,"msg":{"channel":"level3",...}}   an object around it, whatever its keys
    {"rx_ns":1771632000123456789,"frame":"{\\"channel\\":\\"level3\\",...}"}   the message as a string
    [{"channel":"level3",...}]                            an array around it, on one line or over many

`unwrap_lines` gives the same lines with the message alone, each as long as it was, so that numbers of lines and offsets
stay those of the file. What time an envelope tells is not read: its unit is nobody's word.

Several messages on a line cannot be given so, nor can a message whose `data` is an object, unless the line has two
bytes to spare for the brackets. They are left out, and counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Optional, Union

import msgspec

from kraken_l3.errors import MalformedMessage
from kraken_l3.model.json_text import decode_json

__all__ = ["LEFT_OUT", "count_wrapped", "holds_level3", "is_wrapped", "unwrap_lines"]

#: What stands for a line that is left out: an object that is no message.
LEFT_OUT = b"{}"

#: How nearly all messages begin, compact or with blanks: these are known without decoding them.
_PLAIN = tuple(
    text.replace(b"KIND", kind)
    for text in (b'{"channel":"level3","type":"KIND","data":[', b'{"channel": "level3", "type": "KIND", "data": [')
    for kind in (b"update", b"snapshot")
)
#: A quote: as it is, in a string, in a field of CSV.
_Q = rb'(?:\\?"|"")'
_CHANNEL = _Q + b"channel" + _Q + rb"\s*:\s*" + _Q + b"level3" + _Q
_BOOK = _Q + b"(?:bids|asks|checksum)" + _Q + rb"\s*:"
#: A time, a level of a log, a name: longer is no envelope.
_MOST_BESIDE = 100
#: Envelopes within envelopes.
_DEEPEST = 3
_AROUND = b" \t\r,[]"

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])


def holds_level3(text: bytes) -> bool:
    """Whether there is a level3 snapshot or update somewhere in a line, in whatever form."""
    return b"level3" in text and re.search(_CHANNEL, text) is not None and re.search(_BOOK, text) is not None


def is_wrapped(lines: Sequence[bytes]) -> bool:
    """Whether a file that begins so has its messages in envelopes."""
    return any(_unwrap(line) is not line for line in lines)


def unwrap_lines(data: bytes) -> tuple[bytes, int]:
    """Lines with their messages alone, every line as long as before; how many with level3 messages were left out."""
    lines = data.split(b"\n")
    left_out = 0
    for number, line in enumerate(lines):
        message = _unwrap(line)
        if message is line:
            continue
        if message is None:
            left_out += 1
            message = LEFT_OUT
        lines[number] = message.replace(b"\n", b" ").ljust(len(line))
    return b"\n".join(lines), left_out


def count_wrapped(data: bytes) -> int:
    """Lines that hold level3 messages, and that an engine takes for something else: valid JSON, but no message."""
    if data.count(b"level3") == sum(data.count(b"\n" + each) for each in _PLAIN) + data.startswith(_PLAIN):
        return 0  # the usual case, in a hundredth of the time
    others = [line for line in data.split(b"\n") if not line.startswith(_PLAIN)]
    return sum(holds_level3(line) and _unwrap(line) is not line for line in others)


def _unwrap(line: bytes) -> Optional[bytes]:
    """The message of a line; the line itself when it is a message, or nothing of ours; None: messages that no reader
    can be given.
    """
    if not line or (line.startswith(_PLAIN) and line.endswith((b"}", b"}\r"))):
        return line
    begin = line.find(b"{", 0, _MOST_BESIDE)
    if begin > 0 and line.startswith(_PLAIN, begin) and line.endswith(b"}"):
        return line[begin:] if line[:begin].strip() else line
    if line.strip() in (b"[", b"]", b","):  # of an array over many lines
        return b""
    text = line.strip(_AROUND)
    if not text:
        return line
    try:
        found = _message_in(text, 0)
    except MalformedMessage:
        return None if line.lstrip()[:1] == b"[" and holds_level3(line) and _is_array(line) else line
    if found is None:
        return None if holds_level3(line) else line
    if found is text:
        return line if len(text) == len(line.strip()) else text
    return found if len(found) <= len(line) else None


def _message_in(text: bytes, depth: int) -> Optional[bytes]:
    """The one message in a JSON object, or in one beside something short; None when there are none or several.

    Raises:
        MalformedMessage: there is no JSON object.
    """
    begin, end = text.find(b"{", 0, _MOST_BESIDE), text.rfind(b"}") + 1
    if begin > 0 or (len(text) > end > 0 and text[end : end + 1] in b" \t,;|"):
        text = text[max(begin, 0) : end if len(text) - end <= _MOST_BESIDE else len(text)]
    if text[:3] == b'{""' and text[3:4].isalnum():  # quotes within a field of CSV are doubled
        text = text.replace(b'""', b'"')
    fields = decode_json(_fields, text)
    data = bytes(fields.get("data", b"")).strip()
    if bytes(fields.get("channel", b"")) == b'"level3"' and data[:1] in (b"[", b"{"):
        return text if data[:1] == b"[" else _with_list(fields, data)
    if not holds_level3(text):
        return None if depth else text
    inner = [found for raw in fields.values() for found in _within(raw, depth + 1)]
    return inner[0] if len(inner) == 1 else None


def _within(raw: Union[bytes, msgspec.Raw], depth: int) -> list[bytes]:
    text = bytes(raw)
    if text[:1] == b'"':
        text = msgspec.json.decode(text, type=str).encode("utf-8", "surrogatepass")
    text = text.strip(_AROUND)
    if text[:1] != b"{" or depth > _DEEPEST:
        return []
    try:
        found = _message_in(text, depth)
    except MalformedMessage:
        return []
    return [] if found is None else [found]


def _with_list(fields: dict[str, msgspec.Raw], data: bytes) -> bytes:
    """A message with its `data` in a list, as Kraken sends it, and without the blanks that would make it longer."""
    fields["data"] = msgspec.Raw(b"[%s]" % data)
    return msgspec.json.format(msgspec.json.encode(fields), indent=-1)


def _is_array(line: bytes) -> bool:
    try:
        decode_json(_elements, line)
    except MalformedMessage:
        return False
    return True
