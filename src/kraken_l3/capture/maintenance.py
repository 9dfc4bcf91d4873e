"""Says what Kraken announces, and what it will mean here: `upcoming_maintenance` of its status channel.

The same announcement comes on every connection, and again at each phase (30 minutes before, 5 minutes, 30 seconds): it
is logged once a phase. The status message itself is in the journal, as every control message is.
Source: https://docs.kraken.com/api/docs/websocket-v2/status
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import structlog

__all__ = ["MaintenanceWatch"]

#: The last announcements are remembered, so that each is told once.
REMEMBERED = 100
TEXT_CHARS = 200
#: Of `affected_services`: those that this recorder needs.
_OURS = frozenset({"spot_ws", "spot_rest", "all"})

log = structlog.get_logger("kraken_l3.capture.maintenance")


class MaintenanceWatch:
    """For all connections of a recorder."""

    def __init__(self) -> None:
        self._told: deque[tuple[str, str]] = deque(maxlen=REMEMBERED)

    def observe(self, announced: Sequence[dict[str, Any]]) -> None:
        """A status message announces these; anything may be missing from them."""
        for event in announced:
            title, phase = _text(event.get("title")), _text(event.get("phase"))
            known = (_text(event.get("event_id")) or title, phase)
            if known in self._told:
                continue
            self._told.append(known)
            services = event.get("affected_services")
            concerned = (
                not isinstance(services, list) or not services or bool(_OURS & {_text(each) for each in services})
            )
            log.warning(
                "Kraken announces maintenance",
                title=title,
                phase=phase,
                begins=_text(event.get("expected_start_utc")),
                ends=_text(event.get("expected_end_utc")),
                what=(
                    "Kraken will close the connections: every symbol has a gap (cause closed) until its snapshot "
                    "afterwards. Recording goes on by itself, there is nothing to do"
                    if concerned
                    else "it concerns other services: recording goes on"
                ),
            )


def _text(value: object) -> str:
    return value[:TEXT_CHARS] if isinstance(value, str) else ""
