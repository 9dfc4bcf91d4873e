"""A child process beside the recorder: started, read, killed, and how soon the next one may follow."""

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.capture.child import LINE_LIMIT_BYTES, Child, RestartPacing
from recording import run


class TestPacing:
    def test_each_wait_is_twice_the_last_up_to_the_largest(self) -> None:
        pacing = RestartPacing(first_s=1, largest_s=5, healthy_s=60)
        waits, wait_s = [], 0.0
        for _ in range(5):
            wait_s = pacing.next_wait_s(wait_s, lived_s=0.1)
            waits.append(wait_s)
        assert waits == [1, 2, 4, 5, 5]

    def test_a_long_life_starts_it_from_the_beginning(self) -> None:
        pacing = RestartPacing(first_s=1, largest_s=300, healthy_s=60)
        assert pacing.next_wait_s(64, lived_s=60) == 128
        assert pacing.next_wait_s(64, lived_s=60.1) == 1

    @given(st.lists(st.floats(0, 200), max_size=30))
    def test_children_are_never_started_in_a_row(self, lives: list) -> None:
        pacing, wait_s = RestartPacing(), 0.0
        for lived_s in lives:
            wait_s = pacing.next_wait_s(wait_s, lived_s)
            assert pacing.first_s <= wait_s <= pacing.largest_s


class TestChild:
    @staticmethod
    async def start(code: str, read: str = "stdout") -> Child:
        return await Child.start([sys.executable, "-c", code], None, read=read)  # type: ignore[arg-type]

    def test_its_lines_are_read_and_its_exit_code_is_known(self) -> None:
        async def main() -> None:
            child = await self.start("print('one'); print('two'); raise SystemExit(7)")
            assert [line async for line in child.lines()] == [b"one\n", b"two\n"]
            assert await child.wait() == 7
            assert child.exit_code == 7

        run(main())

    def test_a_line_without_end_is_not_collected(self) -> None:
        async def main() -> None:
            child = await self.start(f"print('x' * {LINE_LIMIT_BYTES + 100}, flush=True); import time; time.sleep(60)")
            with pytest.raises(ValueError, match="limit"):
                [line async for line in child.lines()]
            await child.kill()

        run(main())

    def test_of_a_long_complaint_the_end_is_kept(self) -> None:
        async def main() -> None:
            child = await self.start("import sys; sys.stderr.write('x' * 500_000 + 'the end')", read="stderr")
            assert await child.tail(10) == b"xxxthe end"
            await child.wait()

        run(main())

    def test_closing_its_input_tells_it_to_finish(self) -> None:
        async def main() -> None:
            child = await self.start("import sys; sys.stdin.read()")
            child.close_stdin()
            assert await child.wait() == 0

        run(main())

    def test_killing_one_that_is_gone_does_no_harm(self) -> None:
        async def main() -> None:
            child = await self.start("import time; time.sleep(60)")
            os.kill(child.pid, 0)
            await child.kill()
            assert child.exit_code not in (0, None)
            await child.kill()

        run(main())

    def test_its_environment_is_the_one_given(self) -> None:
        async def main() -> None:
            environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
            code = "import os; print('HOME' in os.environ)"
            child = await Child.start([sys.executable, "-c", code], environment, read="stdout")
            assert [line async for line in child.lines()] == [b"False\n"]
            await child.wait()

        run(main())

    def test_a_program_that_is_not_there(self) -> None:
        async def main() -> None:
            with pytest.raises(OSError, match="nowhere"):
                await Child.start(["/nowhere/program"], None, read="stdout")

        run(main())
