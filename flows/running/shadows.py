"""Files that hide the product's packages: serves ``agd doctor`` and ``agd run`` through Prefect.

In: a folder from which Python would import first. Out: the files there of which Python would take
one for a package of ours, since the packages have plain names (``tasks``, ``models`` ...).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("flows", "tasks", "models", "structure", "dft_inputs")
HOME = Path(__file__).resolve().parents[2]


def hiding(folders: Sequence[str | Path]) -> list[Path]:
    """Return what stands before our packages if Python looks into these folders first.

    A folder of that name is harmless without an ``__init__.py``, unless our own package is found by
    an import hook only, as older editable installs have it.
    """
    path = [*map(str, folders), *sys.path]
    return [found for name in PACKAGES if (found := _taken_for(name, path)) is not None]


def _taken_for(name: str, path: Sequence[str]) -> Path | None:
    """Return what Python would import from `path` as a package of ours; None if it is ours."""
    spec = PathFinder.find_spec(name, path)
    if spec is None:
        return None
    if spec.origin is not None:
        place = Path(spec.origin)
        place = place.parent if place.name == "__init__.py" else place
    else:
        place = Path(next(iter(spec.submodule_search_locations or ())))
    return None if place.resolve() == HOME / name else place
