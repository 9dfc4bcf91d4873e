"""The checks, one file for each part of the protocol."""

from __future__ import annotations

from kraken_l3.conformance.checks.connection import CONNECTION
from kraken_l3.conformance.checks.level3 import LEVEL3_DATA
from kraken_l3.conformance.checks.limits import LIMITS
from kraken_l3.conformance.checks.public import PUBLIC
from kraken_l3.conformance.checks.rest import REST
from kraken_l3.conformance.checks.subscriptions import SUBSCRIPTIONS

__all__ = ["CHECKS"]

#: All of them, in the order in which a report shows them.
CHECKS = (*REST, *CONNECTION, *SUBSCRIPTIONS, *LEVEL3_DATA, *PUBLIC, *LIMITS)
