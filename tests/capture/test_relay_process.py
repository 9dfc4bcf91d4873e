"""The relay from the recorder's side: it tells how far it is, and one that tells nothing is replaced."""

import asyncio
import os
import signal
import sys

import pytest

from kraken_l3.capture.child import RestartPacing
from kraken_l3.capture.relay_process import RelayProcess
from kraken_l3.capture.web_process import WebLimits
from kraken_l3.model.relay import RelayProgress, encode_relay
from recording import run

#: Tells its progress for as long as it is read, as the real one does.
TELLING = """
import time
for n in range(1, 10**6):
    print('{{"url":"http://127.0.0.1:1","clients":%d,"received_ns":7}}' % n, flush=True)
    time.sleep({every_s})
"""
FAST = RestartPacing(first_s=0.01, largest_s=0.02)


def with_running(child, check, **limits):
    relay = RelayProcess(
        [sys.executable, "-c", child],
        dict(os.environ),
        limits=WebLimits(**{"restarts": FAST, "finish_s": 0.1, **limits}),
    )

    async def until(condition):
        while not condition(relay):
            await asyncio.sleep(0.01)

    async def main():
        task = asyncio.ensure_future(relay.run())
        try:
            await asyncio.wait_for(check(relay, until), 60)
        finally:
            task.cancel()
            await asyncio.wait([task])

    run(main())
    return relay


def test_what_it_tells_is_known_until_it_ends():
    async def check(relay, until):
        await until(lambda r: r.progress.clients > 2)
        assert relay.progress == RelayProgress("http://127.0.0.1:1", relay.progress.clients, 7)
        assert relay.url == relay.progress.url

    relay = with_running(TELLING.format(every_s=0.01), check)
    assert relay.progress == RelayProgress()
    assert relay.restarts == 0


def test_one_that_hangs_is_replaced_and_one_that_goes_on_is_not():
    async def check(relay, until):
        await until(lambda r: r.progress.clients)
        restarts = relay.restarts
        await until(lambda r: r.progress.clients > 50)
        assert relay.restarts == restarts
        os.kill(relay.pid, signal.SIGSTOP)
        await until(lambda r: r.restarts > restarts)
        assert relay.progress == RelayProgress()
        await until(lambda r: r.progress.clients > 2)

    with_running(TELLING.format(every_s=0.04), check, silence_s=1.5)


@pytest.mark.parametrize("child", ["print('[]', flush=True); import time; time.sleep(1000)", "print('x' * 2**21)"])
def test_one_whose_words_cannot_be_read_is_replaced(child):
    async def check(_, until):
        await until(lambda r: r.restarts == 2)

    with_running(child, check)


def test_what_is_told_is_one_line():
    assert encode_relay(RelayProgress()) == b'{"url":"","clients":0,"received_ns":0}'
