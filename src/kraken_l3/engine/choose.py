"""Which engine: the native one where it is installed, else the one in Python."""

from __future__ import annotations

from kraken_l3.engine.port import Engine, EngineOptions
from kraken_l3.engine.python import PythonEngine
from kraken_l3.errors import UsageError

__all__ = ["ENGINES", "make_engine"]

ENGINES = ("auto", "native", "python")


def make_engine(options: EngineOptions, name: str = "auto", *, threads: int = 1) -> Engine:
    """A new engine; with several `threads`, where it can use them, one that only judges (no columns).

    Raises:
        UsageError: there is no such engine, or "native" was asked for and is not installed.
    """
    if name not in ENGINES:
        raise UsageError(f"there is no engine {name!r}", hint=f"Engines: {', '.join(ENGINES)}")
    if name != "python":
        try:
            from kraken_l3.engine.native import NativeEngine
            from kraken_l3.engine.native_team import NativeTeam
        except ImportError:
            if name == "native":
                raise UsageError(
                    "the native engine is not installed", hint="With Rust's cargo at hand: pip install ./native"
                ) from None
        else:
            return NativeTeam(threads, options.only) if threads > 1 else NativeEngine(options)
    return PythonEngine(options)
