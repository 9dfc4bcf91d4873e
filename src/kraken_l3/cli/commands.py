"""What can be typed: every command with its arguments, its options and its help.

Kept apart from the modules that do the work, so that help and mistakes cost none of their imports.
"""

from __future__ import annotations

import click

from kraken_l3._version import __version__
from kraken_l3.cli.command import Argument, Command, Duration, Group
from kraken_l3.cli.exchange_commands import CONFORMANCE, DEMO, REPLAY, SIMULATE
from kraken_l3.cli.shared_options import (
    AS_JSON,
    CLUSTER,
    CONFIG,
    COUNT,
    DEPTH,
    DURATION,
    ENGINE,
    INSTRUMENTS,
    LOW_PRIORITY,
    PATH,
    PLACE,
    REDUNDANCY,
    SUBSCRIBED_DEPTH,
    SYMBOLS,
    TIER,
    flag,
    option,
)

__all__ = ["APP"]

# -- the recorder ------------------------------------------------------------------------------------------------------

INIT = Command(
    "init",
    "Write a commented config.yaml, readable by you alone. An existing file is never overwritten.",
    Argument("path", "File to write.", type=PATH, default="config.yaml"),
)
RECORD = Command(
    "record",
    """Record Kraken's level3 channel, byte for byte, until Ctrl+C, SIGTERM or hangup.

    Settings come from config.yaml, then the environment (KRAKEN_API_KEY, KRAKEN_API_SECRET, KRAKEN_L3_SYMBOLS,
    KRAKEN_L3_OUTPUT_DIR and every other key as KRAKEN_L3_<KEY>), then these options. Exit codes: 0 stopped cleanly,
    1 configuration, 3 nothing was recorded, 4 refused by Kraken, 5 a fault of this machine.
    """,
    CONFIG,
    SYMBOLS,
    DEPTH,
    option("--output-dir", "-o", type=PATH, help="Directory of the archive."),
    option("--trades/--no-trades", default=None, help="Also record public trades."),
    REDUNDANCY,
    TIER,
    DURATION,
    option("--table/--no-table", default=True, help="Show the live table on a terminal."),
    flag("--take-over", help="Take the archive over from the recorder that writes it, without a gap."),
)
PLAN = Command(
    "plan",
    """Estimate connections, time to subscribe and disk a day for a configuration.

    The symbols are compared with Kraken's public list of pairs; without a network the estimate says that they were not.
    Exit code 1: Kraken does not list one of them.
    """,
    CONFIG,
    SYMBOLS,
    DEPTH,
    REDUNDANCY,
    TIER,
    AS_JSON,
)
DOCTOR = Command(
    "doctor",
    """Check the configuration, this machine, the way to Kraken and the API key; say what to do about each.

    Every check has an end, and secrets are masked. It asks for a session token, subscribes to one symbol for a moment,
    and writes 16 MiB into the output directory, which it removes. Exit code 0: ready (there may be warnings); 1:
    configuration; 4: refused by Kraken; 5: this machine or the network.
    """,
    CONFIG,
    AS_JSON,
)
_STANDING = Argument("directory", "The archive (default: output_dir of the configuration).", type=PATH, required=False)
STATUS = Command(
    "status",
    """Show how a recording stands: recorder, symbols, gaps today, verified share, sealed days, disk.

    Works while it runs and afterwards, and reads no data: a year of days takes a fraction of a second. Exit code 3: the
    recorder is not healthy, or it has ended without a word.
    """,
    _STANDING,
    CONFIG,
    AS_JSON,
)
TOP = Command(
    "top",
    """Watch a running recorder on a whole terminal, symbol by symbol. Needs the extra top (textual).

    Reads what the recorder tells of itself in its directory, and asks nothing of it. Keys: s changes the order, p
    pauses, q ends.
    """,
    _STANDING,
    CONFIG,
)
_NAME = option("--name", default="kraken-l3", help="Name of the service; each recorder needs its own.")
SERVICE = Group(
    "service",
    "Run the recorder as a systemd user service: started, watched, restarted.",
    Command(
        "install",
        "Install a user service that records with this Python and this configuration. Needs no root.",
        CONFIG,
        _NAME,
        flag("--dry-run", help="Print what would be written, write nothing."),
        runs="service:install",
    ),
    Command(
        "uninstall",
        "Stop the service and remove its unit. The key file and the recordings stay.",
        _NAME,
        runs="service:uninstall",
    ),
)
VERIFY_LIVE = Command(
    "verify-live",
    "Follow an archive and say what is wrong, one JSON object a line, until stdin closes.",
    Argument("directory", "The archive directory that is being written.", type=PATH),
    ENGINE,
    option("--poll", type=click.FloatRange(min=0.01), default=0.5, help="Seconds between two looks at the files."),
    runs="verify_live:verify_live",
    hidden=True,
)

