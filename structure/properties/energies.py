"""The formation energy: what a compound gains over its elements, by which the filter ranks."""

from __future__ import annotations

from structure.properties.quantity import Property

FORMATION_ENERGY = Property(
    name="formation_energy",
    words="formation energy",
    unit="eV/atom",
    lowest=-10.0,
    highest=10.0,
    tolerance=0.1,
    steps=(),
)
"""Per atom. The bounds are far from any compound's (chosen). The shipped network predicts it from a
structure, not from a composition: an oracle for it is a table, DFT, or a model of one's own."""
