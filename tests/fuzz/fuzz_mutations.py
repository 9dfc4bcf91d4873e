"""What a case of the archive fuzzer does to an archive: everything that disks, copies, other programs and strangers do.

`damage` takes an archive and a source of random numbers, and changes the archive in place. It tells what it did, and
what may follow from that.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NamedTuple

from fuzz_values import OUTSIDE, changed_bytes, changed_json

from kraken_l3.archive.zstd import Frame, compress, encode_table

__all__ = ["Damage", "damage"]

DAYS = ("2024-11-21", "2024-11-22", "2024-11-23", "2024-11-24")


class Damage(NamedTuple):
    """What was done.

    Attributes:
        steps: in words, one for each thing.
        forged: a repair note was made up with a right sum, which may rightly cut its own data.
    """

    steps: list[str]
    forged: bool


def damage(archive: Path, rng: random.Random) -> Damage:
    """Do one to four things to an archive."""
    steps: list[str] = []
    forged, wanted = False, rng.choice([1, 1, 1, 2, 2, 4])
    for _ in range(20):
        if len(steps) == wanted:
            break
        what = rng.choices(list(_STEPS), list(_STEPS.values()))[0]
        try:
            told = what(archive, rng)
        except (FileNotFoundError, IsADirectoryError, FileExistsError):
            continue  # there is no such file
        steps.append(f"{what.__name__.strip('_')}: {told}")
        forged = forged or what is _forge_repair
    return Damage(steps, forged)


# -- files -------------------------------------------------------------------------------------------------------------


def _files(archive: Path, pattern: str = "*") -> list[Path]:
    return sorted(path for path in archive.glob(pattern) if path.is_file() and not path.is_symlink())


def _one_of(archive: Path, rng: random.Random, *patterns: str) -> Path:
    found = [path for pattern in patterns or ("*",) for path in _files(archive, pattern)]
    if not found:
        raise FileNotFoundError
    return rng.choice(found)


def _any_companion(archive: Path, rng: random.Random) -> Path:
    """Any file, each kind as often as the others: there are more data files than manifests."""
    kinds = ["journal-*", "*.receipts", "*.checkpoints", "*.manifest.json", "*.repair", "*.torn", "l3-*.ndjson*"]
    kinds += ["journal-*", "*.receipts", "trade-*.ndjson*", "instruments-*.ndjson*", "*.lock", "disk.reserve"]
    rng.shuffle(kinds)
    found = next((files for kind in kinds if (files := _files(archive, kind))), None)
    if found is None:
        raise FileNotFoundError
    return rng.choice(found)


def _bytes(archive: Path, rng: random.Random) -> str:
    path = _any_companion(archive, rng)
    path.write_bytes(changed_bytes(path.read_bytes(), rng))
    return path.name


def _journal_values(archive: Path, rng: random.Random) -> str:
    return _json_lines(_one_of(archive, rng, "journal-*.ndjson"), rng)


def _checkpoint_values(archive: Path, rng: random.Random) -> str:
    return _json_lines(_one_of(archive, rng, "*.checkpoints"), rng)


def _manifest_values(archive: Path, rng: random.Random) -> str:
    path = _one_of(archive, rng, "*.manifest.json")
    told = _json_lines(path, rng)
    if rng.random() < 0.7:  # whoever changes it can sum it too
        data = re.sub(rb'("manifest_sha256": ?")[0-9a-f]{64}', rb"\g<1>" + b"0" * 64, path.read_bytes())
        digest = hashlib.sha256(data).hexdigest().encode()
        path.write_bytes(data.replace(b"0" * 64, digest, 1))
    return told


def _data_values(archive: Path, rng: random.Random) -> str:
    return _json_lines(_one_of(archive, rng, "l3-*.ndjson", "trade-*.ndjson", "instruments-*.ndjson"), rng)


def _json_lines(path: Path, rng: random.Random) -> str:
    lines = path.read_bytes().split(b"\n")
    for _ in range(rng.choice([1, 1, 3, 10])):
        at, what = rng.randrange(len(lines)), rng.randrange(12)
        if what < 8:
            lines[at] = changed_json(lines[at], rng)
        elif what == 8:
            lines.insert(at, rng.choice(lines))
        elif what == 9:
            lines[at] = changed_bytes(lines[at], rng)
        elif what == 10:
            del lines[at : at + rng.choice([1, 5])]
            lines = lines or [b""]
        else:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
    path.write_bytes(b"\n".join(lines))
    return path.name


def _receipts(archive: Path, rng: random.Random) -> str:
    path = _one_of(archive, rng, "*.receipts")
    data = path.read_bytes()
    records = [list(record) for record in struct.iter_unpack("<qqQII", data[: len(data) // 32 * 32])]
    if not records:
        raise FileNotFoundError
    for _ in range(rng.choice([1, 1, 5])):
        at, what = rng.randrange(len(records)), rng.randrange(8)
        record = records[at]
        times = [-(2**63), -1, 0, 1, 2**62, 2**63 - 1, record[0] - 3_600 * 10**9, record[0] + 86_400 * 10**9]
        if what <= 1:
            record[what] = (rng.choice(times) + 2**63) % 2**64 - 2**63
        elif what == 2:
            record[2] = rng.choice([0, 1, record[2] - 1, record[2] + 1, 2**63, 2**64 - 1, records[-1][2]]) % 2**64
        elif what == 3:
            record[3] = rng.choice([0, 1, 2, 9, 2**31, 2**32 - 1])
        elif what == 4:
            record[4] = rng.choice([1, 2, 4, 7, 2**32 - 1])
        elif what == 5:
            records.insert(at, list(record))
        elif what == 6 and len(records) > 1:
            del records[at]
        else:
            records[at:] = records[at:][::-1]
    data = b"".join(struct.pack("<qqQII", *record) for record in records)
    path.write_bytes(data + rng.choice([b"", b"", b"\0" * 5]))
    return path.name


def _forge_repair(archive: Path, rng: random.Random) -> str:
    """A repair note that somebody made up, its sum right."""
    data = _one_of(archive, rng, "l3-*.ndjson", "journal-*.ndjson", "trade-*.ndjson")
    size, day = data.stat().st_size, data.name[-17:-7]
    lengths = [0, 1, size, size // 2, size + 1, 2**31, 2**62, 2**63, -1]
    names = [
        data.name,
        f"l3-{day}.receipts",
        f"l3-{day}.torn",
        "",
        f"../{OUTSIDE}/new",
        f"/tmp/{OUTSIDE}",
        "writer.lock",
    ]
    body = rng.choice([b"", b"x" * 40, data.read_bytes()[-100:]])
    own = rng.random() < 0.5
    plan = {
        "file": data.name if own else rng.choice(names),
        "keep": rng.choice(lengths),
        "tail": len(body) if rng.random() < 0.7 else rng.choice(lengths),
        "receipts": data.with_suffix(".receipts").name if own else rng.choice(names),
        "receipts_keep": rng.choice(lengths),
        "receipts_tail": 0,
        "torn_file": data.with_suffix(".torn").name if own else rng.choice(names),
        "torn_keep": rng.choice(lengths),
        "torn": 0,
        "record": {
            "kind": "recovery",
            "at_ns": 1,
            "file": rng.choice(names),
            "torn": [[0, 1, "torn"]],
            "torn_file": "",
        },
    }
    note = json.dumps(plan).encode() + b"\n" + body
    data.with_suffix(".repair").write_bytes(note + hashlib.sha256(note).digest())
    return f"{data.name} {plan['file']} keep {plan['keep']}"


def _replace(archive: Path, rng: random.Random) -> str:
    """Something that is no file stands where a file belongs."""
    path = _any_companion(archive, rng) if rng.random() < 0.6 else archive / rng.choice(_ABSENT)
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError
    path.unlink(missing_ok=True)
    sentinel = archive.parent / OUTSIDE
    kinds: list[Callable[[], object]] = [
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("missing"),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to("/dev/null"),
        lambda: path.symlink_to(f"../{OUTSIDE}/file"),
        lambda: path.symlink_to(sentinel / "data"),
        lambda: path.symlink_to(f"../{OUTSIDE}"),
        lambda: path.symlink_to(f"../{OUTSIDE}/new"),
        lambda: path.symlink_to(f"/tmp/{OUTSIDE}"),
        lambda: path.symlink_to(_one_of(archive, rng).name),
    ]
    number = rng.randrange(len(kinds))
    kinds[number]()
    return f"{path.name}, kind {number}"


_ABSENT = [
    *(
        f"{prefix}-{day}.{suffix}"
        for prefix in ("l3", "journal", "trade")
        for day in DAYS[1:3]
        for suffix in ("repair", "repair.tmp", "repair.refused", "torn")
    ),
    *(
        f"l3-{day}.{suffix}"
        for day in DAYS[1:3]
        for suffix in ("manifest.json", "manifest.json.tmp", "ndjson.zst.tmp", "checkpoints", "ndjson.zst")
    ),
    *("seal.lock", "writer.lock", "disk.reserve", f"journal-{DAYS[3]}.ndjson", f"l3-{DAYS[3]}.ndjson"),
]


def _remove(archive: Path, rng: random.Random) -> str:
    path = _any_companion(archive, rng)
    path.unlink()
    return path.name


def _empty(archive: Path, rng: random.Random) -> str:
    path = _any_companion(archive, rng)
    path.write_bytes(b"")
    return path.name


def _swap(archive: Path, rng: random.Random) -> str:
    """Two files of a kind, or of any two, take each other's place."""
    one, other = (_any_companion(archive, rng) for _ in range(2))
    if rng.random() < 0.5:
        other = _one_of(archive, rng, f"*{one.suffix}")
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return f"{one.name} {other.name}"


