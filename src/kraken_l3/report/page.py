"""A report as one HTML file that needs nothing else: styles and pictures are in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from html import escape
from typing import Optional

from kraken_l3._version import __version__
from kraken_l3.monitor.units import size
from kraken_l3.report.figures import DayReport, Quantiles, SymbolFigures
from kraken_l3.report.grade import RULE
from kraken_l3.report.pictures import day_picture, distributions, svg
from kraken_l3.report.reading import Day

__all__ = ["html_of"]

#: Symbols whose pictures are drawn: those with the most messages. All have their figures.
_PICTURED = 8
_GAPS_SHOWN = 200
_STYLE = """
:root { --text: #1b1f24; --soft: #59636e; --line: #d9dee3; --back: #fff; --card: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --soft: #9aa4ae; --line: #333a41; --back: #14171a; --card: #1d2125; }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 0 auto;
       max-width: 1060px; padding: 24px 16px 64px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 18px; margin: 36px 0 8px; } p { margin: 6px 0; max-width: 75ch; }
.soft { color: var(--soft); }
.head { display: flex; gap: 18px; align-items: center; }
.grade { font-size: 44px; font-weight: 700; width: 72px; height: 72px; border-radius: 12px; display: grid;
         place-items: center; color: #fff; flex: none; }
.A { background: #00795a; } .B { background: #3b7d23; } .C { background: #9a6700; } .D { background: #b35900; }
.F { background: #b3261e; }
b.A, b.B, b.C, b.D, b.F { color: #fff; padding: 1px 8px; border-radius: 6px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 20px 0; }
.tile { background: var(--card); border-radius: 10px; padding: 10px 14px; }
.tile strong { display: block; font-size: 20px; } .tile span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: 4px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, .text { text-align: left; }
svg { width: 100%; height: auto; background: #fff; border-radius: 10px; margin: 6px 0; }
"""


def html_of(day: Day) -> str:
    """The page."""
    report = day.report
    title = f"Kraken level3 on {report.day}"
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}</style></head><body>",
            f'<div class="head"><div class="grade {report.grade}">{report.grade}</div>',
            f'<div><h1>{title}</h1><p class="soft">{escape(report.path)} · kraken-l3 {__version__}</p></div></div>',
            f"<p>{_summary(report)}</p>",
            *_tiles(report),
            *_damage(report.damage),
            *_recording(report.symbols),
            *_market(report.symbols),
            *_gaps(report),
            *_storage(report),
            *_pictures(day),
            f'<h2>How the grade is found</h2><p class="soft">{RULE}</p>',
            "</body></html>",
        ]
    )


def _summary(report: DayReport) -> str:
    if not any(each.messages for each in report.symbols):
        return "Nothing was recorded on this day."
    whole = sum(each.grade == "A" for each in report.symbols)
    return (
        f"{whole:,} of {_number_of(len(report.symbols), 'symbol')} can be used for the whole day, "
        f"with {_number_of(len(report.gaps), 'gap')} in all."
    )


def _tiles(report: DayReport) -> Iterable[str]:
    symbols = report.symbols
    messages = sum(each.messages for each in symbols)
    verified = sum((each.verified or 0) * each.messages for each in symbols)
    lags = [each.lag_ms for each in sorted(symbols, key=lambda each: -each.messages) if each.lag_ms is not None]
    tiles = [
        (_share(_mean(each.usable for each in symbols)), "of all minutes usable"),
        (_share(_mean(each.covered for each in symbols)), "of the 24 hours covered"),
        (f"{messages:,}", "messages"),
        (_share(verified / messages if messages else None), "verified by checksum"),
        (f"{lags[0].p50:.3g} / {lags[0].p99:.3g} ms" if lags else "–", "lag, half / 99 %, of the busiest symbol"),
        (size(sum(report.bytes.values())), "on disk"),
    ]
    yield '<div class="tiles">'
    yield from (f'<div class="tile"><strong>{value}</strong><span>{what}</span></div>' for value, what in tiles)
    yield "</div>"


def _damage(damage: Sequence[str]) -> Iterable[str]:
    if damage:
        yield f"<h2>Damaged files</h2>{_list(damage)}"


def _recording(symbols: Sequence[SymbolFigures]) -> Iterable[str]:
    heads = ["symbol", "grade", "usable", "covered", "gaps", "missing, s", "messages", "verified", "most a minute"]
    rows = [
        [
            escape(each.symbol),
            f'<b class="{each.grade}">{each.grade}</b>',
            _share(each.usable),
            _share(each.covered),
            f"{each.gaps:,}",
            f"{each.missing_s:,.1f}",
            f"{each.messages:,}",
            _share(each.verified),
            f"{each.busiest_minute:,}",
            " / ".join(f"{value:.3g}" for value in _of(each.lag_ms)) or "–",
        ]
        for each in symbols
    ]
    yield "<h2>What was recorded</h2>"
    yield _table([*heads, "lag 50 / 99 / 99.9 %, ms"], rows)
    yield ('<p class="soft">Lag is from the message\'s own time to its receipt, the error of both clocks included.</p>')


def _market(symbols: Sequence[SymbolFigures]) -> Iterable[str]:
    heads = ["symbol", "spread, bp", "depth of bids", "of asks", "orders", "re-entries"]
    rows = [
        [
            escape(each.symbol),
            *map(_number, (each.spread_bp, each.bid_depth, each.ask_depth)),
            f"{each.added:,}",
            _share(each.reentry_share),
            *(_number(_half(values)) for values in (each.filled_life_s, each.cancelled_life_s, each.order_size)),
        ]
        for each in symbols
    ]
    yield "<h2>The market</h2>"
    yield _table([*heads, "filled after, s", "cancelled after, s", "size"], rows)
    yield (
        '<p class="soft">All are medians. Spread and depth (ten best levels, in the quote currency) are of the books '
        "at each full minute; lives are of orders whose end was seen, since they last changed their place. A re-entry "
        "is an order that came back into the recorded levels: its share is of all that were added.</p>"
    )


def _gaps(report: DayReport) -> Iterable[str]:
    yield "<h2>Gaps</h2>"
    if not report.gaps:
        yield "<p>None.</p>"
        return
    shown = report.gaps[:_GAPS_SHOWN]
    rows = [
        [
            escape(gap.symbol),
            escape(gap.channel),
            escape(gap.cause),
            _time(gap.left_ns),
            _time(gap.right_ns),
            f"{gap.seconds:,.3f}",
        ]
        for gap in shown
    ]
    yield _table(["symbol", "channel", "cause", "from (UTC)", "to", "seconds"], rows)
    if len(report.gaps) > _GAPS_SHOWN:
        yield f"<p>{len(report.gaps) - _GAPS_SHOWN:,} more stand in the JSON.</p>"


def _storage(report: DayReport) -> Iterable[str]:
    lost = [f"{count:,} by {escape(cause)}" for cause, count in report.connections_lost.items()]
    yield "<h2>Connections and storage</h2>"
    yield f"<p>Connections that ended: {', '.join(lost) or 'none'}.</p>"
    yield _table(["file", "size"], [[escape(kind), size(bytes_)] for kind, bytes_ in report.bytes.items()])


def _pictures(day: Day) -> Iterable[str]:
    busiest = sorted((each for each in day.report.symbols if each.symbol in day.rows), key=lambda each: -each.messages)
    for each in busiest[:_PICTURED]:
        yield f"<h2>{escape(each.symbol)}</h2>"
        yield svg(day_picture(day, each.symbol))
        yield svg(distributions(day, each.symbol))
    if len(busiest) > _PICTURED:
        yield f'<p class="soft">Drawn are the {_PICTURED} symbols with the most messages.</p>'


# -- words and numbers -------------------------------------------------------------------------------------------------


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{each}</td>" for each in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _list(texts: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in texts) + "</ul>"


def _of(quantiles: Optional[Quantiles]) -> tuple[float, ...]:
    return () if quantiles is None else (quantiles.p50, quantiles.p99, quantiles.p999)


def _half(quantiles: Optional[Quantiles]) -> Optional[float]:
    return None if quantiles is None else quantiles.p50


def _mean(values: Iterable[float]) -> Optional[float]:
    known = list(values)
    return sum(known) / len(known) if known else None


def _share(value: Optional[float]) -> str:
    """In percent, and never rounded up to all of it."""
    if value is None:
        return "–"
    return "100 %" if value >= 1 else f"{min(100 * value, 99.99):.2f} %"


def _number(value: Optional[float]) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _number_of(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _time(at_ns: int) -> str:
    return dt.datetime.fromtimestamp(at_ns / 1e9, dt.timezone.utc).strftime("%H:%M:%S.%f")[:-3]
