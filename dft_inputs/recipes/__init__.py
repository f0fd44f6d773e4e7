"""Calculation recipes: which steps, with which settings."""
