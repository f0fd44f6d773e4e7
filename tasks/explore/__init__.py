"""Explore: the active-learning loop."""
