"""Requests to Kraken's WebSocket v2, as the bytes that are sent.

Source: https://docs.kraken.com/api/docs/websocket-v2/level3, /trade, /instrument, /ping
"""

from __future__ import annotations

from typing import Any, Optional

import msgspec

__all__ = ["ping", "subscribe", "unsubscribe"]


def subscribe(
    channel: str, symbol: Optional[str], *, req_id: int, depth: Optional[int] = None, token: Optional[str] = None
) -> bytes:
    """Ask for one symbol of a channel (None: for a channel that has no symbols), with its snapshot."""
    return _request("subscribe", channel, symbol, req_id, depth, token, {"snapshot": True})


def unsubscribe(
    channel: str, symbol: Optional[str], *, req_id: int, depth: Optional[int] = None, token: Optional[str] = None
) -> bytes:
    """End the subscription of one symbol."""
    return _request("unsubscribe", channel, symbol, req_id, depth, token, {})


def ping(req_id: int) -> bytes:
    """Ask for a sign of life; also counts as activity on the connection."""
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