# -- archives ----------------------------------------------------------------------------------------------------------

INFO = Command(
    "info",
    """Show what was recorded, per file and symbol: lines, bytes, times, snapshots, connections, and every gap.

    Almost all of it comes from receipts and journals. Only the counts of each symbol need the data: up to 64 MiB of it
    are read, or all with --count. Files without receipts are always read.
    """,
    Argument("path", "Directory of an archive, or one NDJSON file; a path or a URL.", type=PLACE),
    flag("--count", help="Count the lines of each symbol, however much there is to read."),
    AS_JSON,
)
RECOVER = Command(
    "recover",
    """Repair an archive after a crash, a power cut or a full disk, and report what was done.

    Exit code 0: nothing to do, or repaired without removing data; 2: damaged lines were moved to l3-DAY.torn.
    """,
    Argument("path", "Directory of an archive that no recorder writes to.", type=PATH),
    AS_JSON,
)
SEAL = Command(
    "seal",
    """Compress closed days to .zst with a seek table; plain files are removed once their copies compare equal.

    Every command reads sealed days, and so do `zstdcat` and `zstd -d`. The day that is being recorded is not touched.
    Exit code 2: an existing sealed copy differs from its plain file.
    """,
    Argument("path", "An archive directory (all closed days), or one file.", type=PATH),
    option("--day", help="Only this day of the directory: YYYY-MM-DD."),
    AS_JSON,
    LOW_PRIORITY,
)
CHECK = Command(
    "check",
    """Compare sealed files with the sizes and SHA-256 sums in their manifests; a single changed byte is found.

    Exit code 0: unchanged; 2: a file has changed; 3: a file is missing, or a closed day has no manifest.
    """,
    Argument("path", "An archive directory, or one sealed file or its manifest.", type=PATH),
    AS_JSON,
)
KEEP = Command(
    "keep",
    """Upload sealed days and prove each file there by its SHA-256; then remove old days here, if limits are given.

    A day is removed only if it is sealed, verified, and whole in the store. Today and yesterday always stay. The same
    command goes on after an interruption. Exit code 2: a file is damaged; 3: something could not be uploaded, or a day
    must stay that the limits would remove. Needs the extra storage.
    """,
    Argument("path", "An archive directory.", type=PATH),
    option("--to", required=True, help="Where to: a URL that fsspec knows (s3://bucket/prefix), or a directory."),
    option("--keep-days", type=click.IntRange(min=1), help="Remove days here that are older."),
    option("--keep-gb", type=click.FloatRange(min=0), help="Remove the oldest days here until this much is left."),
    AS_JSON,
    LOW_PRIORITY,
)
MERGE = Command(
    "merge",
    """Make one archive of several recordings of the same symbols: nothing is missing that any of them has.

    Messages are aligned by content, never by clocks, and each repair is proved by books and checksums where they can
    tell. Every line is the bytes of one source; l3-D.sources tells which, and when the others received it. Exit code 2:
    sources contradict one another; 3: gaps remain, or a source could not be aligned. After an interruption run the same
    command again. One archive alone is repaired from what its recorder kept of a second connection.
    """,
    Argument(
        "paths", "Archive directories, or NDJSON files.", type=PATH, nargs=-1, required=True, metavar="ARCHIVE..."
    ),
    option("--out", "-o", type=PATH, required=True, help="Directory of the merged archive."),
    ENGINE,
    AS_JSON,
)
AUDIT = Command(
    "audit",
    """Compare recorded books with Kraken's REST API, order by order, at every depth that was subscribed.

    Run it beside a recorder. Needs a second key ('Query open orders & trades') in KRAKEN_AUDIT_API_KEY and
    KRAKEN_AUDIT_API_SECRET. Results go to l3-D.audits too. Exit code 2: a book differs after each message of the
    seconds around the call; 3: one could not be compared; 4: refused by Kraken.
    """,
    CONFIG,
    SYMBOLS,
    option("--output-dir", "-o", type=PATH, help="Directory of the archive."),
    flag("--trades", help="Instead of books: find holes in trade ids, and fill them from the public REST API. No key."),
    option("--every", type=Duration(), help="Audit again after this time, until stopped: 10m, 1h."),
    AS_JSON,
    ENGINE,
)
VERIFY = Command(
    "verify",
    """Rebuild every book and compare every checksum.

    Exit code 0: all verified; 2: damaged (mismatch, unreadable line, impossible change); 3: some of it could not be
    verified or was not read or, with --require-complete, there are gaps or a journal is damaged. The checksum
    covers the 10 best levels of each side.
    """,
    Argument(
        "paths",
        "Archive directories, single days, or any NDJSON files of level3 messages; paths or URLs (s3://...).",
        type=PLACE,
        nargs=-1,
        required=True,
        metavar="PATH...",
    ),
    AS_JSON,
    option("--jobs", "-j", type=COUNT, help="Threads or processes. Default: one per core, 1 for little data."),
    CLUSTER,
    flag("--require-complete", help="Also exit 3 on gaps."),
    SUBSCRIBED_DEPTH,
    INSTRUMENTS,
    ENGINE,
)
BOOK = Command(
    "book",
    """Show the order book of a symbol at a moment, after a line, or at the end.

    Exit code 0: the book agrees with Kraken's last checksum; 2: it does not; 3: there is no book, or the moment lies in
    a gap.
    """,
    Argument("path", "An archive directory, or any NDJSON file of level3 messages; a path or a URL.", type=PLACE),
    option("--symbol", "-s", required=True, help="Symbol, e.g. BTC/USD."),
    option("--at", help="Moment on the receive clock, e.g. 2026-11-22T14:30:00Z (no zone: UTC)."),
    option("--line", type=click.IntRange(min=0), help="Number of lines of a single file to apply."),
    option("--levels", "-n", type=COUNT, default=10, help="Levels a side to show."),
    AS_JSON,
    flag("--message", "as_message", help="Print the book as a Kraken snapshot message."),
    SUBSCRIBED_DEPTH,
    INSTRUMENTS,
    ENGINE,
)

