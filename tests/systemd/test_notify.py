"""sd_notify, heard by a real datagram socket."""

import os
import socket
import sys

import pytest

from kraken_l3.systemd.notify import LONGEST_STATUS, Notifier

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets here")


def listening(address):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    manager.settimeout(5)
    return manager


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """(the socket, what NOTIFY_SOCKET says)"""
    if request.param == "path":
        name = str(tmp_path / "notify")
        address = name
    else:
        if sys.platform != "linux":
            pytest.skip("abstract addresses are Linux's")
        name = f"@kraken-l3-test-{os.getpid()}"
        address = "\0" + name[1:]
    with listening(address) as sock:
        yield sock, name


def test_what_the_manager_hears(manager):
    sock, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("2 symbols")
    notifier.status("all well")
    notifier.watchdog()
    notifier.stopping()
    assert [sock.recv(4096) for _ in range(4)] == [
        b"READY=1\nSTATUS=2 symbols", b"STATUS=all well", b"WATCHDOG=1", b"STATUS=stopping",
    ]  # fmt: skip


def test_a_recorder_that_takes_over_becomes_the_main_process_and_feeds_its_watchdog(manager):
    sock, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.main_process(1234)
    assert notifier.watchdog_interval_s is None
    notifier.main_process(os.getpid())
    assert notifier.watchdog_interval_s == 30
    told = [sock.recv(4096).decode() for _ in range(2)]
    assert told == [f"MAINPID={pid}\nWATCHDOG_USEC=60000000" for pid in (1234, os.getpid())]


def test_a_status_cannot_say_anything_else(manager):
    sock, name = manager
    Notifier({"NOTIFY_SOCKET": name}).status("fine\nMAINPID=1 " + "x" * 10_000)
    heard = sock.recv(65536).decode()
    assert heard.startswith("STATUS=fine MAINPID=1 x")
    assert "\n" not in heard
    assert len(heard) == len("STATUS=") + LONGEST_STATUS


@pytest.mark.parametrize(
    ("env", "interval_s"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_how_often_the_watchdog_wants_to_hear(env, interval_s):
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **env}).watchdog_interval_s == interval_s


@pytest.mark.parametrize(
    "env", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "/no/one"}]
)
def test_where_nobody_listens_nothing_happens(env):
    notifier = Notifier({**env, "WATCHDOG_USEC": "1000000"})
    notifier.ready("up")
    notifier.watchdog()
    notifier.stopping()
    assert notifier.watchdog_interval_s == (0.5 if env.get("NOTIFY_SOCKET") == "/no/one" else None)


def test_a_manager_that_does_not_read_blocks_nobody(tmp_path):
    name = str(tmp_path / "notify")
    with listening(name):
        notifier = Notifier({"NOTIFY_SOCKET": name})
        for _ in range(2_000):
            notifier.status("x" * 200)
        notifier.watchdog()


def test_a_system_without_unix_sockets(monkeypatch):
    assert Notifier({"NOTIFY_SOCKET": "/run/x"}).is_heard
    monkeypatch.delattr(socket, "AF_UNIX")
    notifier = Notifier({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000"})
    assert not notifier.is_heard
    notifier.watchdog()
