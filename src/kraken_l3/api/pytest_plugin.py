"""The fixture `kraken_replay` for people's own tests; pytest finds it by its entry point."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Callable

import pytest

from kraken_l3.api.replays import RunningReplay, replay

__all__ = ["kraken_replay"]


@pytest.fixture
def kraken_replay() -> Iterator[Callable[..., RunningReplay]]:
    """Serves archives while the test runs: `kraken_replay("data", speed="max")`; the arguments are `replay`'s."""
    with ExitStack() as stack:

        def serve(path: Any, **how: Any) -> RunningReplay:
            return stack.enter_context(replay(path, **how))

        yield serve
