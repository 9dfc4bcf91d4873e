"""What happens to connections as time passes: heartbeats, the idle limit, the end of a close that is not answered."""

from __future__ import annotations

from kraken_l3.exchange.connection import Connection
from kraken_l3.exchange.limits import Limits

__all__ = ["HEARTBEAT", "INTERVAL_S", "keep_time"]

HEARTBEAT = b'{"channel":"heartbeat"}'
#: How often `keep_time` is to be called.
INTERVAL_S = 0.05

_NS_PER_S = 1_000_000_000
_IDLE_CLOSE_CODE = 1000  # invented: Kraken does not document the code with which it closes an idle connection
#: How long a client may take to answer a close frame.
_CLOSE_S = 2.0


def keep_time(connection: Connection, limits: Limits, mono_ns: int) -> None:
    """Does what is due on one connection.

    Heartbeats go out once a second whatever else is sent, as measured on ws-l3.kraken.com
    (https://docs.kraken.com/api/docs/websocket-v2/heartbeat says: in the absence of other updates).
    """
    due_ns = connection.next_heartbeat_ns
    if due_ns is not None and due_ns <= mono_ns:
        connection.send("heartbeat", HEARTBEAT)
        connection.next_heartbeat_ns = max(due_ns + _NS_PER_S, mono_ns)
    if not connection.session.subscribed and mono_ns - connection.active_ns > limits.idle_s * _NS_PER_S:
        connection.close(_IDLE_CLOSE_CODE, "idle")
    if connection.closing:
        if connection.closed_ns is None:
            connection.closed_ns = mono_ns
        elif mono_ns - connection.closed_ns > _CLOSE_S * _NS_PER_S:
            connection.abort(reset=False)
