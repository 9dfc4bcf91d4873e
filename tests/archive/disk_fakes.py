"""Stand-ins for the two ports of the archive: a disk with its faults, and a clock that jumps."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path


class Killed(BaseException):
    """The process ended here."""


class FakeClock:
    def __init__(self, wall_ns: int, mono_ns: int = 1_000) -> None:
        self.now_ns = wall_ns
        self.now_mono_ns = mono_ns

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_mono_ns

    def advance(self, ns: int) -> None:
        self.now_ns += ns
        self.now_mono_ns += ns


class _Inode:
    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = b""
        self.stable = 0  # so many bytes are the same on disk and in memory

    def after_power_cut(self, rng: random.Random, sector: int) -> bytes:
        """What the disk may show: all that was synced, and of the rest anything, with holes."""
        if self.stable < len(self.durable) and rng.random() < 0.5:
            return self.durable  # the truncation that was not synced did not happen
        end = rng.randint(self.stable, len(self.data))
        if rng.random() < 0.3:
            end = len(self.data)
        shown = bytearray(self.data[:end])
        first = self.stable - self.stable % sector
        for at in range(first, end, sector):
            if rng.random() < 0.3:
                low, high = max(at, self.stable), min(at + sector, end)
                shown[low:high] = bytes(high - low)
        return bytes(shown)


class _FakeFile:
    def __init__(self, disk: FakeFileSystem, path: Path, inode: _Inode) -> None:
        self._disk, self._path, self._inode = disk, path, inode

    def size(self) -> int:
        return len(self._inode.data)

    def read_at(self, offset: int, count: int) -> bytes:
        return bytes(self._inode.data[offset : offset + count])

    def append(self, data: bytes) -> None:
        self._disk.step()
        room = self._disk.room()
        self._inode.data += data[:room]
        if len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def truncate(self, size: int) -> None:
        self._disk.step()
        inode = self._inode
        inode.stable = min(inode.stable, size)
        del inode.data[size:]

    def is_in_place(self) -> bool:
        return self._disk.files.get(self._path) is self._inode

    def sync(self) -> None:
        self._disk.step()
        if self._disk.fails_to_sync(self._path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._inode.durable = bytes(self._inode.data)
        self._inode.stable = len(self._inode.data)

    def close(self) -> None:
        pass


class FakeFileSystem:
    """In memory. `capacity` bytes in all; `dies_at` the n-th change; `sync_fails_for` names by their ending."""

    def __init__(self, *, capacity: int = 1 << 40) -> None:
        self.files: dict[Path, _Inode] = {}
        self.durable_names: dict[Path, _Inode] = {}
        self.capacity = capacity
        self.sync_fails_for = ""
        self.steps = 0
        self.dies_at = -1

    def step(self) -> None:
        if self.steps == self.dies_at:
            raise Killed
        self.steps += 1

    def room(self) -> int:
        return max(0, self.capacity - sum(len(inode.data) for inode in self.files.values()))

    def fails_to_sync(self, path: Path) -> bool:
        return bool(self.sync_fails_for) and path.name.endswith(self.sync_fails_for)

    def open(self, path: Path) -> _FakeFile:
        if path not in self.files:
            self.step()
            self.files[path] = _Inode()
        return _FakeFile(self, path, self.files[path])

    def names(self, directory: Path) -> list[str]:
        return sorted(path.name for path in self.files if path.parent == directory)

    def make_directory(self, path: Path) -> None:
        pass

    def remove(self, path: Path) -> None:
        self.step()
        self.files.pop(path, None)

    def rename(self, old: Path, new: Path) -> None:
        self.step()
        self.files[new] = self.files.pop(old)

    def sync_directory(self, directory: Path) -> None:
        self.step()
        self.durable_names = dict(self.files)

    def free_bytes(self, directory: Path) -> int:
        return self.room()

    # -- what happens to it

    def killed(self) -> FakeFileSystem:
        """What the next process finds after kill -9: everything that was handed over."""
        return self._copy(self.files, lambda inode: bytes(inode.data))

    def power_cut(self, rng: random.Random, *, sector: int = 16) -> FakeFileSystem:
        """What the next process finds after a power cut: what was synced, and of the rest anything."""
        names = dict(self.durable_names)
        for path in sorted(set(self.files) | set(names)):
            if self.files.get(path) is not names.get(path) and rng.random() < 0.5:
                if path in self.files:
                    names[path] = self.files[path]
                else:
                    del names[path]
        return self._copy(names, lambda inode: inode.after_power_cut(rng, sector))

    def _copy(self, files: dict[Path, _Inode], content) -> FakeFileSystem:
        after = FakeFileSystem(capacity=self.capacity)
        for path, inode in files.items():
            new = after.files[path] = _Inode()
            new.data = bytearray(content(inode))
            new.durable = bytes(new.data)
            new.stable = len(new.data)
        after.durable_names = dict(after.files)
        return after

    def content(self) -> dict[str, bytes]:
        return {path.name: bytes(inode.data) for path, inode in sorted(self.files.items())}

    def write_out(self, directory: Path) -> None:
        """Put everything into a real directory, for the reader."""
        directory.mkdir(parents=True, exist_ok=True)
        for path, inode in self.files.items():
            (directory / path.name).write_bytes(inode.data)
