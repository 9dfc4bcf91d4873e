"""The daily report: what was recorded on a UTC day, how much of it can be used, and what the market looked like.

`reading` plays the day once and counts (`counts`), `figures` are the results as plain values, `grade` has the rule,
`pictures` draws and `page` writes the self-contained HTML.
"""

from kraken_l3.report.figures import DayReport, GapFigure, SymbolFigures
from kraken_l3.report.reading import report_day

__all__ = ["DayReport", "GapFigure", "SymbolFigures", "report_day"]
