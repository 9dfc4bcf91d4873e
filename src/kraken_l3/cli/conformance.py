"""`kraken-l3 conformance`: what is known of Kraken's protocol, held against a server."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, Optional

import click

from kraken_l3.cli.console import Screen, plain
from kraken_l3.cli.json_output import print_result
from kraken_l3.cli.options import read_settings
from kraken_l3.config.settings import Settings
from kraken_l3.conformance.check import Outcome, Result, judge
from kraken_l3.conformance.checks import CHECKS
from kraken_l3.conformance.run import Request, converse
from kraken_l3.errors import DamageFound, UsageError
from kraken_l3.redaction import SECRETS

__all__ = ["conformance"]

_STYLES = {Outcome.HOLDS: "green", Outcome.BROKEN: "bold red", Outcome.SKIPPED: "dim"}
_LONGEST_S = 3_600.0


def conformance(
    config: Optional[Path],
    rest_url: Optional[str],
    ws_url: Optional[str],
    public_ws_url: Optional[str],
    symbols: Optional[str],
    depths: str,
    duration: float,
    with_refusals: bool,
    with_limits: bool,
    as_json: bool,
) -> int:
    """Run `kraken-l3 conformance`; gives its exit code back."""
    if duration > _LONGEST_S:
        raise UsageError(f"--duration must be at most 1h, got {duration:g} seconds")
    settings = read_settings(config, rest_url=rest_url, ws_url=ws_url, public_ws_url=public_ws_url, symbols=symbols)
    key, secret = settings.api_key.get_secret_value(), settings.api_secret.get_secret_value()
    request = Request(
        *_addresses(settings, rest_url, ws_url, public_ws_url),
        key=(key, secret) if key and secret else None,
        symbols=tuple(settings.symbols) if symbols else (),
        depths=_depths(depths),
        listen_s=duration,
        refusals=with_refusals,
        limits=with_limits,
    )
    click.echo(plain(f"Asking {request.rest_url}; takes about {_seconds(request):.0f} s"), err=True)
    transcript = asyncio.run(converse(request))
    # A server may repeat what it was sent, and the token was sent
    results = [each._replace(seen=SECRETS.redact(each.seen)) for each in judge(transcript, CHECKS)]
    code = DamageFound.exit_code if any(each.outcome is Outcome.BROKEN for each in results) else 0
    if as_json:
        return print_result(_as_dict(request, transcript.symbols, results), code)
    _print(results)
    return code


def _addresses(
    settings: Settings, rest_url: Optional[str], ws_url: Optional[str], public_ws_url: Optional[str]
) -> tuple[str, str, str]:
    """All of the configuration, or those that were given: one server is never asked with another's addresses."""
    if rest_url is None and ws_url is None and public_ws_url is None:
        return settings.rest_url, settings.ws_url, settings.public_ws_url
    if rest_url is None:
        raise UsageError("--ws-url and --public-ws-url need --rest-url, where the token and the pairs come from")
    return settings.rest_url, settings.ws_url if ws_url else "", settings.public_ws_url if public_ws_url else ""


def _depths(text: str) -> tuple[int, ...]:
    try:
        depths = tuple(sorted({10, *(int(each) for each in text.split(","))}))
    except ValueError as error:
        raise UsageError(f"--depths must be numbers such as 10,100, got {text!r}") from error
    if not set(depths) <= {10, 100, 1000}:
        raise UsageError(f"--depths must be of 10, 100 and 1000, got {text!r}")
    return depths


def _seconds(request: Request) -> float:
    return max(request.listen_s + 6 * request.quiet_s, 90.0 if request.limits else 0.0)


def _as_dict(request: Request, symbols: list[str], results: list[Result]) -> dict[str, Any]:
    return {
        "rest_url": request.rest_url,
        "ws_url": request.ws_url or None,
        "public_ws_url": request.public_ws_url or None,
        "symbols": symbols,
        "checks": [
            {
                "id": each.check.id,
                "says": each.check.says,
                "source": each.check.source,
                "certainty": each.check.certainty.value,
                "outcome": each.outcome.value,
                "seen": each.seen,
            }
            for each in results
        ],
    }


def _print(results: list[Result]) -> None:
    screen = Screen()
    width = max(len(each.check.id) for each in results)
    skipped: dict[str, list[str]] = {}
    for each in results:
        if each.outcome is Outcome.SKIPPED:
            skipped.setdefault(each.seen, []).append(each.check.id)
            continue
        screen.line(f"{each.outcome.value:<6}  {each.check.id:<{width}}  {each.seen}", _STYLES[each.outcome])
        if each.outcome is Outcome.BROKEN:
            screen.line(f"What is to hold: {each.check.says}")
            screen.line(f"({each.check.certainty.value}: {each.check.source})", "dim")
    for reason, names in skipped.items():
        screen.line(f"skipped, {reason}: {', '.join(names)}", _STYLES[Outcome.SKIPPED])
    counts = Counter(each.outcome for each in results)
    told = [f"{counts[outcome]} {words}" for outcome, words in _SUMS if counts[outcome]]
    screen.line(f"{len(results)} checks: {', '.join(told)}", "bold")


_SUMS = ((Outcome.HOLDS, "hold"), (Outcome.BROKEN, "broken"), (Outcome.SKIPPED, "skipped"))