# -- exports -----------------------------------------------------------------------------------------------------------

_SOURCE = Argument(
    "source",
    "An archive directory or an NDJSON file; a path or a URL (s3://...).",
    shell_complete=PLACE.shell_complete,
)
_OUT = option(
    "--out",
    "-o",
    required=True,
    help="Directory to write to; a path or a URL.",
    shell_complete=PLACE.shell_complete,
)
_ONLY = option("--symbols", help="Only these symbols, comma separated.")
_JOBS = option("--jobs", "-j", type=COUNT, help="Processes on this machine. Default: one per core, 1 for little data.")
_START = option("--start", help="First moment on the receive clock: 2026-11-22T14:30:00Z, or nanoseconds.")
_END = option("--end", help="Moment before which to stop.")
_DAY = option("--day", help="Only these UTC days, comma separated: 2026-11-22,2026-11-23.")
_LEVELS = click.IntRange(min=1, max=1000)


def _export(name: str, text: str, *own: click.Option, runs: str, others: tuple[click.Option, ...] = ()) -> Command:
    """A command of `export`: what is its own, and the options of `cli.export.request.ExportRequest`."""
    common = (_ONLY, _START, _END, _DAY, _JOBS, *others, INSTRUMENTS, ENGINE, AS_JSON)
    return Command(name, text, _SOURCE, _OUT, *own, *common, runs=runs)


def _table(name: str, text: str, *own: click.Option) -> Command:
    return _export(name, text, *own, runs=f"export.tables:{name}", others=(CLUSTER,))


