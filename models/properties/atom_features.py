"""Features of the elements for the formation-energy network: serves `models.properties.gatgnn`.

In: the Magpie table of element properties. Out: 92 numbers an element, as many as CGCNN's
``atom_init.json``, which this replaces: one-hot group, period and block, one-hot bins of measured
properties, and the valence and unfilled electrons as numbers.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from models.properties.element_table import PROPERTIES, element_properties

_BINS = {
    "Electronegativity": (0.7, 4.0, 12),
    "CovalentRadius": (30.0, 250.0, 10),
    "MendeleevNumber": (1.0, 104.0, 12),
    "MeltingT": (0.0, 3800.0, 8),
    "GSvolume_pa": (0.0, 60.0, 10),
}
"""Property, range and number of bins (chosen)."""

_ELECTRONS = (
    "NsValence",
    "NpValence",
    "NdValence",
    "NfValence",
    "NsUnfilled",
    "NpUnfilled",
    "NdUnfilled",
    "NfUnfilled",
)
_SCALED = ("Electronegativity", "CovalentRadius", "GSvolume_pa")

N_FEATURES = 92
"""Width of the table: 18 groups, 7 periods, 4 blocks, 52 bins, 8 electron counts, 3 numbers."""


def _one_hot(index: np.ndarray, size: int) -> np.ndarray:
    return np.eye(size)[np.clip(index, 0, size - 1)]


@cache
def atom_features() -> np.ndarray:
    """Return the features of the elements.

    Returns
    -------
    ndarray of float32, shape (103, 92)
        Rows of zeros for the elements after berkelium, which the property table leaves out.
    """
    table = dict(zip(PROPERTIES, element_properties().T, strict=True))
    known = np.isfinite(table["Number"])
    table = {name: np.where(known, column, 0.0) for name, column in table.items()}
    group, period = table["Column"].astype(int), table["Row"].astype(int)
    number = table["Number"].astype(int)
    f_block = ((number >= 57) & (number <= 70)) | ((number >= 89) & (number <= 102))
    block = np.select([f_block, (group <= 2) | (number == 2), group >= 13], [3, 0, 1], default=2)
    parts = [_one_hot(group - 1, 18), _one_hot(period - 1, 7), _one_hot(block, 4)]
    for name, (low, high, bins) in _BINS.items():
        position = (table[name] - low) / (high - low) * bins
        parts.append(_one_hot(np.floor(position).astype(int), bins))
    parts += [(table[name] / 14.0)[:, None] for name in _ELECTRONS]
    parts += [((table[n] - _BINS[n][0]) / (_BINS[n][1] - _BINS[n][0]))[:, None] for n in _SCALED]
    features = np.concatenate(parts, axis=1).astype(np.float32)
    features[~known] = 0.0
    features.flags.writeable = False
    return features
