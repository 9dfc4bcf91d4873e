"""Done markers: when a piece of an export counts as done."""

from __future__ import annotations

import json

import pytest

from kraken_l3.export.result import ExportedFile, ExportResult
from kraken_l3.export.resume import DoneMarker
from kraken_l3.export.storage import LocalStore, write_file

KEY = ["events", 1]


@pytest.fixture
def store(tmp_path):
    """With one piece done: a file of five bytes."""
    store = LocalStore(tmp_path)
    write_file(store, "events/a.parquet", b"12345")
    made = ExportedFile("BTC/USD", "2026-11-22", "events/a.parquet", 3, 5, left_out=1, suspect=2)
    DoneMarker(store, "events-x", KEY).write(ExportResult([made], 10, 1000, 10, 8, 1, 1, notes=["a note"]))
    return store


def test_what_was_written_is_read_back_and_counts_as_already_there(store):
    result = DoneMarker(store, "events-x", KEY).result
    assert result == ExportResult(
        [ExportedFile("BTC/USD", "2026-11-22", "events/a.parquet", 3, 5, 1, 2)],
        10,
        1000,
        10,
        8,
        1,
        1,
        already_there=1,
        notes=["a note"],
    )
    assert result.exit_code() == 2


def test_another_piece_is_not_done(store):
    assert DoneMarker(store, "events-y", KEY).result is None


def test_it_does_not_hold_when_something_that_it_depends_on_has_changed(store):
    assert DoneMarker(store, "events-x", ["events", 2]).result is None


@pytest.mark.parametrize("content", [None, b"1234", b"123456"])
def test_it_does_not_hold_when_a_file_is_gone_or_of_another_size(store, tmp_path, content):
    (tmp_path / "events/a.parquet").unlink()
    if content is not None:
        (tmp_path / "events/a.parquet").write_bytes(content)
    assert DoneMarker(store, "events-x", KEY).result is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda _: "[]",
        lambda _: "{}",
        lambda _: '"text"',
        lambda text: text.replace('"name"', '"nome"'),
        lambda text: text.replace('"lines"', '"columns"'),
        lambda text: json.dumps({**json.loads(text), "result": None}),
        lambda text: json.dumps({**json.loads(text), "result": {"files": [1]}}),
    ],
)
def test_a_damaged_marker_or_one_of_another_version_means_to_do_it_again(store, tmp_path, damage):
    [path] = tmp_path.glob("_jobs/*.json")
    path.write_text(damage(path.read_text()))
    assert DoneMarker(store, "events-x", KEY).result is None
