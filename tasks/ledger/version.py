"""The version of what a campaign keeps: serves all that writes or reads its tables and ledger."""

from __future__ import annotations

SCHEMA_VERSION = 1
"""Of everything this release writes; another one is refused where it is read."""
