"""What must be remembered about an API key: its highest nonce, and that Kraken refused it.

Each key has a file and a lock file in the user's state directory, named by a fingerprint: the key itself is never
written. The lock is held during the whole call to Kraken, so that programs on this machine that share a key take turns.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import sys
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

import msgspec

from kraken_l3.archive.filesystem import is_full
from kraken_l3.archive.lock import try_lock
from kraken_l3.errors import DiskFull, LocalFault, MalformedMessage
from kraken_l3.model.json_text import decode_json
from kraken_l3.model.timestamps import NS_PER_S
from kraken_l3.protocol.nonce import next_nonce
from kraken_l3.protocol.refusals import REFUSED_KEY_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["KeyMemory", "state_directory"]

LOCK_POLL_S = 0.05


def state_directory() -> Path:
    """The directory for state that outlives the program.

    XDG_STATE_HOME if set; else ~/.local/state, on macOS ~/Library/Application Support, on Windows LOCALAPPDATA.
    """
    if os.environ.get("XDG_STATE_HOME"):
        base = Path(os.environ["XDG_STATE_HOME"])
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", str(Path.home())))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path.home() / ".local" / "state"
    return base / "kraken-l3"


class _Memory(msgspec.Struct, omit_defaults=True):
    highest_nonce: int = 0
    refused_at_ns: int = 0
    refusal: str = ""


_memory = msgspec.json.Decoder(_Memory)


class KeyMemory:
    """What is remembered about one key. Call the other methods inside `held`.

    Args:
        directory: of the files; made with mode 0700 if it is missing.
        api_key: only its fingerprint is stored.
        sync: writes the file of this descriptor to disk.
    """

    def __init__(self, directory: Path, api_key: str, sync: Callable[[int], None] = os.fsync) -> None:
        self._directory = directory
        self._sync = sync
        fingerprint = hashlib.sha256(api_key.encode()).hexdigest()[:16]
        self._path = directory / f"key-{fingerprint}.json"
        self._lock_path = directory / f"key-{fingerprint}.lock"

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the key's lock, once whoever holds it lets go.

        Raises:
            LocalFault: the state directory cannot be used.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = io.FileIO(self._lock_path, "a+b")
        except OSError as error:
            raise self._fault(error) from error
        with file:
            try:
                while not try_lock(file):  # noqa: ASYNC110 - the holder is another process, there is no event
                    await asyncio.sleep(LOCK_POLL_S)
            except OSError as error:
                raise self._fault(error) from error
            yield  # closing the file releases the lock

    def take_nonce(self, wall_ns: int) -> int:
        """A nonce larger than any before; it is on disk before it is returned."""
        memory = self._read()
        memory.highest_nonce = next_nonce(wall_ns, memory.highest_nonce)
        self._write(memory)
        return memory.highest_nonce

    def remember_refusal(self, error: str, wall_ns: int) -> None:
        """Kraken has just refused the key."""
        memory = self._read()
        memory.refused_at_ns, memory.refusal = wall_ns, error
        self._write(memory)

    def refusal(self, wall_ns: int) -> tuple[str, float]:
        """Why Kraken refused the key, and for how many more seconds not to use it ("", 0: it may be used)."""
        memory = self._read()
        age_ns = wall_ns - memory.refused_at_ns
        if not memory.refusal or not 0 <= age_ns < REFUSED_KEY_S * NS_PER_S:
            return "", 0.0
        return memory.refusal, REFUSED_KEY_S - age_ns / NS_PER_S

    def _read(self) -> _Memory:
        try:
            return decode_json(_memory, self._path.read_bytes())
        except FileNotFoundError:
            return _Memory()
        except OSError as error:
            raise self._fault(error) from error
        except MalformedMessage as error:
            raise LocalFault(
                "the state file of the API key is damaged",
                where=str(self._path),
                hint="Delete the file. If Kraken then reports 'Invalid nonce', create a new key",
            ) from error

    def _write(self, memory: _Memory) -> None:
        temporary: Optional[Path] = None
        try:
            descriptor, name = tempfile.mkstemp(dir=self._directory, prefix=self._path.name)
            temporary = Path(name)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(msgspec.json.encode(memory))
                file.flush()
                self._sync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            if temporary is not None:
                with suppress(OSError):
                    temporary.unlink()
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> LocalFault:
        if is_full(error):
            return DiskFull("no room for the API key's state file", where=str(self._directory), hint="Free space there")
        return LocalFault(
            f"cannot write the state file of the API key: {error.strerror or error}",
            where=str(self._directory),
            hint="Make the directory writable for the user who runs the recorder, or set XDG_STATE_HOME to another one",
        )
