"""The bulk modulus: how much pressure a solid takes for a change of volume."""

from __future__ import annotations

from structure.properties.quantity import Property

BULK_MODULUS = Property(
    name="bulk_modulus",
    words="bulk modulus",
    unit="GPa",
    lowest=0.0,
    highest=600.0,
    tolerance=10.0,
    more="more",
    most="highest",
    least="lowest",
    steps=("elastic",),
    model="bulk_modulus",
)
"""Voigt-Reuss-Hill average. `highest` (chosen): diamond has 440 GPa. `tolerance`: about the
model's error (chosen)."""
