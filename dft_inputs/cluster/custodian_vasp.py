# ruff: noqa: UP006, UP035
"""Run VASP in the working directory under custodian, for the runner on the cluster.

In: the VASP command on the command line. Out: custodian's exit and its ``custodian.json``, which
names every correction. Copied beside ``runner.py`` and used only where custodian is installed.
"""

import os
import sys
from typing import List

HANDLERS = (
    "VaspErrorHandler MeshSymmetryErrorHandler UnconvergedErrorHandler NonConvergingErrorHandler "
    "PotimErrorHandler PositiveEnergyErrorHandler FrozenJobErrorHandler StdErrHandler "
    "LargeSigmaHandler IncorrectSmearingHandler"
).split()
"""The ten handlers that quacc and atomate2 agree on."""


def run_custodian(command: List[str]) -> None:
    """Run VASP with corrections; raises what custodian raises when it gives up."""
    from custodian import Custodian
    from custodian.vasp import handlers, validators
    from custodian.vasp.jobs import VaspJob

    Custodian(
        [getattr(handlers, name)() for name in HANDLERS],
        [VaspJob(command, auto_npar=False, auto_gamma=False)],
        [validators.VasprunXMLValidator(), validators.VaspFilesValidator()],
        max_errors=int(os.environ.get("AGD_CORRECTIONS", "5")),
        polling_time_step=float(os.environ.get("AGD_POLL_S", "10")),
    ).run()


if __name__ == "__main__":
    run_custodian(sys.argv[1:])
