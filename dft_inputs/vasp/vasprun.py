"""vasprun.xml as pymatgen reads it: serves collect.

In: a file that is safe to parse. Out: pymatgen's `Vasprun`, without what stops pymatgen although
the calculation is sound. It imports pymatgen at once; import it where it is used.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from pymatgen.io.vasp import Incar, Vasprun


class LenientVasprun(Vasprun):
    """A calculation's output."""

    neutral_electrons: float | None = None
    """Of the cell without a charge; None where the file does not say."""

    converged = True
    """`judgement` judges it; pymatgen's own verdict fails on some inputs (ALGO=38)."""

    def _parse_params(self, elem: Any) -> Incar:
        """Leave out whole numbers too wide for their field, which nobody can know.

        VASP 5.4.1 writes KINTER, which nothing here needs, as ``******``.
        """
        for entry in elem.findall("i[@type='int']"):
            if (entry.text or "").strip().strip("*") == "":
                elem.remove(entry)
        return super()._parse_params(elem)

    def _parse_atominfo(self, elem: Any) -> Any:  # type: ignore[override]
        """Count the electrons that the potentials bring, which pymatgen leaves out."""
        rows = [
            [cell.text for cell in row.findall("c")]
            for table in elem.findall("array[@name='atomtypes']")
            for row in table.findall("set/rc")
        ]
        with suppress(ValueError, TypeError, IndexError):
            self.neutral_electrons = sum(int(row[0]) * float(row[3]) for row in rows) or None
        return Vasprun._parse_atominfo(elem)


def parsed(path: Path, eigenvalues: bool) -> LenientVasprun:
    """Parse a vasprun.xml; raises whatever pymatgen raises for a damaged one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LenientVasprun(
            path, parse_potcar_file=False, parse_dos=False, parse_eigen=eigenvalues
        )
