"""A precision that changes within the data, as other tools' files show it: numbers stay what they were."""

import csv
import gzip
import json
from decimal import Decimal

import pytest

from kraken_l3.errors import DamageFound
from kraken_l3.export.bulk import export_format
from processes import ROOT

CASES = ROOT / "tests" / "engine" / "cases"
NAMES = ("precision_falls.ndjson", "precision_rises.ndjson")


def orders(path):
    """(price, quantity) of all orders that a message states."""
    for line in path.read_text().splitlines():
        for each in json.loads(line, parse_float=Decimal, parse_int=Decimal)["data"]:
            for order in [*each["bids"], *each["asks"]]:
                yield order["limit_price"], order["order_qty"]


def exported(path, out, name):
    (symbol,) = {each["symbol"] for line in path.read_text().splitlines() for each in json.loads(line)["data"]}
    return export_format(str(path), str(out), name, [symbol])


@pytest.mark.parametrize("case", NAMES)
def test_tardis_has_the_prices_that_were_stated(tmp_path, case):
    result = exported(CASES / case, tmp_path, "tardis")
    assert (result.exit_code(), result.messages) == (0, result.ok)
    (path,) = tmp_path.glob("tardis/*incremental*")
    with gzip.open(path, "rt") as file:
        rows = [(Decimal(row["price"]), Decimal(row["amount"])) for row in csv.DictReader(file)]
    assert {price for price, _ in rows} == {price for price, _ in orders(CASES / case)}
    assert {amount for _, amount in rows if amount} <= {qty for _, qty in orders(CASES / case)}


@pytest.mark.parametrize("case", NAMES)
def test_lobster_says_one_scale_and_keeps_to_it(tmp_path, case):
    result = exported(CASES / case, tmp_path, "lobster")
    assert result.exit_code() == 0
    scales = json.loads(next(tmp_path.glob("lobster/*_scales.json")).read_text())
    lines = next(tmp_path.glob("lobster/*_message_*")).read_text().splitlines()
    rows = [row for row in csv.reader(lines) if row[1] != "7"]  # without halts, which have no order
    prices = {Decimal(row[4]).scaleb(-scales["price_scale"]) for row in rows}
    sizes = {Decimal(row[3]).scaleb(-scales["size_scale"]) for row in rows}
    assert prices <= {price for price, _ in orders(CASES / case)}
    assert sizes <= {qty for _, qty in orders(CASES / case)}
    assert len(prices) > 1


def test_what_does_not_fit_with_so_many_decimals_is_refused(tmp_path):
    lines = []
    for second, qty in enumerate(("9000000000000000000", "0.5")):
        at = f"2026-11-20T10:00:0{second}.000000000Z"
        order = f'{{"order_id":"OBHHHH-HHHHH-HHHHHH","limit_price":100,"order_qty":{qty},"timestamp":"{at}"}}'
        data = f'{{"symbol":"X/USD","checksum":1,"bids":[{order}],"asks":[],"timestamp":"{at}"}}'
        lines.append(f'{{"channel":"level3","type":"snapshot","data":[{data}]}}')
    path = tmp_path / "l3.ndjson"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DamageFound, match="a qty does not fit"):
        exported(path, tmp_path / "out", "tardis")
    assert not [each for each in (tmp_path / "out").rglob("*") if each.name.endswith((".gz", ".tmp"))]
