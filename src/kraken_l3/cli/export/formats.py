"""`kraken-l3 export tardis`, `lobster`, `hftbacktest`, `nautilus`: other tools' formats."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from kraken_l3.api import Archive
from kraken_l3.archive.remote import path_of
from kraken_l3.cli.console import plain
from kraken_l3.cli.export.request import ExportRequest, counts_text, export_command, hidden_texts
from kraken_l3.cli.json_output import print_result
from kraken_l3.errors import DataMissing, UsageError

__all__ = ["hftbacktest", "lobster", "nautilus", "tardis"]

_RESYNCS = ("diff", "clear")


@export_command
def tardis(request: ExportRequest) -> int:
    """Run `kraken-l3 export tardis`; gives its exit code back."""
    return _export(request, "tardis")


@export_command
def lobster(request: ExportRequest, levels: int, arrivals_only: bool) -> int:
    """Run `kraken-l3 export lobster`; gives its exit code back."""
    return _export(request, "lobster", levels=levels, arrivals_only=arrivals_only)


@export_command
def hftbacktest(request: ExportRequest, resync: str) -> int:
    """Run `kraken-l3 export hftbacktest`; gives its exit code back."""
    if resync not in _RESYNCS:
        raise UsageError(f"unknown mode {resync!r}", where="--resync", hint="Use diff or clear")
    return _export(request, "hftbacktest", resync=resync)


@export_command
def nautilus(request: ExportRequest) -> int:
    """Run `kraken-l3 export nautilus`; gives its exit code back."""
    if "://" in request.out:
        raise UsageError("the catalog can only be written to a local directory", where="--out")
    return _export(request, "nautilus")


def _export(request: ExportRequest, name: str, **options: Any) -> int:
    from kraken_l3.export.bulk import export_format

    unread = request.begin()
    names = sorted(request.symbols) if request.symbols is not None else _all_symbols(request)
    total = request.total()
    with request.progress(total) as step:
        result = export_format(
            request.source,
            request.out,
            name,
            names,
            options=options,
            jobs=request.jobs_for(total),
            windows=request.windows,
            engine=request.engine,
            instruments=request.instruments,
            progress=step,
        )
    for note in result.notes:
        click.echo(plain(note), err=True)
    exit_code = result.exit_code() or (DataMissing.exit_code if unread else 0)
    if request.as_json:
        return print_result({"out": request.out, **dataclasses.asdict(result)}, exit_code)
    for file in result.files:
        click.echo(plain(f"{request.out.rstrip('/')}/{file.name}"))
    for text in hidden_texts(result):
        click.echo(plain(text), err=True)
    click.echo(counts_text(result), err=True)
    return exit_code


def _all_symbols(request: ExportRequest) -> list[str]:
    return Archive(path_of(request.source), engine=request.engine).symbols
