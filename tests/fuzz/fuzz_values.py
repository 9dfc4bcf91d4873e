"""Values that nobody expects, lines of JSON with one of them in it, and bytes as disks and cables leave them."""

from __future__ import annotations

import random
import re

__all__ = ["OUTSIDE", "changed_bytes", "changed_json"]

#: A place that no command may make; beside the archive there is a directory of the same name with files in it.
OUTSIDE = "kraken-l3-fuzz-outside"

NUMBERS = [
    *(b"-1", b"0", b"1", b"11", b"0.5", b"-0.0", b"1e999", b"1e30", b"1e-30", b"NaN", b"00", b"9" * 400),
    *(str(sign * 2**power + by).encode() for power in (31, 32, 53, 62, 63, 64) for sign in (1, -1) for by in (-1, 0)),
    *(str(seconds * 10**9).encode() for seconds in (-(10**9), 253_402_300_800, 9_223_372_036)),
]
TEXTS = [
    *(
        b"",
        b"\\ud800",
        b"\\udfff\\ud800",
        b"\\u0000",
        b"\xff",
        b"\xc3",
        b"[/red]",
        b"[bold]",
        b"\\u001b[2J\\u001b]0;x\\u0007",
    ),
    *(
        b"../" + OUTSIDE.encode() + b"/new",
        b"/tmp/" + OUTSIDE.encode(),
        b"..",
        b".",
        b"a/b",
        b"a\\\\b",
        b"%2e%2e",
        b"CON",
    ),
    *(b"btc/usd", b"BTC\\/USD", b"BTC/USD ", b"BTC-USD", b"BTC/USD\\u202e", b"A" * 300, b"A" * 100_000, b"*", b"ALL"),
    *(b"9999-12-31", b"0001-01-01", b"2024-02-30", b"2024-11-23", b"10000-01-01", b"l3-2024-11-22.ndjson"),
    *(b"9999-12-31T23:59:59.999999999Z", b"0001-01-01T00:00:00Z", b"1969-12-31T23:59:59Z", b"2262-04-11T23:47:16.9Z"),
    *(b"gap_opened", b"rotated", b"sync", b"stop", b"start", b"level3", b"trade", b"snapshot", b"update", b"delete"),
]
OTHERS = [
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"[[]]",
    b'{"a":1}',
    *(b"[" * n + b"]" * n for n in (100, 129, 1_000, 200_000)),
]
VALUES = [*NUMBERS, *(b'"' + text + b'"' for text in TEXTS), *OTHERS]
_VALUE = re.compile(rb'(?<=[:\[,])(?:"(?:[^"\\]|\\.)*"(?!:)|-?[0-9][0-9.eE+-]*|true|false|null)')
_KEY = re.compile(rb'(?<=[{,])"(?:[^"\\]|\\.)*":')


def changed_json(line: bytes, rng: random.Random) -> bytes:
    """A line of JSON with one value or key changed."""
    what = rng.randrange(8)
    values, keys = list(_VALUE.finditer(line)), list(_KEY.finditer(line))
    if not values or not keys:
        return rng.choice(VALUES)
    value, key = rng.choice(values), rng.choice(keys)
    if what < 4:
        return line[: value.start()] + rng.choice(VALUES) + line[value.end() :]
    if what == 4:  # a number becomes another one: most of what is written is numbers
        numbers = [each for each in values if each[0][0] not in b'"tfn'] or values
        value = rng.choice(numbers)
        return line[: value.start()] + rng.choice(NUMBERS) + line[value.end() :]
    if what == 5:
        return (
            line[: key.start()]
            + rng.choice([b"", b'"x":', b'"kind":', b'"symbol":', b'"sym\\u0062ol":'])
            + line[key.end() :]
        )
    if what == 6:  # stated twice
        return line[: key.start()] + key[0] + rng.choice(VALUES) + b"," + line[key.start() :]
    return line[: value.start()] + rng.choice(values)[0] + line[value.end() :]


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bytes as a disk, a cable or a cut leaves them."""
    at, length = rng.randrange(len(data) + 1), rng.choice([1, 7, 32, 100, 4096])
    what = rng.randrange(8)
    if what == 0:
        return data[:at]
    if what == 1:
        return data[:at] + b"\0" * length + data[at + length :]
    if what == 2:
        return data[:at] + b"\0" * length + data[at:]
    if what == 3:
        return data[:at] + rng.randbytes(length) + data[at + length :]
    if what == 4:
        return data[:at] + data[at + length :]
    if what == 5:
        return data[:at] + data[at : at + length] * 2 + data[at + length :]
    if what == 6:
        return data + rng.choice([b"\n", b"\0" * 32, b"\xff" * 31, b"{", data[:length], b"[" * 100_000])
    bits = bytearray(data)
    for _ in range(rng.choice([1, 3, 20])):
        if bits:
            bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
    return bytes(bits)
