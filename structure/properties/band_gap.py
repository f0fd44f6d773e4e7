"""The band gap: what the paper's campaigns seek (AGD sec. 2.1), an instance of `Property`."""

from __future__ import annotations

from structure.properties.quantity import Property
from structure.sources import quantities

BAND_GAP = Property(
    name="band_gap",
    words="band gap",
    short="gap",
    unit="eV",
    lowest=0.0,
    highest=quantities.BAND_GAP.largest or 30.0,
    tolerance=0.25,
    more="wider",
    most="widest",
    least="narrowest",
    steps=(),
    model="oracle",
)
"""PBE gaps of the shipped data; `tolerance` is the oracle's mean error (chosen)."""

MESH_GAP, PATH_GAP = "band_gap_mesh_eV", "band_gap_path_eV"
"""The gap on the uniform mesh and along the path of a band structure, whose smaller one counts."""

DIRECT_GAP = "direct_band_gap_eV"
