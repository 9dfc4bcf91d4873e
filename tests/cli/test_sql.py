"""`kraken-l3 sql` and `archive.duckdb()`: the tables of an archive or of an exported directory as views."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

import kraken_l3
from kraken_l3.cli.main import main
from kraken_l3.errors import DataMissing, UsageError
from kraken_l3.export.bulk import export_table
from kraken_l3.export.events import EventsTable

pytest.importorskip("duckdb")
from kraken_l3.export.sql import TABLES, cache_of, connect, tables_in


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("sql") / "data"
    kraken_l3.simulate(path, "4m", symbols=["BTC/USD", "ETH/USD"], rate=8.0, gaps=1)
    return path


def run(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["kraken-l3", "sql", *words])
    with pytest.raises(SystemExit) as left:
        main()
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out, told.err


def test_a_query_over_an_archive_exports_what_it_names_and_that_once(source, monkeypatch, capsys):
    query = (
        "select symbol, count(*) as n, sum(messages) as m from verdicts where usable group by symbol order by symbol"
    )
    code, out, _ = run(monkeypatch, capsys, query, str(source), "--json")
    told = json.loads(out)["result"]
    assert (code, told["columns"]) == (0, ["symbol", "n", "m"])
    assert [row[0] for row in told["rows"]] == ["BTC/USD", "ETH/USD"]
    assert {path.name for path in cache_of(source).iterdir()} == {"_jobs", "snapshots", "verdicts", "gaps"}
    files = {path: path.stat().st_mtime_ns for path in (cache_of(source) / "snapshots").rglob("*.parquet")}
    run(monkeypatch, capsys, query, str(source))
    assert {path: path.stat().st_mtime_ns for path in (cache_of(source) / "snapshots").rglob("*.parquet")} == files


def test_rows_of_lines_that_the_archive_has_no_more_are_not_told(tmp_path):
    path = tmp_path / "data"
    query = "select distinct symbol, date::varchar from verdicts order by 1"
    kraken_l3.simulate(path, "20s", symbols=["BTC/USD", "ETH/USD"])
    archive = kraken_l3.open(path)
    assert [row[0] for row in archive.duckdb(["verdicts"]).sql(query).fetchall()] == ["BTC/USD", "ETH/USD"]
    (cache_of(path) / "note").touch()
    archive.duckdb(["verdicts"])
    assert (cache_of(path) / "note").exists()  # of the same archive
    for symbol, start in (("ETH/USD", "2026-01-02T12:00:00Z"), ("BTC/USD", "2026-01-05T00:00:00Z")):
        shutil.rmtree(path)
        kraken_l3.simulate(path, "20s", symbols=[symbol], start=start, seed=3)
        rows = kraken_l3.open(path).duckdb(["verdicts"]).sql(query).fetchall()
        assert rows == [(symbol, start[:10])]
    assert not (cache_of(path) / "note").exists()


def test_a_directory_that_somebody_exported_is_never_removed(tmp_path):
    path = tmp_path / "data"
    kraken_l3.simulate(path, "20s", symbols=["BTC/USD"])
    export_table(str(path), str(cache_of(path)), EventsTable())
    theirs = set(cache_of(path).rglob("*.parquet"))
    shutil.rmtree(path)
    kraken_l3.simulate(path, "20s", symbols=["ETH/USD"], start="2026-01-05T00:00:00Z")
    kraken_l3.open(path).duckdb(["verdicts"])
    assert theirs <= set(cache_of(path).rglob("*.parquet"))


def test_without_a_place_for_the_tables_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    path = tmp_path / "data"
    kraken_l3.simulate(path, "20s", symbols=["BTC/USD"])
    cache_of(path).write_text("in the way")
    code, _, err = run(monkeypatch, capsys, "select * from verdicts", str(path))
    assert code == 5
    assert "cannot write" in err
    assert "--out" not in err
    assert "query that" in err


def test_every_table_is_a_view(source):
    connection = kraken_l3.open(source).duckdb()
    for name in TABLES:
        rows = connection.sql(f"select count(*), min(symbol), max(symbol) from {name}").fetchall()
        assert rows[0][0] > 0, name
        assert rows[0][1:] == ("BTC/USD", "ETH/USD"), name
    [(fills, trades)] = connection.sql(
        "select (select count(*) from events where trade_id is not null),"
        " (select count(distinct (symbol, trade_id)) from trades)"
    ).fetchall()
    assert 0 < fills <= trades


def test_an_exported_directory_is_taken_as_it_is(source, tmp_path, monkeypatch, capsys):
    export_table(str(source), str(tmp_path / "tables"), EventsTable())
    code, out, _ = run(
        monkeypatch, capsys, "select ts_recv, price from events limit 2", str(tmp_path / "tables"), "--csv"
    )
    lines = out.splitlines()
    assert (code, lines[0], len(lines)) == (0, "ts_recv,price", 3)
    assert lines[1].split(",")[0].endswith("Z")
    assert not cache_of(tmp_path / "tables").exists()
    code, out, err = run(monkeypatch, capsys, "select * from orders", str(tmp_path / "tables"))
    assert (code, "kraken-l3 export orders" in err) == (3, True)
    with pytest.raises(UsageError, match="no table"):
        connect(str(tmp_path / "tables"), ["fills"])
    with pytest.raises(DataMissing):
        connect(str(tmp_path / "tables"), ["features"])


def test_a_mistake_is_one_clear_line(source, monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, "select nothing from verdicts", str(source))
    assert (code, out) == (1, "")
    assert "nothing" in err
    assert "Traceback" not in err
    code, _, err = run(monkeypatch, capsys, "selekt 1", str(source))
    assert code == 1


@pytest.mark.parametrize(
    "query",
    [
        "copy (select * from verdicts) to 'victim'",
        "select 1; copy (select 1) to 'victim'",
        "explain analyze copy (select 1) to 'victim'",
        "attach 'victim'",
        "drop view verdicts",
        "",
    ],
)
def test_a_query_that_does_more_than_read_is_refused(source, query, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "victim").write_text("kept")
    code, out, err = run(monkeypatch, capsys, query, str(source))
    assert (code, out) == (1, "")
    assert "the query must be one SELECT" in err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


def test_a_table_on_the_terminal(source, monkeypatch, capsys):
    code, out, _ = run(
        monkeypatch, capsys, "select symbol, max(covered) as c from verdicts group by 1 order by 1", str(source)
    )
    assert code == 0
    assert out.split()[:4] == ["symbol", "c", "BTC/USD", "1"]


def test_tables_that_a_query_names():
    assert tables_in("SELECT * FROM Events e JOIN gaps USING (symbol)") == ["events", "gaps"]
    assert tables_in("select 1") == []
    assert cache_of(Path("/a/data/")) == Path("/a/data.tables")