def _copy(archive: Path, rng: random.Random) -> str:
    """A file is there a second time: as that of another day, or under some name or other."""
    path = _any_companion(archive, rng)
    names = [re.sub(r"\d{4}-\d\d-\d\d", day, path.name) for day in (*DAYS, "9999-12-31", "0001-01-01", "2024-02-30")]
    names += [path.name + suffix for suffix in (".gz", ".zst", ".tmp", ".bak", "-0001.ndjson", " (copy)")]
    names += [
        path.stem + "-0001.ndjson",
        "[/red].ndjson",
        "l3-.ndjson",
        "x" * 250,
        "l3-2024-11-22\x1b[2J.ndjson",
        "a\nb",
    ]
    names += [
        os.fsdecode(b"l3-\xff.ndjson"),
        "l3-2024-11-22.NDJSON",
        ".l3-2024-11-22.ndjson",
        "level3.ndjson",
        "\u202e.ndjson",
    ]
    target = archive / rng.choice(names)
    if target.is_symlink() or target.exists():
        raise FileExistsError
    shutil.copyfile(path, target)
    return f"{path.name} as {target.name!a}"


def _packed(archive: Path, rng: random.Random) -> str:
    """A compressed file of any content: bombs, frames out of order, tables that lie."""
    path = archive / f"{rng.choice(['l3', 'l3', 'trade'])}-{rng.choice(DAYS)}.ndjson.zst"
    if path.is_symlink() or path.exists():
        raise FileExistsError
    with_suffix = path.with_suffix("")
    if rng.random() < 0.5 and with_suffix.is_file():  # else the plain file is the one that is read
        with_suffix.unlink()
    path.write_bytes(b"".join(_packed_parts(archive, rng)))
    return path.name