def _other_format(name: str, text: str, *own: click.Option) -> Command:
    return _export(name, text, *own, runs=f"export.formats:{name}")


EXPORT = Group(
    "export",
    "Write Parquet tables, or other tools' formats, from an archive. Every message is verified on the way.",
    _table(
        "snapshots",
        """Book snapshots: timestamp, bid_prices, bid_qtys, ask_prices, ask_qtys; best level first, one row a snapshot.

        Rows over a gap are left out. Exit code 2: some rows are suspect (see --wide); 3: some data could not be
        verified.
        """,
        option("--every", default="1s", help="Spacing on the receive clock (1s, 100ms, 5m), or change."),
        option("--levels", type=_LEVELS, default=10, help="Price levels a side."),
        flag("--wide", help="Add columns: verdict, suspect, mid, spread, ..."),
        flag("--keep-gaps", help="Keep rows over gaps, marked in a column over_gap."),
    ),
    _table(
        "events",
        """Order events: every change of every order, its classification, and the position in the queue.

        Exit code 2: some events are suspect (flag 4); 3: some data could not be verified.
        """,
    ),
    _table(
        "orders",
        """Order lives: where each order was placed, what filled it, how it ended, and the mid prices after.

        Days that follow one another are exported as one. Exit code 2: some rows are suspect; 3: some data could not be
        verified.
        """,
    ),
    _table(
        "features",
        """Feature bars: mid, spread, depth, imbalance, arrivals, cancels, fills, order flow imbalance, trades, realised
        variance, lag.

        Bars over a gap are kept, marked in a column over_gap. Exit code 2: some bars are suspect; 3: some data could
        not be verified.
        """,
        option(
            "--every", default="1s", help="Length of a bar on the receive clock (1s, 100ms, 5m); must divide a day."
        ),
    ),
    _export(
        "trades",
        """Recorded trades, each once: times, price, quantity, taker's side. They come from the trade channel.

        Exit code 2: a trade file is damaged. 3: none were recorded, or some could not be read.
        """,
        runs="export.tables:trades",
    ),
    _other_format(
        "tardis", "Tardis' incremental_book_L2, book_snapshot_25 and trades (csv.gz), one file a symbol and day."
    ),
    _other_format(
        "lobster",
        "LOBSTER's message and orderbook files; beside them the kind of each line, scales and order ids.",
        option("--levels", type=_LEVELS, default=10, help="Price levels a side in the orderbook file."),
        flag("--arrivals-only", help="Leave out lines that are no trader's action: opening, reentry, evict, resync."),
    ),
    _other_format(
        "hftbacktest",
        "hftbacktest's level 3 events and trades (npz); beside them the backtest's parameters and the order ids.",
        option(
            "--resync",
            default="diff",
            help="A snapshot within a day becomes: diff (keeps your simulated orders) or clear.",
        ),
    ),
    _other_format(
        "nautilus",
        "NautilusTrader's catalog: deltas, trade ticks and the pair, written through the installed nautilus_trader.",
    ),
)

# -- pictures ----------------------------------------------------------------------------------------------------------


def _picture(name: str, text: str, *own: click.Option) -> Command:
    source = Argument("source", "An archive directory or an NDJSON file.", type=PATH)
    symbol = option("--symbol", "-s", help="Symbol, e.g. BTC/USD; not needed if there is only one.")
    out = option("--out", "-o", type=PATH, required=True, help="File to write: .png, .svg or .pdf.")
    return Command(name, text, source, symbol, out, *own, _START, _END, _DAY, runs=f"plot:{name}")


PLOT = Group(
    "plot",
    "Draw pictures of an archive. Needs the extra plot (matplotlib, scipy).",
    _picture(
        "depth",
        "The depth of the book over time as a heat map, with the mid price, trades and gaps.",
        option("--levels", type=_LEVELS, default=100, help="Price levels a side to draw."),
    ),
    _picture(
        "queue",
        "The queue of a price level over time: every order a block, the next to be served at the bottom.",
        option("--price", help="Price of the level. Default: the one with the longest queue, while it was longest."),
        option("--side", type=click.Choice(["bid", "ask"]), help="Needed only if the price was on both sides."),
    ),
    _picture("spread", "The mid price and the spread over time, with the median spread and gaps."),
    _picture("survival", "How long orders rest and how many are filled, by where they were placed (Kaplan-Meier)."),
)

