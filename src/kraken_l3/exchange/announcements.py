"""The texts by which the exchange tells its state: engine status, maintenance, the status of a pair.

Source: https://docs.kraken.com/api/docs/websocket-v2/status and https://docs.kraken.com/api/docs/websocket-v2/instrument
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from kraken_l3.model.timestamps import format_rfc3339

__all__ = ["instrument_update", "maintenance_notice", "status_update", "with_field"]

_NS_PER_S = 1_000_000_000


def status_update(connection_id: int, system: str, more: Mapping[str, object]) -> bytes:
    """A message of the `status` channel.

    Args:
        connection_id: the connection's own, an unsigned 64-bit integer.
        system: "online", "cancel_only", "post_only" or "maintenance".
        more: further fields, e.g. `maintenance_notice`.
    """
    data = {"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": connection_id, **more}
    return json.dumps({"channel": "status", "type": "update", "data": [data]}, separators=(",", ":")).encode()


def maintenance_notice(wall_ns: int, starts_in_s: float, lasts_s: float) -> dict[str, object]:
    """The fields that a status message carries shortly before a maintenance."""
    start_ns = wall_ns + int(starts_in_s * _NS_PER_S)
    event = {
        "event_id": "11111111-2222-3333-4444-555555555555",
        "title": "Scheduled maintenance of the embedded exchange",
        "expected_start_utc": format_rfc3339(start_ns)[:19] + "Z",
        "expected_end_utc": format_rfc3339(start_ns + int(lasts_s * _NS_PER_S))[:19] + "Z",
        "time_to_start_s": round(starts_in_s),
        "phase": "final_warning_30s",
        "affected_services": ["all"],
        "order_submission": "disabled",
        "recommended_action": "disconnect_and_wait",
        "source_url": "https://status.kraken.com",
    }
    return {"upcoming_maintenance": [event], "emergency": []}


def with_field(record: str, field: str, value: object) -> str:
    """A pair's object of the `instrument` channel with another value; the digits of its numbers stay as they are.

    Args:
        record: JSON text without nested objects.
        field: e.g. "status"; one that is not there is added.
        value: any JSON value.
    """
    text = f"{json.dumps(field)}:{json.dumps(value)}"
    changed, count = re.subn(re.escape(json.dumps(field)) + r':("[^"]*"|[^,}]*)', lambda _: text, record, count=1)
    return changed if count else f"{record[:-1]},{text}}}"


def instrument_update(record: str) -> bytes:
    """The update that tells subscribers of `instrument` of one changed pair."""
    return f'{{"channel":"instrument","type":"update","data":{{"assets":[],"pairs":[{record}]}}}}'.encode()
