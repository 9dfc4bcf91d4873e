"""What a notebook shows of books, archives and tables: small pieces of HTML that need nothing but a browser.

Blue is the bid side, orange the ask side, grey what is missing; they can be told apart by everybody (Okabe and Ito,
https://jfly.uni-koeln.de/color/) and on a dark page. Symbols, ids and texts come from strangers: all of it is escaped.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import NamedTuple, Protocol

__all__ = ["Stretch", "coverage_bar", "html_table", "ladder", "progress_bar", "shown"]

BID, ASK, MISSING = "#0072B2", "#D55E00", "#999999"
_LEVELS = 10
_BAR_SYMBOLS = 20
_SMALL = 'style="font-size:90%;opacity:.75"'
_PADDED = "padding:1px 8px"
_TABLE = (
    '<table style="border-collapse:collapse;font-size:90%;text-align:right;white-space:nowrap;'
    'font-variant-numeric:tabular-nums">'
)


class Stretch(NamedTuple):
    """A piece of time of one symbol: whether its book is known there, or why not."""

    start_ns: int
    end_ns: int
    missing: str = ""


class _Level(Protocol):
    @property
    def price(self) -> Decimal: ...

    @property
    def qty(self) -> Decimal: ...

    @property
    def orders(self) -> Sequence[object]: ...


def ladder(heading: str, state: str, all_bids: Sequence[_Level], all_asks: Sequence[_Level]) -> str:
    """The ten best levels a side, each with its quantity as a bar."""
    bids, asks = all_bids[:_LEVELS], all_asks[:_LEVELS]
    most = max((float(level.qty) for level in (*bids, *asks)), default=0.0)
    rows = []
    for number in range(max(len(bids), len(asks))):
        left = _level(bids[number], BID, most, "left") if number < len(bids) else ["", "", ""]
        right = _level(asks[number], ASK, most, "right") if number < len(asks) else ["", "", ""]
        cells = (*left, *reversed(right))
        rows.append("<tr>" + "".join(cell or "<td></td>" for cell in cells) + "</tr>")
    head = "".join(f'<th style="{_PADDED}">{name}</th>' for name in ("orders", "qty", "bid", "ask", "qty", "orders"))
    count = sum(len(level.orders) for level in (*all_bids, *all_asks))
    return (
        f"<div><b>{escape(heading)}</b> {escape(state)}"
        f"{_TABLE}<thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
        f"<div {_SMALL}>{len(all_bids)} and {len(all_asks)} levels, {count:,} orders</div></div>"
    )


def _level(level: _Level, colour: str, most: float, towards: str) -> list[str]:
    """Cells from the outside in: orders, quantity with its bar, price."""
    share = 100 * float(level.qty) / most if most else 0.0
    bar = f"background:linear-gradient(to {towards},{colour}55 {share:.1f}%,transparent {share:.1f}%)"
    return [
        f'<td style="{_PADDED};opacity:.75">{len(level.orders)}</td>',
        f'<td style="{_PADDED};min-width:110px;{bar}">{level.qty}</td>',
        f'<td style="{_PADDED};color:{colour};font-weight:600">{level.price}</td>',
    ]


def coverage_bar(of_symbols: Mapping[str, Sequence[Stretch]], start_ns: int, end_ns: int) -> str:
    """A bar a symbol from the first to the last moment: coloured where its book is known, grey where it is not."""
    length = max(end_ns - start_ns, 1)
    rows = []
    for symbol, stretches in list(of_symbols.items())[:_BAR_SYMBOLS]:
        parts = []
        for stretch in stretches:
            left = 1000 * (stretch.start_ns - start_ns) / length
            # a gap of a second in a day would be too narrow to be seen
            width = max(1000 * (stretch.end_ns - stretch.start_ns) / length, 2.0 if stretch.missing else 0.0)
            colour = MISSING if stretch.missing else BID
            title = f"{shown(stretch.start_ns)} to {shown(stretch.end_ns)}"
            title += f": missing ({stretch.missing})" if stretch.missing else ": book known"
            parts.append(
                f'<rect x="{left:.2f}" y="0" width="{width:.2f}" height="14" fill="{colour}">'
                f"<title>{escape(title)}</title></rect>"
            )
        missing = sum(s.end_ns - s.start_ns for s in stretches if s.missing) / 1e9
        gaps = sum(bool(s.missing) for s in stretches)
        said = f"{gaps} gap{'s' if gaps != 1 else ''}, {missing:,.1f} s" if gaps else "no gaps"
        rows.append(
            f'<tr><td style="{_PADDED};text-align:left">{escape(symbol)}</td><td style="{_PADDED}">'
            f'<svg viewBox="0 0 1000 14" preserveAspectRatio="none" width="420" height="14">{"".join(parts)}</svg></td>'
            f'<td style="{_PADDED};text-align:left">{said}</td></tr>'
        )
    more = len(of_symbols) - len(rows)
    rest = f"<div {_SMALL}>and {more:,} symbols more</div>" if more > 0 else ""
    return (
        f"{_TABLE}<tbody>{''.join(rows)}</tbody></table>{rest}"
        f"<div {_SMALL}>{shown(start_ns)} to {shown(end_ns)} UTC; grey: missing</div>"
    )


def html_table(columns: Sequence[str], rows: Iterable[Sequence[object]], remark: str = "") -> str:
    """A plain table; numbers and times stand right."""
    head = "".join(f'<th style="{_PADDED}">{escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_PADDED}">{escape(str(cell))}</td>' for cell in row) + "</tr>" for row in rows
    )
    below = f"<div {_SMALL}>{escape(remark)}</div>" if remark else ""
    return (
        f'<div style="overflow-x:auto">{_TABLE}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{below}'
    )


def progress_bar(what: str, share: float) -> str:
    """How far something has come."""
    return f'<progress max="1" value="{share:.3f}" style="width:300px"></progress> {escape(what)}, {share:.0%}'


def shown(ns: int) -> str:
    """A moment for people: UTC, to the millisecond."""
    moment = dt.datetime.fromtimestamp(ns // 10**9, dt.timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ns // 10**6 % 1000:03d}"
