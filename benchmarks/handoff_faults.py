"""The schedule of faults that handoff_peers.py puts on every workflow, and the audit afterwards.

In: numbers of candidates and kills, and a seed. Out: a `Schedule`; later, from a workflow's CSV and
the log of counted_vasp.py, what was lost, doubled, wrong and wasted.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handoff import candidates, expected, toy

from dft_inputs.references.prototypes import build

STEPS = ("00-relax1", "01-relax2", "02-static", "03-uniform", "04-bands")
ONCE = {
    "truncate": STEPS,
    "garbage": STEPS,
    "no-xml": STEPS,
    "die": STEPS,
    "nelm": STEPS,
    "nsw": STEPS[:2],
    "empty-contcar": STEPS[:2],
    "cut-contcar": STEPS[:2],
    "no-contcar": STEPS[:2],
}
"""Behaviours of the stand-in that one launch has, and the steps they make sense in."""

ALWAYS = (("nelm", "02-static"), ("nsw", "01-relax2"), ("truncate", "04-bands"))
"""Every launch of the step fails: no result is the right answer."""

OTHER = (("other-titel", "02-static"), ("other-encut", "02-static"))
"""A complete calculation, but with another potential or cutoff than was asked for."""

HARMFUL = frozenset({"truncate", "garbage", "no-xml", "die", "nelm", "nsw"})
"""No result may be read from a launch that behaved so."""

VASP_FILES = frozenset(
    "INCAR KPOINTS POSCAR POTCAR vasprun.xml OUTCAR OSZICAR CONTCAR CHGCAR WAVECAR vasp.out".split()
)
"""What any workflow has to write or VASP writes; the rest is overhead."""


@dataclass(frozen=True)
class Schedule:
    """What happens to every workflow alike.

    Attributes
    ----------
    cells : dict of str to Structure
        Candidates by formula.
    faults : dict of str to dict
        What counted_vasp.py reads, by `key_of`.
    kills : tuple of (bool, float)
        When the k-th process that writes inputs and runs VASP is killed: seconds after its start,
        or, if the first is true, after its first launch of VASP. On a busy machine the start alone
        takes seconds, and kills should also hit the work.
    collect_kills : tuple of (bool, float)
        The same for the k-th collect, always after its start.
    moved : int
        Which of a workflow's folders is renamed before collect.
    """

    cells: dict[str, Any]
    faults: dict[str, dict[str, Any]]
    kills: tuple[tuple[bool, float], ...]
    collect_kills: tuple[tuple[bool, float], ...]
    moved: int


def key_of(formula: str) -> str:
    """Return a formula as counted_vasp.py names it."""
    from pymatgen.core import Composition

    parts = Composition(Composition(formula).reduced_formula).as_dict()
    return " ".join(f"{element}{int(n)}" for element, n in sorted(parts.items()))


def draw(number: int, each: int, kills: int, collect_kills: int, seed: int) -> Schedule:
    """Draw candidates, which of them misbehave, and when processes are killed."""
    chance = random.Random(seed)
    cells = [build(shape, elements) for shape, elements in chance.sample(candidates(3000), number)]
    faults: dict[str, dict[str, Any]] = {
        key_of(c.formula): {"volume_A3_per_atom": c.volume / len(c), "times": 0} for c in cells
    }
    plan = [(odd, chance.choice(steps), 1) for _ in range(each) for odd, steps in ONCE.items()]
    plan += [(odd, step, -1) for odd, step in (*ALWAYS, *OTHER)]
    unlucky = chance.sample(sorted(faults), len(plan))
    for name, (odd, step, times) in zip(unlucky, plan, strict=True):
        faults[name] |= {"behaviour": odd, "step": step, "times": times}
    return Schedule(
        cells={c.composition.reduced_formula: c for c in cells},
        faults=faults,
        kills=tuple(
            (True, chance.uniform(0.0, 4.0)) if k % 2 else (False, chance.uniform(0.5, 5.0))
            for k in range(kills)
        ),
        collect_kills=tuple((False, chance.uniform(0.5, 3.0)) for _ in range(collect_kills)),
        moved=chance.randrange(number),
    )


def launches(place: Path) -> list[dict[str, Any]]:
    """Return the log of counted_vasp.py."""
    return [json.loads(line) for line in (place / "launches.jsonl").read_text().splitlines()]


def audit(table: Path, schedule: Schedule, log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Count what a workflow's CSV holds against the toy's answers, computed apart from any run."""
    module = toy()
    right = {}
    for cell in schedule.cells.values():
        gap, energy = expected(module, {e: int(n) for e, n in cell.composition.as_dict().items()})
        right[key_of(cell.formula)] = (energy / len(cell), gap)
    with table.open() as handle:
        rows = [(key_of(row["formula"]), row) for row in csv.DictReader(handle)]
    named = Counter(name for name, _ in rows)
    faults = schedule.faults
    unanswerable = {name for name, fault in faults.items() if fault["times"] < 0}
    others = {n for n in unanswerable if faults[n]["behaviour"].startswith("other")}
    return {
        "lost": len(set(right) - unanswerable - set(named)),
        "duplicated": sum(n - 1 for n in named.values()),
        "wrong": sum(not _close(row, right.get(name)) for name, row in rows),
        "unsound": sum(_built_on_harm(name, faults.get(name, {}), log) for name in named),
        "other": len(others & set(named)),
        "launches": sum(x["event"] == "begin" for x in log),
        "wasted": _wasted(log),
    }


def _close(row: Mapping[str, str], right: tuple[float, float] | None) -> bool:
    if right is None:
        return False
    energy, gap = float(row["energy_eV_per_atom"]), float(row["gap_eV"])
    return abs(energy - right[0]) < 1e-4 and abs(gap - right[1]) < 0.05


def _built_on_harm(name: str, fault: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the last launch of a candidate's bad step gave no sound output."""
    which = (name, fault.get("step"))
    odds = [x["odd"] for x in log if x["event"] == "end" and (x["formula"], x["step"]) == which]
    return bool(odds) and odds[-1] in HARMFUL


def _wasted(log: Sequence[Mapping[str, Any]]) -> int:
    """Count launches of steps of which an earlier launch had ended well."""
    ended_well, wasted = set(), 0
    for entry in log:
        which = (entry["formula"], entry["step"])
        if entry["event"] == "begin":
            wasted += which in ended_well
        elif entry["status"] == 0 and not entry["odd"]:
            ended_well.add(which)
    return wasted


def sizes(root: Path, count: int, own_ticket: bool) -> dict[str, float]:
    """Return bytes on disk a candidate: in all, and without VASP's own inputs and outputs.

    ``ticket.json`` of a peer comes from counted_vasp.py and is left out.
    """
    found = [(p.name, p.lstat().st_size) for p in root.rglob("*") if p.is_file()]
    found = [(name, n) for name, n in found if name != "candidates.json"]
    found = [(name, n) for name, n in found if own_ticket or name != "ticket.json"]
    own = [n for name, n in found if name.removesuffix(".gz") not in VASP_FILES]
    return {"bytes": sum(own) / count, "all bytes": sum(n for _, n in found) / count}