def _packed_parts(archive: Path, rng: random.Random) -> Iterator[bytes]:
    data = _one_of(archive, rng, "*.ndjson*").read_bytes()
    contents = [data[:9_000], b"\0" * 70_000_000, b"\n" * 300_000, b"[" * 3_000_000, data[:9_000], b"{}\n" * 50_000]
    entries = []
    for _ in range(rng.choice([1, 2, 4])):
        content = rng.choices(contents, [6, 1, 1, 1, 6, 1])[0]
        frame = compress(content)
        yield frame
        entries.append(Frame(0, len(frame), 0, len(content)))
    if rng.random() < 0.7:
        if rng.random() < 0.5:
            at = rng.randrange(len(entries))
            lies = [0, 1, 2**31, 2**32 - 1]
            entries[at] = Frame(0, rng.choice([entries[at].length, *lies]), 0, rng.choice(lies))
        rng.shuffle(entries)
        yield encode_table(entries)
    if rng.random() < 0.3:
        yield rng.choice([b"\x50\x2a\x4d\x18\xff\xff\xff\xff", b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8, b"\0" * 40])


#: How often each is done.
_STEPS: dict[Callable[[Path, random.Random], str], int] = {
    _bytes: 8,
    _journal_values: 10,
    _checkpoint_values: 5,
    _manifest_values: 5,
    _data_values: 6,
    _receipts: 6,
    _forge_repair: 4,
    _replace: 7,
    _remove: 4,
    _empty: 2,
    _swap: 3,
    _copy: 4,
    _packed: 3,
}