PAGE = Command(
    "page",
    """Serve an archive as a page for the browser: books order by order, rates, verdicts, gaps, over time.

    An archive that a recorder writes to is followed as it grows, by this process alone. Prints the page's URL; Ctrl+C
    or SIGTERM stops it. Other machines need an address that they reach, and the token in KRAKEN_L3_HTTP_TOKEN.
    """,
    Argument("path", "An archive directory, or an NDJSON file of level3 messages.", type=PATH),
    option("--http", default="127.0.0.1:9464", help="Address to listen on, HOST:PORT; port 0 takes a free one."),
    flag("--open", "open_it", help="Open the page in the browser."),
    click.Option(
        ["--recorder"],
        is_flag=True,
        default=False,
        hidden=True,
        help="A recorder runs this: its status comes on stdin, a line of JSON a second, and its end ends this.",
    ),
)
SQL = Command(
    "sql",
    """Query tables with SQL: snapshots, events, orders, features, trades, gaps, verdicts (columns: docs/export.md).

    DATA is an exported directory or an archive. From an archive, the tables in the query are exported first, to
    DATA.tables; what has not changed is not exported again. Needs duckdb.
    """,
    Argument("query", "One SELECT in DuckDB's SQL."),
    Argument("source", "An exported directory, an archive directory, or an NDJSON file.", metavar="DATA"),
    AS_JSON,
    flag("--csv", "as_csv", help="Print CSV instead of a table."),
    _JOBS,
    ENGINE,
)

REPORT = Command(
    "report",
    """Report on one UTC day: what was recorded, how much of it can be used, and what the market looked like.

    Writes a page that needs nothing else (report-DAY.html), the figures as JSON, and as Parquet with a row for each
    symbol. Exit code 2: files are damaged or messages fail the checksum; 3: there are gaps, or nothing was recorded.
    Needs the extra plot.
    """,
    Argument("source", "An archive directory.", type=PATH),
    option("--date", help="The UTC day, such as 2026-11-22. Default: the last one that is over."),
    option("--out", "-o", default="reports", help="Directory or URL for the files."),
    ENGINE,
    AS_JSON,
)
COMPLETION = Command(
    "completion",
    """Print what makes a shell complete commands, options and paths at the Tab key.

    \b
    bash: eval "$(kraken-l3 completion bash)" in ~/.bashrc (bash 4.4 or later)
    zsh:  eval "$(kraken-l3 completion zsh)" in ~/.zshrc, after compinit
    fish: kraken-l3 completion fish > ~/.config/fish/completions/kraken-l3.fish
    """,
    Argument("shell", "bash, zsh or fish.", type=click.Choice(["bash", "zsh", "fish"])),
)


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from kraken_l3.engine.choose import make_engine, native_problem  # only here, so that no other start pays for it
    from kraken_l3.engine.port import EngineOptions

    click.echo(f"kraken-l3 {__version__} ({make_engine(EngineOptions()).name} engine)")
    problem = native_problem()
    if problem is not None:
        click.echo(problem)
    ctx.exit()


_VERSION = click.Option(
    ["--version"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
APP = Group(
    "kraken-l3",
    "Record Kraken's order-by-order book byte for byte, verify it, rebuild it, export it.",
    INIT,
    RECORD,
    PLAN,
    DOCTOR,
    STATUS,
    TOP,
    INFO,
    RECOVER,
    SEAL,
    CHECK,
    KEEP,
    MERGE,
    AUDIT,
    VERIFY,
    BOOK,
    EXPORT,
    SQL,
    PLOT,
    PAGE,
    REPORT,
    SIMULATE,
    REPLAY,
    CONFORMANCE,
    DEMO,
    SERVICE,
    COMPLETION,
    VERIFY_LIVE,
    options=(_VERSION,),
)
APP.context_settings = {
    "help_option_names": ["-h", "--help"],  # which the commands inherit
    "max_content_width": 120,
}
