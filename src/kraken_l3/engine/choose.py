"""Which engine: the native one where it is installed, else the one in Python."""

from __future__ import annotations

from typing import Optional

from kraken_l3._version import __version__
from kraken_l3.engine.port import Engine, EngineOptions
from kraken_l3.engine.python import PythonEngine
from kraken_l3.errors import UsageError

__all__ = ["ENGINES", "make_engine", "native_problem"]

ENGINES = ("auto", "native", "python")

#: The interface that `engine.native` is written for; `PORT` in native/src/python.rs is its number in an installed
#: package. In a checkout it changes between two releases, while the version stays.
_INTERFACE = 7
_NOT_INSTALLED = "the native engine is not installed"
_REMEDY = "pip install ./native, in a checkout and with Rust's cargo at hand; wheels for a platform have it in them"


def make_engine(options: EngineOptions, name: str = "auto", *, threads: int = 1) -> Engine:
    """A new engine; with several `threads`, where it can use them, one that only judges (no columns).

    Raises:
        UsageError: there is no such engine, or "native" was asked for and cannot be used.
    """
    if name not in ENGINES:
        raise UsageError(f"there is no engine {name!r}", hint=f"Engines: {', '.join(ENGINES)}")
    why_not = _why_not_native() if name != "python" else None
    if name == "native" and why_not is not None:
        raise UsageError(why_not, hint=f"Install this release's: {_REMEDY}")
    if name == "python" or why_not is not None:
        return PythonEngine(options)
    from kraken_l3.engine.native import NativeEngine, ThreadedNativeEngine

    return ThreadedNativeEngine(threads, options.only) if threads > 1 else NativeEngine(options)


def native_problem() -> Optional[str]:
    """Why the native engine that is installed cannot be used, and what to do about it, in one sentence.

    None when it can be used, and when none is installed: the engine in Python gives the same results, only slower.
    """
    why_not = _why_not_native()
    return None if why_not in (None, _NOT_INSTALLED) else f"{why_not}. Install this release's: {_REMEDY}"


def _why_not_native() -> Optional[str]:
    try:
        import kraken_l3_native
    except ModuleNotFoundError:
        return _NOT_INSTALLED
    except ImportError as error:  # built for another Python, or a library that it needs is missing
        return f"the native engine cannot be loaded ({error})"
    version = getattr(kraken_l3_native, "__version__", None)
    if version != __version__:
        return f"the installed native engine is of version {version}, and this recorder of version {__version__}"
    interface = getattr(kraken_l3_native, "PORT", None)
    if interface == _INTERFACE:
        return None
    return f"the installed native engine has interface {interface}, and this release needs interface {_INTERFACE}"
