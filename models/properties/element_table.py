"""The Magpie table of element properties: serves every descriptor of elements and compositions.

In: nothing. Out: 22 properties of each element (Ward et al., npj Comput. Mater. 2, 16028, 2016), as
smact ships them.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from structure.composition import N_ELEMENTS
from structure.elements import INDEX

PROPERTIES: tuple[str, ...] = tuple(
    """Number MendeleevNumber AtomicWeight MeltingT Column Row CovalentRadius Electronegativity
    NsValence NpValence NdValence NfValence NValence NsUnfilled NpUnfilled NdUnfilled NfUnfilled
    NUnfilled GSvolume_pa GSbandgap GSmagmom SpaceGroupNumber""".split()
)
"""The 22 element properties of the Magpie set, in matminer's order."""


def _smact_table() -> Path:
    """Find the table without importing smact, which takes seconds."""
    spec = find_spec("smact")
    assert spec is not None and spec.submodule_search_locations, "smact is a dependency"
    return Path(spec.submodule_search_locations[0]) / "data" / "magpie.csv"


@cache
def element_properties() -> np.ndarray:
    """Return the Magpie table of element properties.

    Returns
    -------
    ndarray of float64, shape (103, 22)
        Read-only; NaN for the elements after berkelium, which the table leaves out.
    """
    table = np.full((N_ELEMENTS, len(PROPERTIES)), np.nan)
    with _smact_table().open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            table[INDEX[row["element"]]] = [float(row[name]) for name in PROPERTIES]
    table.flags.writeable = False
    return table
