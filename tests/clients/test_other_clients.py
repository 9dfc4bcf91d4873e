"""Clients of others take the embedded exchange, live and replayed, for Kraken.

`make test-clients` installs them, each in an environment of its own (.venv-client-NAME), and runs these tests. A test
whose client is missing is skipped.
"""

import asyncio
import json
import os
import shutil
import subprocess
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp_client import verified

from kraken_l3.exchange.flow.feed import OrderFlow
from kraken_l3.exchange.replay.server import Replay
from kraken_l3.exchange.server import Exchange, made_up_keys
from kraken_l3.exchange.written import write_archive

ROOT = Path(__file__).resolve().parents[2]
OTHERS = Path(__file__).parent / "others"
SYMBOLS = ["BTC/USD", "ETH/USD", "SOL/USD"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    directory = tmp_path_factory.mktemp("clients") / "archive"
    write_archive(directory, duration_ns=300 * 10**9, symbols=SYMBOLS, depth=10, rate=60, seed=4, unsorted_adds=0.0)
    return directory


@pytest.fixture(params=["simulate", "replay"])
def serving(request, archive):
    """Makes a running exchange, in each of its two ways."""

    @asynccontextmanager
    async def serve():
        keys = made_up_keys(2)
        if request.param == "replay":
            server = Replay(archive, speed="5", engine_name="python", keys=keys)
        else:
            flow = OrderFlow(SYMBOLS, rate=300.0, now_ns=time.time_ns(), unsorted_adds=0.0)
            server = Exchange(flow, keys=keys)
        async with server as exchange:
            yield exchange

    return serve


def python_of(name):
    python = ROOT / f".venv-client-{name}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{name} is not installed: make test-clients (nautilus: PYTHON=python3.12 or later)")
    return str(python)


async def told_by(exchange, *command, environment=None):
    """What a client prints on its last line."""
    child = await asyncio.create_subprocess_exec(
        *map(str, command),
        env={**os.environ, **exchange.environment, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 100)
    assert child.returncode == 0, err.decode()[-2000:]
    return json.loads(out.decode().splitlines()[-1])


def run(serving, work):
    async def whole():
        async with serving() as exchange:
            return await work(exchange)

    return asyncio.run(whole())


def test_a_client_of_nothing_but_aiohttp_verifies_every_checksum(serving):
    assert run(serving, lambda exchange: verified(exchange.environment, SYMBOLS, 10, 500)) == 500


def test_two_programs_with_a_key_each_do_not_spoil_each_others_nonces(serving):
    async def both(exchange):
        first, second = (
            {**exchange.environment, "KRAKEN_API_KEY": key, "KRAKEN_API_SECRET": secret}
            for key, secret in exchange.keys.items()
        )
        return await asyncio.gather(verified(first, SYMBOLS, 10, 100), verified(second, SYMBOLS[:1], 10, 100))

    assert run(serving, both) == [100, 100]


def test_node(serving):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    version = int(subprocess.run([node, "--version"], capture_output=True, text=True).stdout.lstrip("v").split(".")[0])
    if version < 20:
        pytest.skip(f"node {version} has no WebSocket: 20 or later has")
    options = ["--experimental-websocket"] if version < 22 else []
    seen = run(serving, lambda exchange: told_by(exchange, node, *options, OTHERS / "level3.mjs", 100, "BTC/USD"))
    assert (seen["ack"], seen["snapshot"], seen["update"]) == (1, 1, 100)


def test_nautilus_trader_verifies_level3_and_never_resubscribes(serving):
    python = python_of("nautilus")
    script = OTHERS / "nautilus_l3.py"
    seen = run(serving, lambda exchange: told_by(exchange, python, script, 8, *SYMBOLS))
    assert {symbol: each["clears"] for symbol, each in seen.items()} == dict.fromkeys(SYMBOLS, 1), "one snapshot each"
    assert all(each["deltas"] > 100 for each in seen.values())


def test_python_kraken_sdk(serving):
    python = python_of("kraken-sdk")
    told = run(serving, lambda exchange: told_by(exchange, python, OTHERS / "kraken_sdk_client.py", 6, "BTC/USD"))
    seen = told["seen"]
    assert told["refused"] == []
    snapshots = {name: seen[f"{name} snapshot"] for name in ("level3", "book", "ticker", "instrument")}
    assert snapshots == dict.fromkeys(snapshots, 1)
    assert seen["level3 update"] > 100
    assert seen["book update"] > 50
    assert seen["valid book"] > 50
    assert "invalid book" not in seen


def test_ccxt_pro(serving):
    told = run(serving, lambda exchange: told_by(exchange, python_of("ccxt"), OTHERS / "ccxt_client.py", 50, "BTC/USD"))
    assert (told["markets"], told["books"], told["levels"]) == (3, 50, [10, 10])
    assert told["least_spread"] > 0
    assert told["ticker"][0] < told["ticker"][1]
    assert told["precision"] == {"amount": 1e-8, "price": 0.1}
