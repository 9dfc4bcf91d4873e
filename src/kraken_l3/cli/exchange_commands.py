"""What can be typed of the embedded exchange: its servers, what judges a server, and the demo (see `commands`)."""

from __future__ import annotations

import click

from kraken_l3.cli.command import Argument, Command, Duration
from kraken_l3.cli.shared_options import (
    AS_JSON,
    CONFIG,
    DURATION,
    ENGINE,
    FAULT_LOG,
    FAULT_SEED,
    FAULTS,
    PATH,
    SHARE,
    flag,
    option,
)

__all__ = ["CONFORMANCE", "DEMO", "REPLAY", "SIMULATE"]

_SERVER = (
    option("--host", default="127.0.0.1", help="Loopback address to listen on."),
    option("--port", type=click.IntRange(0, 65535), default=8765, help="Port; 0 takes a free one."),
    option("--keys", type=click.IntRange(1, 100), default=1, help="Number of API keys, one for each client."),
    option("--api-key", multiple=True, help="Accept this API key, given as KEY:SECRET (base64); may be repeated."),
    FAULTS,
    FAULT_LOG,
    FAULT_SEED,
    option("--tls-cert", type=PATH, help="Certificate chain (PEM), for https and wss."),
    option("--tls-key", type=PATH, help="Private key of the certificate (PEM)."),
    option("--sent-log", type=PATH, help="Write every level3 message handed to a socket to this file, one per line."),
)
SIMULATE = Command(
    "simulate",
    """Run an exchange on this machine that speaks Kraken's protocol: token, level3, instruments, trades.

    Prints lines to paste into another shell; there `kraken-l3 record`, or any Kraken client, talks to it. Logs to
    stderr when clients come and go. Ctrl+C or SIGTERM stops it with exit code 0.

    With --write no exchange runs: the same trading is written as an archive, with trades, receipts, a journal and
    checkpoints, as a recorder would have written it. An hour takes seconds. The same options give the same data.
    """,
    option("--write", type=PATH, help="Write an archive into this new or empty directory instead."),
    option("--depth", type=int, help="With --write: price levels a side: 10, 100 or 1000. Default: 10."),
    option("--start", help="With --write: start of the recording. Default: 2026-01-02T12:00:00Z."),
    option("--gaps", type=click.IntRange(min=0), help="With --write: lost connections, evenly spread. Default: 0."),
    option(
        "--symbols",
        default="BTC/USD,ETH/USD",
        help="Pairs, comma separated, or a number of pairs (real ones first, then made-up).",
    ),
    option(
        "--rate",
        type=float,
        default=50.0,
        help="level3 messages per second over all pairs; inf: as fast as clients read (not with --write).",
    ),
    option("--seed", type=int, default=0, help="The same seed makes the same trading."),
    option("--tier", default="standard", help="Account tier whose limits apply: standard or pro."),
    *_SERVER,
    option("--odd-numbers", type=SHARE, default=0.0, help="Share of numbers written as 1e-05 or in quotes."),
    option(
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
    flag("--live", help="Relay an archive that is being recorded. No speed, no beginning and no end."),
    option("--speed", default="1", help="Recorded seconds per second; max: as fast as clients read; step: on request."),
    option("--from", "start", help="Receive time at which to begin: 2026-11-22T14:30:00Z."),
    option("--to", "end", help="Receive time before which to end."),
    flag("--loop", help="Begin again at the end."),
    option("--retime", type=click.Choice(["now"]), help="Move all timestamps, so that the recording begins now."),
    flag("--faithful-gaps", help="Where the recorder lost its connection, clients lose theirs. Default: silence."),
    ENGINE,
    option(
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
    option("--rest-url", help="REST endpoint. If an address is given, only those given are asked."),
    option("--ws-url", help="WebSocket endpoint of level3."),
    option("--public-ws-url", help="Public WebSocket endpoint."),
    option("--symbols", help="Up to three pairs, comma separated. Default: BTC/USD, ETH/USD, SOL/USD, as listed."),
    option("--depths", default="10,100,1000", help="level3 depths that the server offers."),
    option("--duration", type=Duration(), default="15s", help="How long to listen to updates."),
    flag("--with-refusals", help="Also make a wrong key, signature and nonce, each once: they count for a lockout."),
    flag("--with-limits", help="Also exceed the limits on symbols and subscriptions, and idle for a minute."),
    AS_JSON,
)
DEMO = Command(
    "demo",
    """Record from a simulated exchange on this machine, cut one connection, and show the archive. Needs no key.

    Exchange and recorder are separate processes that speak Kraken's protocol over sockets: token, subscriptions,
    snapshots, updates, heartbeats. Takes about 10 seconds. With two connections nothing is lost; --redundancy 1 shows
    what one alone loses.
    """,
    option("--redundancy", type=click.IntRange(1, 2), default=2, help="Connections that carry each symbol."),
    option("--out", type=PATH, default="demo", help="Directory of the archive; that of an earlier demo is replaced."),
)
