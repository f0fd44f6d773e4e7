"""Runs tests/engines/fake_vasp for handoff_peers.py, counts the launch, and misbehaves on schedule.

In: the working directory of a VASP step, and a folder named by COUNTED_VASP with ``faults.json``:
for each reduced formula its volume per atom, and for one of its steps a behaviour and how many
launches have it (-1: all). Out: the stand-in's files and exit code, and in ``launches.jsonl`` a
line when the launch begins and one when it ends, with its CPU seconds. A schedule kept outside the
job folders is the same for every workflow, also for one that makes a new folder for each launch.

    COUNTED_VASP=FOLDER python -I -S benchmarks/counted_vasp.py
"""

import importlib.machinery
import json
import os
import resource
import sys
import time
from functools import reduce
from math import gcd
from pathlib import Path

FAKE = Path(__file__).resolve().parent.parent / "tests" / "engines" / "fake_vasp"


def formula_here():
    """Return the reduced formula of POSCAR, elements in alphabetical order, and its atoms."""
    try:
        lines = Path("POSCAR").read_text().splitlines()
        cell = dict(zip(lines[5].split(), map(int, lines[6].split()), strict=True))
    except (OSError, ValueError, IndexError):
        return "unreadable", 0
    unit = reduce(gcd, cell.values())
    return " ".join(f"{e}{n // unit}" for e, n in sorted(cell.items())), sum(cell.values())


def launches(folder):
    """Return the lines logged so far; one cut off by a kill is left out."""
    try:
        lines = (folder / "launches.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("}")]


def log(folder, **entry):
    """Add a line in one write."""
    handle = os.open(folder / "launches.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, (json.dumps({**entry, "at": time.time()}) + "\n").encode())
    os.close(handle)


def main():
    folder, step = Path(os.environ["COUNTED_VASP"]), Path.cwd().name
    formula, atoms = formula_here()
    faults = json.loads((folder / "faults.json").read_text())
    fault = faults.get(formula, {})
    odd = fault["behaviour"] if fault.get("step") == step else ""
    this = {"formula": formula, "step": step}
    past = [x for x in launches(folder) if {**x, **this} == x and x["event"] == "end" and x["odd"]]
    if odd and 0 <= fault["times"] <= len(past):
        odd = ""
    nature = Path("../ticket.json")  # the volume the toy crystal relaxes to
    if fault and not nature.exists():
        nature.write_text(json.dumps({"volume_A3": fault["volume_A3_per_atom"] * atoms}))
    log(folder, event="begin", odd=odd, **this)
    child = os.fork()
    if not child:
        os.environ["FAKE_VASP"] = f"*={odd}" if odd else ""
        sys.argv = [str(FAKE)]
        loader = importlib.machinery.SourceFileLoader("__main__", str(FAKE))
        exec(loader.get_code("__main__"), {"__name__": "__main__", "__file__": str(FAKE)})
        sys.stdout.flush()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(u.ru_utime + u.ru_stime for u in used)
    log(folder, event="end", odd=odd, status=status, cpu_s=cpu_s, **this)
    sys.exit(status)


if __name__ == "__main__":
    main()
