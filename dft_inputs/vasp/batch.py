"""What VASP has beside its jobs: serves the hand-off step.

In: how the cluster is used, and the potentials that a batch's jobs need. Out:
``custodian_vasp.py``, ``potcars.txt``, and VASP's lines of ``cluster.env``.
"""

from __future__ import annotations

from collections.abc import Iterable

from dft_inputs.batch.cluster_settings import (
    ClusterFiles,
    ClusterSettings,
    Line,
    runner_line,
    script,
)
from dft_inputs.vasp.inputs import POTENTIAL_REMARKS


def vasp_batch(
    settings: ClusterSettings, functional: str | None, symbols: Iterable[str]
) -> ClusterFiles:
    """Return VASP's part of a folder of jobs.

    Parameters
    ----------
    settings : ClusterSettings
    functional : str or None
        Family of the potentials, as pymatgen names it.
    symbols : iterable of str
        Of the potentials that the jobs need.
    """
    return ClusterFiles(
        settings=settings,
        files={
            "custodian_vasp.py": script("custodian_vasp.py"),
            "potcars.txt": potcars_text(functional or "", symbols),
        },
        lines=(
            Line("AGD_VASP", settings.vasp, "command that runs VASP in the working directory"),
            Line(
                "AGD_POTCARS",
                settings.potcars,
                "folder of your licensed potentials, one sub-folder a symbol",
            ),
            runner_line(settings),
            Line(
                "AGD_CUSTODIAN",
                "yes" if settings.custodian else "no",
                "yes: use custodian where that Python has it",
            ),
        ),
        needs="Python 3.6 and VASP",
        edits="account, partition, modules, VASP command, AGD_POTCARS (see potcars.txt)",
        copying=" (leave POTCARs there: --exclude POTCAR)",
    )


def potcars_text(functional: str, symbols: Iterable[str]) -> str:
    """Return ``potcars.txt``: the union of symbols, and the command that assembles POTCARs."""
    union = sorted(set(symbols))
    return "\n".join(
        [
            f"These jobs need {len(union)} potentials of the family {functional}:",
            "",
            *union,
            "",
            "Set AGD_POTCARS in cluster.env to the folder that holds one sub-folder a symbol, and",
            "every job assembles its own POTCAR. To see beforehand whether one is missing:",
            "",
            "  . ./cluster.env; sed -n '3,/^$/p' potcars.txt | while read -r s; do",
            '    [ -z "$s" ] || [ -f "$AGD_POTCARS/$s/POTCAR" ] || echo "missing: $s"; done',
            "",
            "By hand, inside one step folder:",
            "",
            '  for s in $(cat POTCAR.spec); do cat "$AGD_POTCARS/$s/POTCAR"; done > POTCAR',
            "",
            *(f"{POTENTIAL_REMARKS[s]}\n" for s in union if s in POTENTIAL_REMARKS),
            "POTCARs are licensed: none is shipped here, and jobs delete theirs when done.",
            "",
        ]
    )
