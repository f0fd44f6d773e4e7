"""One judgement of convergence: the runner's on the cluster, and that of collect."""

from __future__ import annotations

from pathlib import Path

import pytest

from dft_inputs.cluster import runner
from dft_inputs.job.ticket import TicketStep
from dft_inputs.vasp.judgement import electrons_unconverged, ions_unconverged
from dft_inputs.vasp.outputs import StepOutput, read_step
from tests.dft_inputs.vaspruns import OUTCAR, REACHED, Calculation, vasprun, written

RELAXATION = {"IBRION": 2, "NSW": 99}
FORCES = {**RELAXATION, "EDIFFG": -0.01}
ENERGY = {**RELAXATION, "EDIFFG": 0.001}
DISPLACED = {"IBRION": 6, "NSW": 1}
RESPONSE = '<separator name="response functions"><i type="int" name="NELM">1</i></separator>'


def last(number: int = 5, **known: object) -> list[Calculation]:
    return [Calculation(force=0.5)] * (number - 1) + [Calculation(**known)]


RUNS: dict[str, tuple[int, list[Calculation], dict[str, object], str | None]] = {
    "static": (0, last(1), {}, None),
    "static, all cycles": (210, last(1, cycles=60), {}, None),
    "static, one cycle allowed": (210, last(1, cycles=1), {"NELM": 1}, None),
    "fixed density, all cycles": (210, last(1, cycles=60), {"ICHARG": 11}, None),
    "response after few cycles": (0, last(1, response=110), {"IBRION": 8, "NSW": 1}, None),
    "response after two cycles": (0, last(1, cycles=2, response=110), {"LEPSILON": True}, None),
    "response after all cycles": (210, last(1, cycles=60, response=9), {"LEPSILON": True}, None),
    "displaced, the first unconverged": (210, [Calculation(cycles=60), *last(3)], DISPLACED, None),
    "displaced": (0, last(3), DISPLACED, None),
    "forces small": (0, last(force=0.009), FORCES, None),
    "forces small, an early step unconverged": (
        0,
        [Calculation(cycles=60), *last(force=0.009)],
        FORCES,
        None,
    ),
    "forces at the limit, rounded": (0, last(force=0.0100005), FORCES, None),
    "forces large": (220, last(force=0.02), FORCES, None),
    "forces large, steps used up": (220, last(99, force=0.02), FORCES, None),
    "forces small, steps used up": (220, last(99, force=0.001), FORCES, None),
    "energy": (0, last(12, force=0.06), ENERGY, None),
    "energy, steps used up": (220, last(99, force=0.001), ENERGY, None),
    "energy, and VASP says so": (0, last(12, force=0.06), ENERGY, REACHED + OUTCAR),
    "energy, told to stop": (220, last(12, force=0.06), ENERGY, OUTCAR),
    "energy, OUTCAR cut off": (0, last(12, force=0.06), ENERGY, " Iteration      1\n"),
    "forces zero by symmetry, told to stop": (220, last(), FORCES, OUTCAR),
    "forces zero by symmetry, and VASP says so": (0, last(), FORCES, REACHED + OUTCAR),
    "no criterion": (220, last(99), {**RELAXATION, "EDIFFG": 0.0}, None),
    "atoms did not move": (220, last(1), {"IBRION": -1, "NSW": 0, "EDIFFG": -0.01}, None),
    "electrons and ions": (210, last(cycles=60, force=1.0), FORCES, None),
}


@pytest.mark.parametrize("more", ["", RESPONSE], ids=["VASP 6", "VASP 5"])
@pytest.mark.parametrize("name", RUNS)
def test_the_runner_and_collect_judge_a_file_alike(tmp_path, name, more):
    code, calculations, parameters, outcar = RUNS[name]
    relaxes = "EDIFFG" in parameters
    folder = written(tmp_path, vasprun(calculations, parameters, more=more), outcar)
    output = read_step(folder)
    assert isinstance(output, StepOutput)
    step = TicketStep(name="00-relax1", relaxes=relaxes)
    checks = (electrons_unconverged, ions_unconverged)
    found = next(filter(None, (check(None, step, output) for check in checks)), None)  # type: ignore[arg-type]
    there = runner.judge(folder, relaxes)
    assert there.code == code
    assert ((int(found.code), found.sentence) if found else (0, "")) == there


def test_a_step_that_was_ended_inside_an_electronic_loop_is_nothing(tmp_path: Path):
    folder = written(tmp_path, vasprun())
    (folder / "ABORTED").touch()
    assert runner.judge(folder, False).code == 200
    found = read_step(folder)
    assert not isinstance(found, StepOutput)
    assert found.code == "200"
