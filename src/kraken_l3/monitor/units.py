"""Amounts for people."""

from __future__ import annotations

__all__ = ["size"]


def size(count: int) -> str:
    """Bytes: 12 B, 3.4 KiB, 5.6 GiB."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.2f} TiB"
