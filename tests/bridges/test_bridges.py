"""The bridges in examples/, into Redis, Kafka, QuestDB and ClickHouse: from an archive, and live from a replay.

`make test-bridges` installs their clients (.venv-bridges). Redis and ClickHouse are Debian's servers where they are
installed; Kafka is the broker that librdkafka brings for tests; QuestDB is a socket that takes its line protocol.
"""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from kraken_l3.archive.reader import open_archive
from kraken_l3.exchange.replay.server import Replay
from kraken_l3.exchange.written import write_archive

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ["BTC/USD", "ETH/USD"]
WAIT_S = 60


@pytest.fixture(scope="module")
def python():
    found = ROOT / ".venv-bridges" / "bin" / "python"
    if not found.exists():
        pytest.skip("the clients are not installed ('make test-bridges' does it)")
    return str(found)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bridges") / "archive"
    write_archive(directory, duration_ns=20 * 10**9, symbols=SYMBOLS, depth=10, rate=50, seed=1)
    return directory


@pytest.fixture(scope="module")
def lines(archive):
    return [line.payload for line in open_archive(archive).lines("level3")]


@pytest.fixture(params=["archive", "live"])
def source(request, archive):
    """What a bridge is given: the archive, or the address of a server that replays it."""

    @contextmanager
    def serve():
        if request.param == "archive":
            yield str(archive), {}
            return
        ready, stop = threading.Event(), []

        async def replay():
            async with Replay(archive, speed="max", engine_name="python") as exchange:
                end = asyncio.Event()
                stop.extend([asyncio.get_running_loop(), end, exchange.environment])
                ready.set()
                await end.wait()

        thread = threading.Thread(target=lambda: asyncio.run(replay()))
        thread.start()
        assert ready.wait(WAIT_S)
        try:
            yield "live", stop[2]
        finally:
            stop[0].call_soon_threadsafe(stop[1].set)
            thread.join()

    return serve


def bridge(python, name, source, lines, **environment):
    """Runs a bridge until it has carried everything."""
    with source() as (given, address):
        command = [python, str(ROOT / "examples" / f"bridge_{name}.py"), given, ",".join(SYMBOLS), str(len(lines))]
        # as this run of the tests: from its source, or as it is installed
        path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        child = {**os.environ, **address, **environment, "PYTHONPATH": path}
        done = subprocess.run(command, env=child, capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode == 0, done.stderr[-2000:]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def running(command, port, **how):
    """A server, once it answers on its port."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how) as child:
        try:
            for _ in range(WAIT_S * 10):
                assert child.poll() is None, f"{command[0]} has ended"
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    threading.Event().wait(0.1)
            yield
        finally:
            child.terminate()


def of_symbol(lines, symbol):
    return [line for line in lines if json.loads(line)["data"][0]["symbol"] == symbol]


def orders_in(lines):
    return [order for line in lines for side in ("bids", "asks") for order in json.loads(line)["data"][0][side]]


def test_redis_streams_hold_the_messages_byte_for_byte(python, source, lines, tmp_path):
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian: apt install redis-server)")
    port = free_port()
    with running(["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)], port):
        bridge(python, "redis", source, lines, REDIS_URL=f"redis://127.0.0.1:{port}")
        for symbol in SYMBOLS:
            command = ["redis-cli", "-p", str(port), "--json", "xrange", f"level3:{symbol}", "-", "+"]
            told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            assert [entry[1][1].encode() for entry in told] == of_symbol(lines, symbol)


def test_kafka_records_are_keyed_by_pair_and_in_order(python, source, lines):
    broker = subprocess.Popen(
        [python, str(Path(__file__).parent / "kafka_broker.py"), "kraken.level3", str(len(lines))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with broker:
        try:
            bridge(python, "kafka", source, lines, KAFKA_SERVERS=broker.stdout.readline().strip())
            told, _ = broker.communicate("read\n", timeout=WAIT_S)
        finally:
            broker.kill()
    records = json.loads(told)
    for symbol in SYMBOLS:
        assert [value.encode() for key, value in records if key == symbol] == of_symbol(lines, symbol)


def test_questdb_gets_a_row_for_each_order(python, source, lines):
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take():
            connection, _ = server.accept()
            with connection:
                while part := connection.recv(65536):
                    received.extend(part)

        reader = threading.Thread(target=take)
        reader.start()
        bridge(python, "questdb", source, lines, QUESTDB=f"tcp::addr=127.0.0.1:{server.getsockname()[1]};")
        reader.join()
    rows = received.decode().splitlines()
    form = (
        r'level3,symbol=(\w+/\w+),side=(bids|asks),event=(\w+) order_id="([\w-]+)",price=([\d.]+),qty=([\d.]+) \d{19}'
    )
    found = [re.fullmatch(form, row) for row in rows]
    assert all(found), rows[:3]
    assert [match[4] for match in found] == [order["order_id"] for order in orders_in(lines)]
    assert [float(match[5]) for match in found] == [order["limit_price"] for order in orders_in(lines)]


def test_clickhouse_holds_exact_rows(python, source, lines, tmp_path):
    if shutil.which("clickhouse-server") is None:
        pytest.skip("clickhouse-server is not installed (Debian: apt install clickhouse-server)")
    ports = [free_port() for _ in range(3)]
    (tmp_path / "config.xml").write_text(CLICKHOUSE.format(path=tmp_path, ports=ports))
    (tmp_path / "users.xml").write_text(CLICKHOUSE_USERS)
    with running(["clickhouse-server", f"--config-file={tmp_path}/config.xml"], ports[0], cwd=tmp_path):
        url = f"http://127.0.0.1:{ports[0]}"
        bridge(python, "clickhouse", source, lines, CLICKHOUSE_URL=url)
        query = "SELECT symbol, count(), sum(qty) FROM level3 GROUP BY symbol ORDER BY symbol"
        with urllib.request.urlopen(url, query.encode()) as response:
            told = [row.split("\t") for row in response.read().decode().splitlines()]
    for (symbol, count, qty), wanted in zip(told, SYMBOLS):
        orders = orders_in(of_symbol(lines, wanted))
        assert (symbol, int(count)) == (wanted, len(orders))
        assert float(qty) == pytest.approx(sum(order["order_qty"] for order in orders))


CLICKHOUSE = """<yandex>
<logger><level>warning</level><console>1</console></logger>
<http_port>{ports[0]}</http_port><tcp_port>{ports[1]}</tcp_port><interserver_http_port>{ports[2]}</interserver_http_port>
<listen_host>127.0.0.1</listen_host><path>{path}/</path><tmp_path>{path}/tmp/</tmp_path>
<user_files_path>{path}/files/</user_files_path><mark_cache_size>1000000</mark_cache_size>
<users_config>{path}/users.xml</users_config><default_profile>default</default_profile>
<default_database>default</default_database>
</yandex>
"""
CLICKHOUSE_USERS = """<yandex>
<profiles><default/></profiles><quotas><default/></quotas>
<users><default><password></password><networks><ip>::/0</ip></networks><profile>default</profile>
<quota>default</quota></default></users>
</yandex>
"""
