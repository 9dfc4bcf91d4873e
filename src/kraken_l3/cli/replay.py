"""`kraken-l3 replay`: a recorded archive as a live feed that speaks Kraken's protocol."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Optional

from kraken_l3.api.arguments import moment_ns
from kraken_l3.cli.console import print_error
from kraken_l3.cli.serving import ClientLog, given_keys, must_be_loopback, serve, tls_context
from kraken_l3.clock import SystemClock
from kraken_l3.exchange.fault_log import FaultLog
from kraken_l3.exchange.faults import load_script
from kraken_l3.exchange.limits import Limits
from kraken_l3.exchange.replay.server import NO_LIMITS, Replay
from kraken_l3.exchange.sent_log import SentLog
from kraken_l3.exchange.server import made_up_keys
from kraken_l3.telemetry import configure_logging

__all__ = ["replay"]


def replay(
    path: Path,
    speed: str,
    start: Optional[str],
    end: Optional[str],
    loop: bool,
    retime: Optional[str],
    faithful_gaps: bool,
    engine: str,
    host: str,
    port: int,
    tier: Optional[str],
    keys: int,
    api_key: tuple[str, ...],
    faults: Optional[Path],
    fault_log: Optional[Path],
    fault_seed: int,
    tls_cert: Optional[Path],
    tls_key: Optional[Path],
    sent_log: Optional[Path],
    duration: Optional[float],
) -> None:
    """Run `kraken-l3 replay`."""
    must_be_loopback(host)
    configure_logging()
    clock = SystemClock()
    exchange = Replay(
        path,
        speed=speed,
        start_ns=moment_ns(start, "--from") if start is not None else None,
        end_ns=moment_ns(end, "--to") if end is not None else None,
        loop=loop,
        retime=retime is not None,
        faithful_gaps=faithful_gaps,
        engine_name=engine,
        limits=Limits.of_tier(tier) if tier is not None else NO_LIMITS,
        faults=load_script(faults) if faults is not None else (),
        fault_log=FaultLog(fault_log) if fault_log is not None else None,
        fault_seed=fault_seed,
        host=host,
        port=port,
        tls=tls_context(tls_cert, tls_key),
        clock=clock,
        keys=given_keys(api_key) if api_key else made_up_keys(keys),
        sent=SentLog(keep=False, path=sent_log),
        observer=ClientLog(clock),
    )
    asyncio.run(serve(exchange, duration))
    for error in exchange.recording.hidden:
        print_error(f"kraken-l3: not replayed: {error}")
