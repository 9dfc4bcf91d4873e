"""Pictures of an archive: each function gives a matplotlib figure that a notebook shows and `savefig` writes.

    import kraken_l3
    from kraken_l3 import plot

    archive = kraken_l3.open("data")
    plot.depth(archive, "BTC/USD", start="2026-11-22T14:00:00Z", end="2026-11-22T15:00:00Z")
    plot.queue(archive, "BTC/USD").savefig("queue.png")

Times are UTC on the receive clock, prices in the quote currency, quantities in the base currency; what is missing is
grey. The colours can be told apart by colour-blind readers too (https://jfly.uni-koeln.de/color/). Needs the extra
`plot`; `kraken-l3 plot` makes the same pictures.
"""

from kraken_l3.errors import UsageError

try:
    from kraken_l3.plot.depth import depth
    from kraken_l3.plot.picture import Picture
    from kraken_l3.plot.queue import queue
    from kraken_l3.plot.spread import spread
    from kraken_l3.plot.survival import survival
except ImportError as error:
    raise UsageError(f"pictures need {error.name}", hint="pip install 'kraken-l3-recorder[plot]'") from error

__all__ = ["Picture", "depth", "queue", "spread", "survival"]
