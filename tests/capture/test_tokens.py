"""Each class of token error, and what is remembered of a key."""

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from kraken_l3.capture.credentials import KeyMemory
from kraken_l3.capture.private_rest import PrivateRest
from kraken_l3.capture.rest import Tokens
from kraken_l3.clock import SystemClock
from kraken_l3.errors import LocalFault, RefusedByKraken
from kraken_l3.exchange.faults import Drop, TokenError
from kraken_l3.exchange.server import Exchange
from recording import WAIT_S, Recording, flow, run

NS_PER_S = 1_000_000_000


class SettableClock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall = SystemClock.wall_ns()
        self.mono = 0

    def wall_ns(self) -> int:
        return self.wall

    def mono_ns(self) -> int:
        return self.mono


def tokens_for(
    exchange: Exchange,
    directory: Path,
    clock: Any = None,
    key: str = "",
    secret: str = "",
    sleep: Any = asyncio.sleep,
    sync: Any = os.fsync,
) -> Tokens:
    clock = clock or SystemClock()
    key = key or exchange.api_key
    memory = KeyMemory(directory, key, sync)
    return Tokens(PrivateRest(exchange.rest_url, key, secret or exchange.api_secret, memory, clock), clock, sleep)


class Waits(list):
    """A sleep that takes no time and lists how long it should have been."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def no_waiting() -> Waits:
    return Waits()


def test_a_token_is_shared_until_it_is_ten_minutes_old(tmp_path: Path) -> None:
    async def main() -> None:
        clock = SettableClock()
        async with Exchange(flow()) as exchange:
            tokens = tokens_for(exchange, tmp_path, clock)
            first = await tokens.get()
            clock.mono += 599 * NS_PER_S
            assert await tokens.get() == first
            clock.mono += NS_PER_S
            assert await tokens.get() != first
            assert exchange.tokens_given == 2

    run(main())


def test_a_reconnect_and_a_refusal_bring_a_fresh_one(tmp_path: Path) -> None:
    async def main() -> None:
        clock = SettableClock()
        async with Exchange(flow()) as exchange:
            tokens = tokens_for(exchange, tmp_path, clock)
            first = await tokens.get()
            clock.mono += 1
            second = await tokens.get(newer_than_ns=clock.mono)
            assert second != first
            clock.mono += 5 * NS_PER_S
            tokens.refuse(second)
            third = await tokens.get()
            assert third not in (first, second)
            tokens.refuse(second)  # a late answer to a request that was sent with the token before
            assert await tokens.get() == third

    run(main())


def test_tokens_that_are_refused_at_once_are_not_asked_for_in_a_row(tmp_path: Path) -> None:
    async def main() -> None:
        clock, waits = SettableClock(), []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            clock.mono += int(seconds * NS_PER_S)

        async with Exchange(flow()) as exchange:
            tokens = tokens_for(exchange, tmp_path, clock, sleep=sleep)
            for _ in range(4):
                tokens.refuse(await tokens.get())
        assert waits == [5, 5, 5]

    run(main())


def test_a_state_directory_without_room_is_waited_for(tmp_path: Path, no_waiting: Waits) -> None:
    def full(descriptor: int) -> None:
        if len(no_waiting) < 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.fsync(descriptor)

    async def main() -> None:
        async with Exchange(flow()) as exchange:
            assert await tokens_for(exchange, tmp_path, sleep=no_waiting, sync=full).get()
        assert no_waiting[:2] == [1, 2]
        assert len(list(tmp_path.iterdir())) == 2  # the memory and its lock

    run(main())


def test_a_redirect_is_not_followed(tmp_path: Path, no_waiting: Waits) -> None:
    """The signed request is for the configured host and for no other."""

    async def main() -> None:
        asked = asyncio.Event()

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            place = f"{exchange.rest_url}/0/private/GetWebSocketsToken".encode()
            writer.write(b"HTTP/1.1 307 Moved\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            asked.set()

        async with Exchange(flow()) as exchange:
            server = await asyncio.start_server(redirect, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            memory = KeyMemory(tmp_path, exchange.api_key)
            client = PrivateRest(url, exchange.api_key, exchange.api_secret, memory, SystemClock())
            asking = asyncio.ensure_future(Tokens(client, SystemClock(), no_waiting).get())
            await asyncio.wait_for(asked.wait(), WAIT_S)
            while not no_waiting and not asking.done():
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.wait([asking])
            server.close()
        assert no_waiting
        assert exchange.tokens_given == 0

    run(main())


def test_many_connections_ask_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            tokens = tokens_for(exchange, tmp_path)
            assert len(set(await asyncio.gather(*[tokens.get() for _ in range(8)]))) == 1
            assert exchange.tokens_given == 1

    run(main())


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("EAPI:Invalid key", "api_key"),
        ("EAPI:Invalid signature", "api_secret"),
        ("EGeneral:Permission denied", "WebSocket interface"),
        ("EAuth:Account temporary disabled", "Sign in"),
    ],
)
def test_a_refused_key_stops_and_is_left_alone_for_a_quarter_of_an_hour(
    tmp_path: Path, error: str, remedy: str
) -> None:
    async def main() -> None:
        clock = SettableClock()
        async with Exchange(flow(), faults=[TokenError(error=error)]) as exchange:
            with pytest.raises(RefusedByKraken, match=remedy) as caught:
                await tokens_for(exchange, tmp_path, clock).get()
            assert error in str(caught.value)
            assert caught.value.exit_code == 4
            # a new process with the same key does not even ask; Kraken would say yes now
            clock.wall += 899 * NS_PER_S
            with pytest.raises(RefusedByKraken, match="less than 15 minutes ago"):
                await tokens_for(exchange, tmp_path, clock).get()
            assert exchange.tokens_given == 0
            clock.wall += 2 * NS_PER_S
            assert await tokens_for(exchange, tmp_path, clock).get()

    run(main())


def test_another_key_is_tried_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            with pytest.raises(RefusedByKraken):
                await tokens_for(exchange, tmp_path, key="another", secret="YW5vdGhlcg==").get()
            assert await tokens_for(exchange, tmp_path).get()

    run(main())


def test_a_lockout_is_waited_out_also_over_restarts(tmp_path: Path, no_waiting: Waits) -> None:
    async def main() -> None:
        clock = SettableClock()
        async with Exchange(flow(), faults=[TokenError(error="EGeneral:Temporary lockout")]) as exchange:
            waiting = asyncio.ensure_future(tokens_for(exchange, tmp_path, clock, sleep=no_waiting).get())
            while not no_waiting:
                await asyncio.wait([waiting], timeout=0.01)
            waiting.cancel()
            assert no_waiting[0] == 900
            await asyncio.wait([waiting])
            no_waiting.clear()
            clock.wall += 300 * NS_PER_S
            again = asyncio.ensure_future(tokens_for(exchange, tmp_path, clock, sleep=no_waiting).get())
            while not no_waiting:
                await asyncio.wait([again], timeout=0.01)
            again.cancel()
            assert no_waiting[0] == pytest.approx(600)
            await asyncio.wait([again])

    run(main())


def test_an_invalid_nonce_is_tried_once_more_then_fatal(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow(), faults=[TokenError(error="EAPI:Invalid nonce")]) as exchange:
            assert await tokens_for(exchange, tmp_path).get()
        async with Exchange(flow(), faults=[TokenError(error="EAPI:Invalid nonce", times=2)]) as exchange:
            with pytest.raises(RefusedByKraken, match="key for the recorder alone"):
                await tokens_for(exchange, tmp_path).get()

    run(main())


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        (TokenError(error="EAPI:Rate limit exceeded", times=3), 5),
        (TokenError(error="EGeneral:Too many requests", times=3), 5),
        (TokenError(error="EService:Unavailable", times=3), 1),
        (TokenError(error="EService:Busy", times=3), 1),
        (TokenError(error="EFuture:Unknown", times=3), 1),
        (TokenError(http_status=502, times=3), 1),
        (TokenError(http_status=520, times=3), 1),
    ],
)
def test_what_passes_is_waited_for_with_growing_delays(
    tmp_path: Path, no_waiting: Waits, fault: TokenError, least: float
) -> None:
    async def main() -> None:
        async with Exchange(flow(), faults=[fault]) as exchange:
            assert await tokens_for(exchange, tmp_path, sleep=no_waiting).get()
        assert [wait for wait in no_waiting if wait] == [max(1, least), max(2, least), max(4, least)]

    run(main())


def test_a_throttle_is_waited_out_to_its_end(tmp_path: Path, no_waiting: Waits) -> None:
    async def main() -> None:
        clock = SettableClock()
        until = clock.wall // NS_PER_S + 42
        async with Exchange(flow(), faults=[TokenError(error=f"EService: Throttled: {until}")]) as exchange:
            assert await tokens_for(exchange, tmp_path, clock, sleep=no_waiting).get()
        assert 41 <= no_waiting[0] <= 42

    run(main())


def test_an_endpoint_that_is_not_there_is_waited_for(tmp_path: Path, no_waiting: Waits) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            tokens = tokens_for(exchange, tmp_path, sleep=no_waiting)
        asking = asyncio.ensure_future(tokens.get())
        while len(no_waiting) < 8:
            await asyncio.wait([asking], timeout=0.01)
        asking.cancel()
        assert no_waiting[:8] == [1, 2, 4, 8, 16, 32, 60, 60]

    run(main())


class TestKeyMemory:
    def test_nonces_rise_over_restarts_and_backward_clocks(self, tmp_path: Path) -> None:
        async def main() -> None:
            nonces = []
            for wall_ns in (1000, 2000, 1500, 0, 3000):
                memory = KeyMemory(tmp_path, "key")
                async with memory.held():
                    nonces.append(memory.take_nonce(wall_ns))
            assert nonces == [1000, 2000, 2001, 2002, 3000]

        run(main())

    def test_the_key_itself_is_not_written(self, tmp_path: Path) -> None:
        async def main() -> None:
            memory = KeyMemory(tmp_path, "my-secret-key")
            async with memory.held():
                memory.take_nonce(1)
                memory.remember_refusal("EAPI:Invalid key", 5)
            for path in tmp_path.iterdir():
                assert "my-secret-key" not in path.name
                assert b"my-secret-key" not in path.read_bytes()

        run(main())

    def test_two_take_turns(self, tmp_path: Path) -> None:
        async def main() -> None:
            inside = 0

            async def take() -> None:
                nonlocal inside
                memory = KeyMemory(tmp_path, "key")
                async with memory.held():
                    inside += 1
                    assert inside == 1
                    await asyncio.sleep(0)
                    inside -= 1

            await asyncio.gather(*[take() for _ in range(5)])

        run(main())

    @pytest.mark.parametrize("text", [b"{", b'{"refusal":"\xff"}', b"[" * 5_000, b'{"highest_nonce":1e400}'])
    def test_a_damaged_memory_says_what_to_do(self, tmp_path: Path, text: bytes) -> None:
        memory = KeyMemory(tmp_path, "key")

        async def main() -> None:
            async with memory.held():
                memory.take_nonce(1)
            (path,) = tmp_path.glob("*.json")
            path.write_bytes(text)
            with pytest.raises(LocalFault, match="Delete the file"):
                memory.take_nonce(2)

        run(main())

    def test_a_directory_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")

        async def main() -> None:
            with pytest.raises(LocalFault, match="XDG_STATE_HOME"):
                async with KeyMemory(tmp_path / "file" / "below", "key").held():
                    pass

        run(main())


def test_a_refused_key_ends_the_recorder_and_tells_the_journal(tmp_path: Path) -> None:
    async def main() -> None:
        faults = [TokenError(error="EGeneral:Permission denied", at_s=0.0)]
        async with Exchange(flow(), faults=faults) as exchange:
            recording = Recording(tmp_path / "data", exchange)
            with pytest.raises(RefusedByKraken):
                await recording.recorder.run(asyncio.Event())
            (stopped,) = recording.records("Stopped")
            assert stopped.reason == "RefusedByKraken"

    run(main())


def test_a_key_that_the_server_repeats_reaches_neither_error_nor_state_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with Exchange(flow()) as exchange:
            error = f"EAPI:Invalid key {exchange.api_key} {exchange.api_secret}"
            await exchange.push(TokenError(error=error, at_s=0.0))
            recording = Recording(tmp_path / "data", exchange)
            with pytest.raises(RefusedByKraken) as caught:
                await recording.recorder.run(asyncio.Event())
            kept = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*.json")).decode()
            for text in (str(caught.value), kept):
                assert "Invalid key [api key] [api secret]" in text
                assert exchange.api_key not in text
                assert exchange.api_secret not in text

    run(main())


def test_no_secret_leaves_its_place(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    async def main() -> list[bytes]:
        async with Exchange(flow()) as exchange:
            secrets = [exchange.api_key.encode(), exchange.api_secret.encode()]
            async with Recording(tmp_path / "data", exchange) as recording:
                await recording.until_whole()
                await exchange.push(Drop())
                await recording.until_records("GapClosed", 2)
                supervisor = recording.recorder.supervisor
                assert supervisor is not None
                secrets.append((await supervisor._context.tokens.get()).encode())  # the only way to learn it
            return secrets

    secrets = run(main())
    written = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    shown = "".join(capfd.readouterr()).encode()
    for secret in secrets:
        assert len(secret) > 5
        assert secret not in written
        assert secret not in shown
    assert json.dumps("symbols").encode() in written
