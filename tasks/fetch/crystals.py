"""Crystals as providers write them, as lines of our own tables: serves ``agd data fetch``.

In: a structure of pymatgen's as a dictionary (Materials Project, Matbench), or the attributes of an
OPTIMADE entry. Out: lattice, species and fractional coordinates as `structure.templates` and
training read them, or a rejection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from structure.elements import INDEX
from structure.errors import Rejection

_DIGITS = 8


def from_pymatgen(found: Mapping[str, Any]) -> dict[str, Any] | Rejection:
    """Return a crystal from the dictionary of a pymatgen structure."""
    try:
        matrix = np.array(found["lattice"]["matrix"], dtype=np.float64)
        species, places = [], []
        for site in found["sites"]:
            here = site["species"]
            if len(here) != 1 or here[0].get("occu", 1) != 1:
                return Rejection("disordered", "a site is partly filled or shared")
            species.append(_element(str(here[0]["element"])))
            places.append(site["abc"])
        return _crystal(matrix, species, np.array(places, dtype=np.float64))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return Rejection("structure", f"the structure cannot be read: {error}")


def from_optimade(found: Mapping[str, Any]) -> dict[str, Any] | Rejection:
    """Return a crystal from the attributes of an OPTIMADE structure."""
    try:
        if "disorder" in (found.get("structure_features") or ()):
            return Rejection("disordered", "a site is partly filled or shared")
        if found.get("nperiodic_dimensions", 3) != 3:
            dimensions = found["nperiodic_dimensions"]
            return Rejection("structure", f"it is periodic in {dimensions} dimensions, not in 3")
        symbols = {}
        for kind in found["species"]:
            if len(kind["chemical_symbols"]) != 1 or kind["concentration"] != [1]:
                return Rejection("disordered", "a site is partly filled or shared")
            symbols[kind["name"]] = kind["chemical_symbols"][0]
        species = [_element(symbols[name]) for name in found["species_at_sites"]]
        matrix = np.array(found["lattice_vectors"], dtype=np.float64)
        sites = np.array(found["cartesian_site_positions"], dtype=np.float64)
        return _crystal(matrix, species, sites @ np.linalg.inv(matrix))
    except (KeyError, TypeError, ValueError, IndexError, np.linalg.LinAlgError) as error:
        return Rejection("structure", f"the structure cannot be read: {error}")


def formula_of(species: Sequence[str]) -> str:
    """Return the formula of a list of atoms, elements in the order of their first."""
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in Counter(species).items())


def _element(symbol: str) -> str:
    """Return a species without its charge; raise where it is no element."""
    bare = symbol.rstrip("0123456789+-.")
    if bare not in INDEX:
        raise ValueError(f"{symbol!r} is no element")
    return bare


def _crystal(matrix: np.ndarray, species: list[str], places: np.ndarray) -> dict[str, Any]:
    """Return the fields of a crystal: lengths in Å and angles in degrees."""
    if matrix.shape != (3, 3) or places.shape != (len(species), 3) or not species:
        raise ValueError("lattice, species and positions do not fit each other")
    lengths = np.linalg.norm(matrix, axis=1)
    if not (np.isfinite(matrix).all() and np.isfinite(places).all() and lengths.all()):
        raise ValueError("a number is missing")
    unit = matrix / lengths[:, None]
    cosines = np.array([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]])
    angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    volume = abs(float(np.linalg.det(matrix)))
    if volume < 1.0:
        raise ValueError(f"the cell has a volume of {volume:.3g} Å3")
    return {
        "formula": formula_of(species),
        "nsites": len(species),
        "volume": round(volume, _DIGITS),
        "lattice": [round(float(x), _DIGITS) for x in (*lengths, *angles)],
        "species": species,
        "frac_coords": [[round(float(x), _DIGITS) for x in place] for place in places],
    }
