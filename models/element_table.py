"""The Magpie table of element properties: serves every descriptor of elements and compositions.

In: nothing. Out: 22 properties of each element (Ward et al., npj Comput. Mater. 2, 16028, 2016), as
smact ships them.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

import numpy as np

from structure.composition import N_ELEMENTS
from structure.elements import INDEX

PROPERTIES: tuple[str, ...] = tuple(
    """Number MendeleevNumber AtomicWeight MeltingT Column Row CovalentRadius Electronegativity
    NsValence NpValence NdValence NfValence NValence NsUnfilled NpUnfilled NdUnfilled NfUnfilled
    NUnfilled GSvolume_pa GSbandgap GSmagmom SpaceGroupNumber""".split()
)
"""The 22 element properties of the Magpie set, in matminer's order."""


@cache
def element_properties() -> np.ndarray:
    """Return the Magpie table of element properties.

    Returns
    -------
    ndarray of float64, shape (103, 22)
        Read-only; NaN for the elements after berkelium, which the table leaves out.
    """
    table = np.full((N_ELEMENTS, len(PROPERTIES)), np.nan)
    with files("smact").joinpath("data/magpie.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            table[INDEX[row["element"]]] = [float(row[name]) for name in PROPERTIES]
    table.flags.writeable = False
    return table
