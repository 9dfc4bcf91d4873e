"""What can be typed: every command with its arguments, its options and its help.

Kept apart from the modules that do the work, so that help and mistakes cost none of their imports.
"""

from __future__ import annotations

from typing import Any

import click

from kraken_l3._version import __version__
from kraken_l3.cli.command import Argument, Command, Duration, FilePath, Group

__all__ = ["APP"]

PATH = FilePath()
PLACE = FilePath(urls=True)
COUNT = click.IntRange(min=1)
SHARE = click.FloatRange(min=0, max=1)


def _option(*names: str, help: str, **attributes: Any) -> click.Option:
    return click.Option(names, help=help, show_default=attributes.get("default") is not None, **attributes)


def _one_of(*values: str) -> Any:
    """For `shell_complete`: values that the shell offers. The command checks them, with a sentence of its own."""
    return lambda _context, _parameter, incomplete: [value for value in values if value.startswith(incomplete)]


def _flag(*names: str, help: str) -> click.Option:
    return click.Option(names, help=help, is_flag=True, default=False)


# -- options that several commands share -------------------------------------------------------------------------------

CONFIG = _option("--config", "-c", type=PATH, help="Configuration file (default: config.yaml here, if it exists).")
SYMBOLS = _option("--symbols", help="Symbols, comma separated: BTC/USD,ETH/USD or '*/USD' or all.")
_DEPTHS = _one_of("10", "100", "1000")
DEPTH = _option("--depth", type=int, help="Price levels a side: 10, 100 or 1000.", shell_complete=_DEPTHS)
TIER = _option("--tier", help="Your Kraken account's tier: standard or pro.", shell_complete=_one_of("standard", "pro"))
DURATION = _option("--duration", type=Duration(), help="Stop after this time: 90 (seconds), 10m, 1h, 2d.")

