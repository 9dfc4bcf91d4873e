"""Requests of Kraken's WebSocket API v2, as the bytes to send.

Source: https://docs.kraken.com/api/docs/websocket-v2/level3, /trade, /instrument, /ping
"""

from __future__ import annotations

from typing import Any, Optional

import msgspec

__all__ = ["ping", "subscribe", "unsubscribe"]


def subscribe(
    channel: str, symbol: Optional[str], *, req_id: int, depth: Optional[int] = None, token: Optional[str] = None
) -> bytes:
    """Subscribe to one symbol of a channel (None: the channel has no symbols), with a snapshot."""
    return _request("subscribe", channel, symbol, req_id, depth, token, {"snapshot": True})


def unsubscribe(
    channel: str, symbol: Optional[str], *, req_id: int, depth: Optional[int] = None, token: Optional[str] = None
) -> bytes:
    """Unsubscribe one symbol of a channel."""
    return _request("unsubscribe", channel, symbol, req_id, depth, token, {})


def ping(req_id: int) -> bytes:
    """A ping, which Kraken answers with a pong, and which counts as activity on the connection."""
    return msgspec.json.encode({"method": "ping", "req_id": req_id})


def _request(
    method: str,
    channel: str,
    symbol: Optional[str],
    req_id: int,
    depth: Optional[int],
    token: Optional[str],
    more: dict[str, Any],
) -> bytes:
    params: dict[str, Any] = {"channel": channel}
    if symbol is not None:
        params["symbol"] = [symbol]
    if depth is not None:
        params["depth"] = depth
    params.update(more)
    if token is not None:
        params["token"] = token
    return msgspec.json.encode({"method": method, "params": params, "req_id": req_id})
