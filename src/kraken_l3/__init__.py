"""Kraken's order-by-order book: recorded byte for byte, verified, rebuilt, exported.

`kraken_l3.open(path)` opens an archive for research, `kraken_l3.simulate(path)` makes one up, `kraken_l3.replay(path)`
serves one as if Kraken were live; `kraken_l3.api` describes them. Importing this package imports nothing else: what is
heavy comes when it is used.
"""

from typing import TYPE_CHECKING, Any

from kraken_l3._version import __version__

if TYPE_CHECKING:
    from kraken_l3.api import Archive, decimals, doubles, pandas_types, replay, simulate
    from kraken_l3.api import open_for_research as open

__all__ = ["Archive", "__version__", "decimals", "doubles", "open", "pandas_types", "replay", "simulate"]

_LAZY = {
    "open": "open_for_research",
    "Archive": "Archive",
    "replay": "replay",
    "simulate": "simulate",
    "decimals": "decimals",
    "doubles": "doubles",
    "pandas_types": "pandas_types",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kraken_l3 import api

    return getattr(api, _LAZY[name])


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
