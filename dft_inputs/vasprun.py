"""vasprun.xml as pymatgen reads it: serves collect.

In: a file that is safe to parse. Out: pymatgen's `Vasprun`, without what stops pymatgen although
the calculation is sound. It imports pymatgen at once; import it where it is used.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from pymatgen.io.vasp import Incar, Vasprun


class _Lenient(Vasprun):
    converged = True
    """`dft_inputs.checks` judges it; pymatgen's own verdict fails on some inputs (ALGO=38)."""

    def _parse_params(self, elem: Any) -> Incar:
        """Leave out whole numbers too wide for their field, which nobody can know.

        VASP 5.4.1 writes KINTER, which nothing here needs, as ``******``.
        """
        for entry in elem.findall("i[@type='int']"):
            if (entry.text or "").strip().strip("*") == "":
                elem.remove(entry)
        return super()._parse_params(elem)


def parsed(path: Path, eigenvalues: bool) -> Vasprun:
    """Parse a vasprun.xml; raises whatever pymatgen raises for a damaged one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _Lenient(path, parse_potcar_file=False, parse_dos=False, parse_eigen=eigenvalues)
