"""A compressed frame that cannot be unpacked hides the rest of its file: the other files are exported all the same."""

import pyarrow.parquet as pq
import pytest

from kraken_l3.archive.zstd import Frame, compress, encode_table
from kraken_l3.exchange.flow import generate
from kraken_l3.export.bulk import export_format, export_orders, export_table
from kraken_l3.export.events import EventsTable

DAYS = ("2026-11-22", "2026-11-23", "2026-11-24")
HALF, MESSAGES = 100, 200


def packed(lines, *, harmed):
    """The lines in two frames with a seek table, as a sealed file has it; the second perhaps with a changed byte."""
    data, frames = b"", []
    for half in (lines[:HALF], lines[HALF:]):
        content = b"".join(line + b"\n" for line in half)
        frame = compress(content)
        frames.append(Frame(len(data), len(frame), sum(each.size for each in frames), len(content)))
        data += frame
    if harmed:
        at = frames[1].offset + frames[1].length // 2
        data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
    return data + encode_table(frames)


def write(directory, *, harmed):
    directory.mkdir(exist_ok=True)
    for number, day in enumerate(DAYS):
        lines = list(generate(symbols=["BTC/USD"], messages=MESSAGES, seed=number))
        (directory / f"l3-{day}.ndjson.zst").write_bytes(packed(lines, harmed=harmed and number == 1))


@pytest.fixture
def archive(tmp_path):
    write(tmp_path / "data", harmed=True)
    return tmp_path / "data"


def rows(out):
    """Numbers of rows by day."""
    return {path.parent.name[-10:]: pq.read_metadata(path).num_rows for path in out.rglob("*.parquet")}


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_other_days_have_their_tables_and_the_damage_is_told(archive, tmp_path, jobs):
    result = export_table(str(archive), str(tmp_path / "out"), EventsTable(), jobs=jobs)
    (hidden,) = result.hidden
    assert f"l3-{DAYS[1]}.ndjson.zst" in hidden
    assert result.exit_code() == 2
    assert result.messages == MESSAGES + HALF + MESSAGES
    found = rows(tmp_path / "out")
    write(archive, harmed=False)
    again = export_table(str(archive), str(tmp_path / "out"), EventsTable(), jobs=jobs)  # nothing of it counts as done
    assert (again.hidden, again.exit_code(), again.messages) == ([], 0, 3 * MESSAGES)
    whole = rows(tmp_path / "out")
    assert found.keys() == whole.keys()
    changed = [day for day in whole if found[day] != whole[day]]
    assert changed == [DAYS[1]]


@pytest.mark.parametrize("name", ["lobster", "hftbacktest", "tardis"])
def test_so_it_is_for_other_tools(archive, tmp_path, name):
    result = export_format(str(archive), str(tmp_path / "out"), name, ["BTC/USD"])
    assert (len(result.hidden), result.exit_code()) == (1, 2)
    write(archive, harmed=False)
    again = export_format(str(archive), str(tmp_path / "out"), name, ["BTC/USD"])
    assert (again.hidden, again.exit_code()) == ([], 0)
    assert {file.name for file in result.files} <= {file.name for file in again.files}


@pytest.mark.parametrize("jobs", [1, 2])
def test_lives_of_orders_end_where_the_damage_begins(archive, tmp_path, jobs):
    result = export_orders(str(archive), str(tmp_path / "out"), jobs=jobs)
    assert (len(result.hidden), result.exit_code(), result.messages) == (1, 2, MESSAGES + HALF + MESSAGES)
    paths = [tmp_path / "out" / file.name for file in result.files]
    ends = {path.parent.name[-10:]: pq.read_table(path)["end_cause"].to_pylist() for path in paths}
    assert {day: "gap" in causes for day, causes in ends.items()} == dict(zip(DAYS, (True, True, False)))
    write(archive, harmed=False)
    again = export_orders(str(archive), str(tmp_path / "out"), jobs=jobs)
    assert (again.hidden, again.exit_code(), again.messages, again.already_there) == ([], 0, 3 * MESSAGES, 0)
