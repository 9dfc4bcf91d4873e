"""`kraken-l3 simulate` as a user types it, in a process of its own."""

import base64
import hashlib
import hmac
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest
import structlog
import trustme
from websockets.sync.client import connect

from kraken_l3.cli.serving import ClientLog
from kraken_l3.clock import SystemClock

COMMAND = [
    sys.executable,
    "-m",
    "kraken_l3",
    "simulate",
]


def run(*options):
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def simulating(*options):
    """A running exchange and what it exports."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        exports = {}
        while len(exports) < 5:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            word, _, assignment = line.strip().partition(" ")
            assert word == "export"
            name, _, value = assignment.partition("=")
            exports[name] = value
        yield process, exports
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def token(exports, context=None, nonce=None):
    """Signed here, by the rules of Kraken's page."""

    path = "/0/private/GetWebSocketsToken"
    nonce = str(nonce or time.time_ns())
    body = f"nonce={nonce}".encode()
    secret = base64.b64decode(exports["KRAKEN_API_SECRET"])
    digest = hashlib.sha256(nonce.encode() + body).digest()
    sign = base64.b64encode(hmac.new(secret, path.encode() + digest, hashlib.sha512).digest()).decode()
    headers = {
        "API-Key": exports["KRAKEN_API_KEY"],
        "API-Sign": sign,
        "Content-Type": "application/x-www-form-urlencoded",
    }
    request = urllib.request.Request(exports["KRAKEN_L3_REST_URL"] + path, body, headers)
    with urllib.request.urlopen(request, context=context) as answer:
        return json.load(answer)["result"]["token"]


def collect(exports, symbols, count, context=None):
    """So many level3 messages, as bytes."""
    got = []
    with connect(exports["KRAKEN_L3_WS_URL"], ssl=context, max_size=None) as ws:
        params = {"channel": "level3", "symbol": symbols, "token": token(exports, context)}
        ws.send(json.dumps({"method": "subscribe", "params": params}))
        while len(got) < count:
            text = ws.recv(10).encode()
            if text.startswith(b'{"channel":"level3"'):
                got.append(text)
    return got


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_logs_and_ends_in_order(tmp_path, number):
    log = tmp_path / "sent.ndjson"
    with simulating("--rate", "500", "--symbols", "BTC/USD,S002/USD", "--sent-log", str(log)) as (process, exports):
        first = collect(exports, ["BTC/USD"], 40)
        second = collect(exports, ["S002/USD"], 40)
        process.send_signal(number)
        assert process.wait(5) == 0
        logged = [json.loads(line) for line in process.stderr.read().splitlines()]
    told = [(record["event"], record.get("connection", record.get("key"))) for record in logged]
    assert told == [
        (event, value)
        for number in (1, 2)
        for event, value in (
            ("connection opened", number), ("token given", "embedded-exchange-key"), ("connection closed", number),
        )
    ]  # fmt: skip
    assert all(record["messages"] > 40 for record in logged if "messages" in record)
    lines = log.read_bytes().splitlines()
    numbers = (tmp_path / "sent.ndjson.connections").read_text().split()
    assert len(lines) == len(numbers)
    for connection, got in (("1", first), ("2", second)):
        assert [text for text, n in zip(lines, numbers) if n == connection][:40] == got


def test_duration_ends_it():
    began = time.monotonic()
    ended = run("--port", "0", "--duration", "0.5")
    assert ended.returncode == 0
    assert time.monotonic() - began < 15
    assert [line.split("=")[0] for line in ended.stdout.splitlines()] == [
        "export KRAKEN_L3_REST_URL", "export KRAKEN_L3_WS_URL", "export KRAKEN_L3_PUBLIC_WS_URL",
        "export KRAKEN_API_KEY", "export KRAKEN_API_SECRET",
    ]  # fmt: skip


def test_each_client_may_have_a_key_of_its_own():
    ended = run("--port", "0", "--duration", "0.2", "--keys", "3")
    names = [line.split("=")[0] for line in ended.stdout.splitlines()]
    assert names[5:] == [f"export KRAKEN_API_{what}_{n}" for n in (2, 3) for what in ("KEY", "SECRET")]
    with simulating("--api-key", "mine:bWluZQ==", "--api-key", "yours:eW91cnM=") as (process, exports):
        assert (exports["KRAKEN_API_KEY"], exports["KRAKEN_API_SECRET"]) == ("mine", "bWluZQ==")
        assert token(exports)
        other = {**exports, "KRAKEN_API_KEY": "yours", "KRAKEN_API_SECRET": "eW91cnM="}
        assert token(other, nonce=1), "a nonce lower than that of the first key"
        with pytest.raises(KeyError):
            token(other, nonce=1)
        process.terminate()
        logged = [json.loads(line) for line in process.stderr.read().splitlines()]
    refused = [(r["key"], r["error"]) for r in logged if r["event"] == "token refused"]
    assert refused == [("yours", "EAPI:Invalid nonce")]


def test_a_key_of_somewhere_else_is_not_logged():
    with structlog.testing.capture_logs() as logged:
        ClientLog(SystemClock(), ["mine"]).asked_for_token("one-of-krakens", "EAPI:Invalid key")
    assert [(line["event"], line["key"]) for line in logged] == [("token refused", "none of this server's")]


def test_the_exports_can_be_pasted():
    ended = run("--port", "0", "--duration", "0.2")
    shell = subprocess.run(
        ["bash", "-c", ended.stdout + "env"], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert "KRAKEN_L3_WS_URL=ws://127.0.0.1:" in shell.stdout


def test_over_tls(tmp_path):

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    issued.private_key_pem.write_to_path(key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with simulating("--tls-cert", str(chain), "--tls-key", str(key)) as (_, exports):
        assert exports["KRAKEN_L3_REST_URL"].startswith("https://")
        assert len(collect(exports, ["ETH/USD"], 5, context)) == 5


def test_a_fault_script(tmp_path):
    script = tmp_path / "faults.yaml"
    script.write_text("- {do: skip}\n")
    with simulating("--faults", str(script)) as (_, exports):
        assert json.loads(collect(exports, ["BTC/USD"], 1)[0])["type"] == "update"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "loopback"),
        (["--host", "example.com"], "loopback"),
        (["--symbols", "XBT/USD"], "XBT/USD"),
        (["--symbols", ","], "--symbols"),
        (["--symbols", "0"], "--symbols"),
        (["--tier", "gold"], "standard or pro"),
        (["--faults", "/nowhere.yaml"], "/nowhere.yaml"),
        (["--tls-cert", "a.pem"], "together"),
        (["--api-key", "nosecret"], "KEY:SECRET"),
        (["--api-key", "key:nothing base64"], "base64"),
        (["--tls-cert", "/no.pem", "--tls-key", "/no.pem"], "certificate"),
        (["--rate", "-1"], "rate"),
        (["--rate", "nan"], "rate"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(options, says):
    ended = run("--port", "0", "--duration", "1", *options)
    assert ended.returncode == 1, ended
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_is_a_local_fault():
    with simulating() as (_, exports):
        port = exports["KRAKEN_L3_REST_URL"].rsplit(":", 1)[1]
        ended = run("--port", port)
    assert ended.returncode == 5
    assert "cannot listen" in ended.stderr
    assert "--port" in ended.stderr
