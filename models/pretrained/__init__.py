"""Weights trained by this project, each with its model card.

In: a name. Out: the folder of those weights in this installation.
"""

from __future__ import annotations

from pathlib import Path


def shipped(name: str) -> Path:
    """Return the folder of something shipped, such as ``matgan``; it need not exist."""
    return Path(__file__).parent / name
