"""The native engine. `kraken_l3.engine.native` puts it behind the port; it is not meant to be used without."""

from typing import Final, Optional, TypedDict, final, type_check_only

__all__ = ["PORT", "Engine", "__version__", "count_lines", "feed_shares"]

__version__: Final[str]
#: Number of this interface. The recorder takes no other.
PORT: Final[int]

# kind, line, offset, symbol, detail, expected, computed: the fields of `Note`
_Note = tuple[str, int, int, str, str, Optional[int], Optional[int]]
# kind, line, offset, expected, computed: the fields of `Bad`
_Bad = tuple[str, int, int, Optional[int], Optional[int]]
_Columns = dict[str, bytes]
# lines, messages, events, overflow_ids, rows, notes: the fields of `Result`
_Result = tuple[int, _Columns, _Columns, dict[int, str], _Columns, list[_Note]]

@type_check_only
class _Tally(TypedDict):
    symbol: str
    state: int
    depth: Optional[int]
    depth_inferred: bool
    price_precision: Optional[int]
    qty_precision: Optional[int]
    precision_inferred: bool
    messages: int
    snapshots: int
    ok: int
    mismatched: int
    incidents: int
    before_snapshot: int
    malformed: int
    unverifiable: dict[str, int]
    findings: dict[str, int]
    first_bad: Optional[_Bad]
    last_line: int
    last_ok_line: int
    orders: int

@final
class Engine:
    def __new__(
        cls,
        messages: bool,
        events: bool,
        # levels, grid_ns, orders: the fields of `RowOptions`
        rows: Optional[tuple[int, Optional[int], bool]],
        part: tuple[int, int],
        only: Optional[set[str]],
        until_ns: Optional[int],
    ) -> Engine: ...
    def set_symbol(
        self,
        symbol: str,
        price_precision: Optional[int],
        qty_precision: Optional[int],
        depth: Optional[int],
    ) -> None: ...
    def feed(self, block: bytes, first_line: int, offset: int, recv_ns: Optional[bytes]) -> _Result: ...
    def advance(self, recv_ns: int) -> _Result: ...
    def invalidate(self, symbol: Optional[str]) -> list[_Note]: ...
    def load_book(self, symbol: str, message: bytes, newest_ns: int, amending: list[str]) -> bool: ...
    # message, newest_ns, amending: the fields of `BookImage` but the symbol
    def export_book(self, symbol: str) -> Optional[tuple[bytes, int, list[str]]]: ...
    def symbols(self) -> list[str]: ...
    def tallies(self) -> list[_Tally]: ...
    # lines, not_data, malformed, skipped, too_many_symbols, level3_elsewhere: the fields of `Totals`
    def totals(self) -> tuple[int, int, int, int, int, int]: ...

def count_lines(block: bytes) -> int: ...

# lines, and the notes of each engine
def feed_shares(engines: list[Engine], block: bytes, first_line: int, offset: int) -> tuple[int, list[list[_Note]]]: ...
