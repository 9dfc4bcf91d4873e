"""The web process from the recorder's side, with children written for the purpose."""

import asyncio
import os
import signal
import sys

import pytest

from kraken_l3.capture.child import RestartPacing
from kraken_l3.capture.web_process import WebLimits, WebProcess
from processes import is_running
from recording import WAIT_S, run

#: Says where it is, and repeats each line that it reads, into a file.
ECHO = """
import sys
print("http://127.0.0.1:1/", flush=True)
with open({path!r}, "a", buffering=1) as out:
    for line in sys.stdin:
        out.write(line)
"""
DEAF = 'import time; print("http://127.0.0.1:1/", flush=True); time.sleep(1000)'


def process(child, **limits):
    pacing = RestartPacing(first_s=0.01, largest_s=0.02)
    return WebProcess(
        [sys.executable, "-c", child], dict(os.environ), limits=WebLimits(**{"restarts": pacing, **limits})
    )


async def until(condition, each=lambda: None):
    async def look():
        while not condition():
            each()
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), WAIT_S)


def with_running(web, check):
    async def main():
        task = asyncio.ensure_future(web.run())
        try:
            await check()
        finally:
            task.cancel()
            await asyncio.wait([task])

    run(main())


def test_it_is_told_and_ends_with_the_recorder(tmp_path):
    out = tmp_path / "out"
    web = process(ECHO.format(path=str(out)))

    async def check():
        web.tell(b"before there is a child: lost")
        await until(lambda: web.url)
        assert web.url == "http://127.0.0.1:1/"
        for n in range(3):
            web.tell(b'{"n":%d}' % n)
            await until(lambda n=n: out.exists() and out.read_text().endswith(f'{{"n":{n}}}\n'))

    with_running(web, check)
    assert out.read_text() == '{"n":0}\n{"n":1}\n{"n":2}\n'
    assert not is_running(web.pid)
    assert web.restarts == 0


@pytest.mark.parametrize("child", ["raise SystemExit(5)", "import os; os.kill(os.getpid(), 9)", "print('x' * 2**21)"])
def test_one_that_fails_is_started_again(child):
    web = process(child)

    async def check():
        await until(lambda: web.restarts >= 3, lambda: web.tell(b"{}"))

    with_running(web, check)


def test_one_that_is_killed_comes_back(tmp_path):
    out = tmp_path / "out"
    web = process(ECHO.format(path=str(out)))

    async def check():
        await until(lambda: web.url)
        first = web.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: web.pid != first)
        await until(lambda: out.exists() and "again" in out.read_text(), lambda: web.tell(b"again"))

    with_running(web, check)


def test_one_that_cannot_be_started_is_tried_again():
    web = WebProcess(["/nowhere/web"], {}, limits=WebLimits(restarts=RestartPacing(first_s=0.01)))

    async def check():
        await until(lambda: web.restarts >= 2)

    with_running(web, check)


def test_one_that_reads_nothing_misses_lines_and_is_restarted_at_last():
    """What waits for it stays below two lines, however many there are."""
    web = process(DEAF, silence_s=0.3)

    async def check():
        await until(lambda: web.url)
        child, first = web._child, web.pid
        waiting = []

        def tell():
            web.tell(b"x" * 300_000)
            waiting.append(child._process.stdin.transport.get_write_buffer_size())

        await until(lambda: web.pid != first, tell)
        assert 0 < max(waiting) <= 300_001

    with_running(web, check)


def test_one_that_does_not_end_is_killed():
    web = process("import signal, time; print('u', flush=True); time.sleep(1000)", finish_s=0.1)

    async def check():
        await until(lambda: web.url)

    with_running(web, check)
    assert not is_running(web.pid)