LOW_PRIORITY = _flag("--low-priority", help="Run at the lowest CPU priority.")
AS_JSON = _flag("--json", "as_json", help="Print one JSON object (docs/cli.md) instead of text.")
FAULTS = _option("--faults", type=PATH, help="Fault script (YAML), see docs/exchange.md.")
FAULT_LOG = _option("--fault-log", type=PATH, help="Write every injected fault to this file, one JSON object a line.")
FAULT_SEED = _option("--fault-seed", type=int, default=0, help="Seed of the faults that come by chance.")
_ENGINES = _one_of("auto", "native", "python")
ENGINE = _option("--engine", default="auto", help="auto, native or python.", shell_complete=_ENGINES)
INSTRUMENTS = _option("--instruments", type=PATH, help="File of instrument channel messages, for precisions.")
CLUSTER = _option("--cluster", help="Run the jobs on this Dask scheduler: tcp://host:8786.")
SUBSCRIBED_DEPTH = _option(
    "--depth",
    type=int,
    help="Subscribed depth: 10, 100 or 1000 (default: from the journal).",
    shell_complete=_DEPTHS,
)

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
    _option("--output-dir", "-o", type=PATH, help="Directory of the archive."),
    _option("--trades/--no-trades", default=None, help="Also record public trades."),
    TIER,
    DURATION,
    _option("--table/--no-table", default=True, help="Show the live table on a terminal."),
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
    TIER,
    AS_JSON,
)
_NAME = _option("--name", default="kraken-l3", help="Name of the service; each recorder needs its own.")
SERVICE = Group(
    "service",
    "Run the recorder as a systemd user service: started, watched, restarted.",
    Command(
        "install",
        "Install a user service that records with this Python and this configuration. Needs no root.",
        CONFIG,
        _NAME,
        _flag("--dry-run", help="Print what would be written, write nothing."),
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
    _option("--poll", type=click.FloatRange(min=0.01), default=0.5, help="Seconds between two looks at the files."),
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
    _flag("--count", help="Count the lines of each symbol, however much there is to read."),
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
    _option("--day", help="Only this day of the directory: YYYY-MM-DD."),
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
    _option("--to", required=True, help="Where to: a URL that fsspec knows (s3://bucket/prefix), or a directory."),
    _option("--keep-days", type=click.IntRange(min=1), help="Remove days here that are older."),
    _option("--keep-gb", type=click.FloatRange(min=0), help="Remove the oldest days here until this much is left."),
    AS_JSON,
    LOW_PRIORITY,
)
MERGE = Command(
    "merge",
    """Make one archive of several recordings of the same symbols: nothing is missing that any of them has.

    Messages are aligned by content, never by clocks, and each repair is proved by books and checksums where they can
    tell. Every line is the bytes of one source; l3-D.sources tells which, and when the others received it. Exit code 2:
    sources contradict one another; 3: gaps remain, or a source could not be aligned. After an interruption run the same
    command again.
    """,
    Argument(
        "paths", "Archive directories, or NDJSON files.", type=PATH, nargs=-1, required=True, metavar="ARCHIVE..."
    ),
    _option("--out", "-o", type=PATH, required=True, help="Directory of the merged archive."),
    ENGINE,
    AS_JSON,
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
    _option("--jobs", "-j", type=COUNT, help="Threads or processes. Default: one per core, 1 for little data."),
    CLUSTER,
    _flag("--require-complete", help="Also exit 3 on gaps."),
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
    _option("--symbol", "-s", required=True, help="Symbol, e.g. BTC/USD."),
    _option("--at", help="Moment on the receive clock, e.g. 2026-11-22T14:30:00Z (no zone: UTC)."),
    _option("--line", type=click.IntRange(min=0), help="Number of lines of a single file to apply."),
    _option("--levels", "-n", type=COUNT, default=10, help="Levels a side to show."),
    AS_JSON,
    _flag("--message", "as_message", help="Print the book as a Kraken snapshot message."),
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
_OUT = _option(
    "--out",
    "-o",
    required=True,
    help="Directory to write to; a path or a URL.",
    shell_complete=PLACE.shell_complete,
)
_ONLY = _option("--symbols", help="Only these symbols, comma separated.")
_JOBS = _option("--jobs", "-j", type=COUNT, help="Processes on this machine. Default: one per core, 1 for little data.")
_START = _option("--start", help="First moment on the receive clock: 2026-11-22T14:30:00Z, or nanoseconds.")
_END = _option("--end", help="Moment before which to stop.")
_DAY = _option("--day", help="Only these UTC days, comma separated: 2026-11-22,2026-11-23.")
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
        _option("--every", default="1s", help="Spacing on the receive clock (1s, 100ms, 5m), or change."),
        _option("--levels", type=_LEVELS, default=10, help="Price levels a side."),
        _flag("--wide", help="Add columns: verdict, suspect, mid, spread, ..."),
        _flag("--keep-gaps", help="Keep rows over gaps, marked in a column over_gap."),
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
        _option(
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
        _option("--levels", type=_LEVELS, default=10, help="Price levels a side in the orderbook file."),
        _flag("--arrivals-only", help="Leave out lines that are no trader's action: opening, reentry, evict, resync."),
    ),
    _other_format(
        "hftbacktest",
        "hftbacktest's level 3 events and trades (npz); beside them the backtest's parameters and the order ids.",
        _option(
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
    symbol = _option("--symbol", "-s", help="Symbol, e.g. BTC/USD; not needed if there is only one.")
    out = _option("--out", "-o", type=PATH, required=True, help="File to write: .png, .svg or .pdf.")
    return Command(name, text, source, symbol, out, *own, _START, _END, _DAY, runs=f"plot:{name}")


PLOT = Group(
    "plot",
    "Draw pictures of an archive. Needs the extra plot (matplotlib, scipy).",
    _picture(
        "depth",
        "The depth of the book over time as a heat map, with the mid price, trades and gaps.",
        _option("--levels", type=_LEVELS, default=100, help="Price levels a side to draw."),
    ),
    _picture(
        "queue",
        "The queue of a price level over time: every order a block, the next to be served at the bottom.",
        _option("--price", help="Price of the level. Default: the one with the longest queue, while it was longest."),
        _option("--side", type=click.Choice(["bid", "ask"]), help="Needed only if the price was on both sides."),
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
    _option("--http", default="127.0.0.1:9464", help="Address to listen on, HOST:PORT; port 0 takes a free one."),
    _flag("--open", "open_it", help="Open the page in the browser."),
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
    _flag("--csv", "as_csv", help="Print CSV instead of a table."),
    _JOBS,
    ENGINE,
)

# -- the embedded exchange ---------------------------------------------------------------------------------------------

REPORT = Command(
    "report",
    """Report on one UTC day: what was recorded, how much of it can be used, and what the market looked like.

    Writes a page that needs nothing else (report-DAY.html), the figures as JSON, and as Parquet with a row for each
    symbol. Exit code 2: files are damaged or messages fail the checksum; 3: there are gaps, or nothing was recorded.
    Needs the extra research.
    """,
    Argument("source", "An archive directory.", type=PATH),
    _option("--date", help="The UTC day, such as 2026-11-22. Default: the last one that is over."),
    _option("--out", "-o", default="reports", help="Directory or URL for the files."),
    ENGINE,
    AS_JSON,
)
_SERVER = (
    _option("--host", default="127.0.0.1", help="Loopback address to listen on."),
    _option("--port", type=click.IntRange(0, 65535), default=8765, help="Port; 0 takes a free one."),
    _option("--keys", type=click.IntRange(1, 100), default=1, help="Number of API keys, one for each client."),
    _option("--api-key", multiple=True, help="Accept this API key, given as KEY:SECRET (base64); may be repeated."),
    FAULTS,
    FAULT_LOG,
    FAULT_SEED,
    _option("--tls-cert", type=PATH, help="Certificate chain (PEM), for https and wss."),
    _option("--tls-key", type=PATH, help="Private key of the certificate (PEM)."),
    _option("--sent-log", type=PATH, help="Write every level3 message handed to a socket to this file, one per line."),
)
SIMULATE = Command(
    "simulate",
    """Run an exchange on this machine that speaks Kraken's protocol: token, level3, instruments, trades.

    Prints lines to paste into another shell; there `kraken-l3 record`, or any Kraken client, talks to it. Logs to
    stderr when clients come and go. Ctrl+C or SIGTERM stops it with exit code 0.

    With --write no exchange runs: the same trading is written as an archive, with trades, receipts, a journal and
    checkpoints, as a recorder would have written it. An hour takes seconds. The same options give the same data.
    """,
    _option("--write", type=PATH, help="Write an archive into this new or empty directory instead."),
    _option("--depth", type=int, help="With --write: price levels a side: 10, 100 or 1000. Default: 10."),
    _option("--start", help="With --write: start of the recording. Default: 2026-01-02T12:00:00Z."),
    _option("--gaps", type=click.IntRange(min=0), help="With --write: lost connections, evenly spread. Default: 0."),
    _option(
        "--symbols",
        default="BTC/USD,ETH/USD",
        help="Pairs, comma separated, or a number of pairs (real ones first, then made-up).",
    ),
    _option(
        "--rate",
        type=float,
        default=50.0,
        help="level3 messages per second over all pairs; inf: as fast as clients read (not with --write).",
    ),
    _option("--seed", type=int, default=0, help="The same seed makes the same trading."),
    _option("--tier", default="standard", help="Account tier whose limits apply: standard or pro."),
    *_SERVER,
    _option("--odd-numbers", type=SHARE, default=0.0, help="Share of numbers written as 1e-05 or in quotes."),
    _option(
        "--unsorted-adds",
        type=SHARE,
        help="Share of levels entering the window whose orders are sent out of time order. By default 3 of 136, as "
        "seen on Kraken; 0 suits clients that resynchronize on it.",
    ),
    DURATION,
)
REPLAY = Command(
    "replay",
    """Serve a recorded archive as if Kraken were live: token, level3, book, ticker, trades, instruments.

    Prints lines to paste into another shell, as `simulate` does. Messages come byte for byte as recorded, with their
    recorded spacing. A client that subscribes in the middle gets the verified book of that moment. The clock starts
    when every recorded pair is subscribed, or two seconds after the last new subscription. GET and POST /replay on the
    same port show and control it (docs/replay.md).

    With --live the archive is one that a recorder is writing, and each message is passed on as soon as it is written.
    """,
    Argument("path", type=PATH, help="Archive directory, or an NDJSON file of level3 messages."),
    _flag("--live", help="Relay an archive that is being recorded. No speed, no beginning and no end."),
    _option(
        "--speed", default="1", help="Recorded seconds per second; max: as fast as clients read; step: on request."
    ),
    _option("--from", "start", help="Receive time at which to begin: 2026-11-22T14:30:00Z."),
    _option("--to", "end", help="Receive time before which to end."),
    _flag("--loop", help="Begin again at the end."),
    _option("--retime", type=click.Choice(["now"]), help="Move all timestamps, so that the recording begins now."),
    _flag("--faithful-gaps", help="Where the recorder lost its connection, clients lose theirs. Default: silence."),
    ENGINE,
    _option(
        "--tier", type=click.Choice(["standard", "pro"]), help="Enforce the limits of this account tier. Default: none."
    ),
    *_SERVER,
    DURATION,
    click.Option(
        ["--recorder"], is_flag=True, default=False, hidden=True, help="A recorder runs this: its end ends this."
    ),
)
CONFORMANCE = Command(
    "conformance",
    """Hold what is known of Kraken's protocol against a server: some 90 checks, each with its source.

    Without addresses it asks the server of the configuration: Kraken, or the one that `simulate` or `replay` has
    printed. The key comes from there too; without one, only what is public is checked. It only reads, and keeps
    within Kraken's limits. Exit code 0: everything that could be checked holds; 2: something is broken.
    """,
    CONFIG,
    _option("--rest-url", help="REST endpoint. If an address is given, only those given are asked."),
    _option("--ws-url", help="WebSocket endpoint of level3."),
    _option("--public-ws-url", help="Public WebSocket endpoint."),
    _option("--symbols", help="Up to three pairs, comma separated. Default: BTC/USD, ETH/USD, SOL/USD, as listed."),
    _option("--depths", default="10,100,1000", help="level3 depths that the server offers."),
    _option("--duration", type=Duration(), default="15s", help="How long to listen to updates."),
    _flag("--with-refusals", help="Also make a wrong key, signature and nonce, each once: they count for a lockout."),
    _flag("--with-limits", help="Also exceed the limits on symbols and subscriptions, and idle for a minute."),
    AS_JSON,
)
DEMO = Command(
    "demo",
    """Record from a simulated exchange on this machine, cut one connection, and show the archive. Needs no key.

    Exchange and recorder are separate processes that speak Kraken's protocol over sockets: token, subscriptions,
    snapshots, updates, heartbeats. Takes about 10 seconds.
    """,
    _option("--out", type=PATH, default="demo", help="Directory of the archive; that of an earlier demo is replaced."),
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
    INFO,
    RECOVER,
    SEAL,
    CHECK,
    KEEP,
    MERGE,
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
