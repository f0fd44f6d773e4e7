"""Elk, an all-electron code in linearised augmented plane waves: serves the hand-off step."""
