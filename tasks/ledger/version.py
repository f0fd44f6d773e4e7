"""Versions of what a campaign keeps: serves all that writes or reads its tables and ledger."""

from __future__ import annotations

PRODUCT_VERSION = "0.1.0"
SCHEMA_VERSION = 1
"""Of campaign.json and of every table this release writes; another one is refused where it is read.
The ledger counts its versions for itself (`tasks.ledger.migrations`)."""
