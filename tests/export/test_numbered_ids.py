"""Order ids as numbers: the same everywhere, never one for two, and the way back."""

import csv

import numpy as np
import pytest
from archives import record
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_l3.archive.reader import open_archive
from kraken_l3.export.formats.event_stream import Source, Written, write_days
from kraken_l3.export.formats.numbered_ids import IdsCollide, NumberedIds
from kraken_l3.export.formats.resting import Orders
from kraken_l3.export.storage import LocalStore
from kraken_l3.rebuild.metadata import metadata_in
from kraken_l3.rebuild.playback import chains_in

IDS = st.one_of(st.binary(min_size=1, max_size=8), st.binary(min_size=18, max_size=30)).filter(
    lambda each: not set(each) & set(b'\r\n\0",\xff')
)


def numbers_of(names: list[bytes], **options) -> list[int]:
    ids = NumberedIds(**options)
    numbers = ids.of(names).tolist()
    ids.close()
    return numbers


def map_of(ids: NumberedIds, directory) -> dict[int, bytes]:
    ids.write(LocalStore(directory), "ids.csv")
    with (directory / "ids.csv").open(encoding="latin-1", newline="") as file:
        rows = [(int(row["number"]), row["order_id"].encode("latin-1")) for row in csv.DictReader(file)]
    assert rows == sorted(rows)
    return dict(rows)


@settings(deadline=None)
@given(st.lists(IDS, min_size=1))
def test_a_number_is_the_same_whatever_it_comes_with_and_leads_back(tmp_path_factory, names):
    ids = NumberedIds()
    numbers = ids.of(names).tolist()
    assert numbers == [numbers_of([name])[0] for name in names]
    assert all(0 < number < 1 << 63 for number in numbers)
    assert map_of(ids, tmp_path_factory.mktemp("ids")) == dict(zip(numbers, names))


def test_more_ids_than_are_sorted_at_once(tmp_path):
    names = [b"O%018d" % number for number in range(200_000)]
    ids = NumberedIds(range_rows=30_000)
    numbers = [int(number) for start in (0, 50_000, 0) for number in ids.of(names[start : start + 150_000])]
    assert len(set(numbers)) == len(names)
    assert map_of(ids, tmp_path) == dict(zip(numbers, names[:150_000] + names[50_000:]))


def test_a_map_of_very_many_ids_is_whole(tmp_path):
    count = 1_000_000  # more than Arrow puts into one chunk
    ids = NumberedIds(range_rows=2 * count)
    names = np.char.add("OAAAAA-AAAAA-", np.arange(count).astype("S6").astype(str)).astype("S20")
    column = np.zeros(count, np.int64)
    numbers = ids.of_orders(Orders(np.arange(count), column, column, column, column, column, names), np.arange(count))
    ids.write(LocalStore(tmp_path), "ids.csv")
    lines = (tmp_path / "ids.csv").read_bytes().splitlines()
    order = np.argsort(numbers)
    assert lines[1:] == [b"%d,%s" % pair for pair in zip(numbers[order].tolist(), names[order].tolist())]


def test_two_ids_of_one_number_are_told(tmp_path):
    ids = NumberedIds(4)
    ids.of([b"O%d" % number for number in range(17)])
    with pytest.raises(IdsCollide):
        ids.write(LocalStore(tmp_path), "ids.csv")
    assert not list(tmp_path.iterdir())


def test_another_salt_gives_other_numbers():
    assert numbers_of([b"OA"], salt=1) != numbers_of([b"OA"])


def test_the_map_has_only_the_orders_that_were_numbered(tmp_path):
    ids = NumberedIds()
    column = np.zeros(3, np.int64)
    orders = Orders(np.array([0, 1, 0]), column, column, column, column, column == 0, np.array([b"OA", b"OB"], "S20"))
    [number, again] = ids.of_orders(orders, np.array([0, 2])).tolist()
    assert number == again
    assert map_of(ids, tmp_path) == {number: b"OA"}


def test_where_ids_collide_all_is_written_again_with_another_salt(tmp_path):
    archive = open_archive(record(tmp_path / "a", symbols=["BTC/USD"], messages=200))
    salts = []

    class Day:
        def __init__(self, day):
            salts.append(day.salt)

        def open_with(self, *_):
            pass

        updates = snapshot = open_with

        def finish(self):
            if len(salts) < 3:
                raise IdsCollide
            return Written(["file"])

        def abandon(self):
            pass

    [chain] = chains_in(archive)
    assert write_days(Source(archive, "BTC/USD", metadata_in(archive), chain), Day).names == ["file"]
    assert salts == [0, 1, 2]
