"""Amounts for people."""

from __future__ import annotations

__all__ = ["age", "size"]


def size(count: int) -> str:
    """Bytes: 12 B, 3.4 KiB, 5.6 GiB."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.2f} TiB"


def age(seconds: float) -> str:
    """Two units at most: 9 s, 3 min 05 s, 2 h 07 min, 5 d 3 h."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
