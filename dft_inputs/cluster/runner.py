# ruff: noqa: UP006, UP035, UP045, T201, B905
"""Run one VASP job directory: serves the hand-off step, on the cluster, as one copied file.

In: a job directory with ``ticket.json`` and its step folders. Out: finished steps, ``STATUS.json``
and, last, an empty ``DONE`` or ``FAILED``. Needs Python 3.6's standard library and a VASP command;
custodian is used where it can be imported. May be killed at any moment and be started again.
``gpaw_runner.py`` runs GPAW's jobs by the same rules.

Exit codes: 0 done, 20 no POTCAR, 21 something around the calculation is broken, 30 the calculation
failed, 75 stopped at the wall-time limit (submit again), 76 the job runs elsewhere.
"""

import contextlib
import fcntl
import gzip
import hashlib
import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional

NO_POTCAR, BROKEN, FAILED, STOPPED, ELSEWHERE = 20, 21, 30, 75, 76
FORCE_SLACK = 1.0001
"""VASP compares unrounded forces; its XML has rounded ones."""
TERMS_IN_BETWEEN = 3
"""Energies that VASP writes in a cycle that neither begins nor ends an electronic loop."""
LAUNCHES_THAT_END_BADLY = 2
"""A step that crashes, or whose electrons do not converge, is tried once more (chosen)."""
LOG = "vasp.out"
"""What VASP prints."""
OUTPUTS = ("vasprun.xml", "OUTCAR", "OSZICAR", "CONTCAR", "STOPCAR", "XDATCAR", "ABORTED")
POTCARS = ("POTCAR", "POTCAR.orig")
FAMILY, FUNCTIONAL = "PAW_PBE", "PE"
"""First word of a TITEL, and LEXCH, of every recipe's potentials; symbols are those of LDA too."""
STARTED_FROM = "POSCAR.start"
"""The POSCAR of a relaxation's first launch, by which collect knows what was relaxed."""
NOT_SENT_BACK = (*POTCARS, "WAVECAR", "CHGCAR", "CHG", "LOCPOT", "PROCAR")
TEXTS = ("vasprun.xml", "OUTCAR", "vasp.out", "gpaw.out", "XDATCAR", "EIGENVAL", "DOSCAR")
ALGO_LADDER = {"FAST": "Normal", "NORMAL": "All"}
"""What to try after electrons did not converge, where custodian is not there to decide."""

Facts = Dict[str, Any]


class Verdict(NamedTuple):
    """What became of one launch of a step; code 0 is a good result."""

    code: int
    sentence: str


class StopError(Exception):
    """Ends the run with an exit code; state and reason go to STATUS.json."""

    def __init__(self, exit_code: int, state: str, code: int, sentence: str):
        super().__init__(sentence)
        self.exit_code, self.state, self.verdict = exit_code, state, Verdict(code, sentence)


def broken(code: int, sentence: str) -> StopError:
    """Return what says that nothing is wrong with the calculation itself."""
    return StopError(NO_POTCAR if code == NO_POTCAR else BROKEN, "BROKEN", code, sentence)


def stopped(sentence: str) -> StopError:
    """Return what puts the job back into the queue."""
    return StopError(STOPPED, "RESTARTING", 0, sentence)


class Clock:
    """Knows when the scheduler wants us to stop: by its signal, or by the time we were given."""

    def __init__(self) -> None:
        try:
            self.warning = float(os.environ.get("AGD_WARNING_S") or "600")
            started = float(os.environ.get("AGD_STARTED") or time.time())
            hours = float(os.environ.get("AGD_HOURS") or "0")
        except ValueError as error:
            raise broken(BROKEN, f"AGD_HOURS or AGD_WARNING_S is no number: {error}") from None
        left = hours * 3600.0 - self.warning - max(0.0, time.time() - started)
        self.deadline = time.monotonic() + left if hours > 0 else float("inf")
        self.signalled = False
        for name in ("SIGUSR1", "SIGTERM", "SIGINT", "SIGXCPU"):
            signal.signal(getattr(signal, name), lambda *_: setattr(self, "signalled", True))

    def over(self) -> bool:
        """Return whether to stop now."""
        return self.signalled or time.monotonic() >= self.deadline


class Status:
    """STATUS.json: written by rename; its modification time is the heartbeat."""

    def __init__(self, job: Path):
        self.path = job / "STATUS.json"
        try:
            self.data = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            advice = "copy the one that came with the batch here to begin this job anew"
            raise broken(BROKEN, f"STATUS.json is missing or damaged: {advice}") from None

    def move(self, state: str, verdict: Optional[Verdict] = None, step: str = "") -> None:
        """Enter a state and keep the history."""
        code, sentence = verdict or (0, "")
        self.data.update(state=state, step=step, code=code or None, sentence=sentence)
        entry = {"state": state, "step": step, "at": int(time.time()), "host": socket.gethostname()}
        self.data["history"] = [*self.data["history"], entry][-100:]
        self.write()

    def write(self) -> None:
        """Replace the file in one step."""
        write_whole(self.path, json.dumps(self.data, indent=1, sort_keys=True) + "\n")

    def beat(self, every_s: float) -> None:
        """Show that the job is alive."""
        if time.time() - self.path.stat().st_mtime >= every_s:
            os.utime(str(self.path))


def write_whole(path: Path, text: str) -> None:
    """Write a file that is either complete or as it was."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        with temporary.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        drop([temporary.name], path.parent)


@contextlib.contextmanager
def alone(job: Path, patience_s: float) -> Iterator[None]:
    """Hold the job's lock, which dies with this process, and end what a killed run left behind."""
    elsewhere = StopError(ELSEWHERE, "", 0, "this job is running elsewhere")
    with (job / "LOCK").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise elsewhere from None
        except OSError:  # a file system without locks: the heartbeat has to do
            status = Status(job)
            fresh = time.time() - status.path.stat().st_mtime < patience_s
            if fresh and status.data["state"] == "RUNNING":
                raise elsewhere from None
        token = f"AGD_JOB={job.resolve()}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if token in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
        yield


def parsable(poscar: Path) -> bool:
    """Return whether a CONTCAR is complete: cell, species, and a line of numbers for every atom."""
    try:
        lines = poscar.read_text().splitlines()
        cell = [[float(x) for x in line.split()[:3]] for line in lines[2:5]]
        atoms = sum(int(n) for n in lines[6].split())
        start = 9 if lines[7].strip()[:1] in ("s", "S") else 8
        sites = [[float(x) for x in line.split()[:3]] for line in lines[start : start + atoms]]
        whole = float(lines[1]) != 0 and all(any(row) for row in cell)
    except (OSError, ValueError, IndexError):
        return False
    finite = all(len(row) == 3 and all(abs(x) < 1e6 for x in row) for row in cell + sites)
    return whole and finite and len(cell) == 3 and len(sites) == atoms > 0


def judge(folder: Path, relaxes: bool) -> Verdict:
    """Judge a step from its vasprun.xml, and from CONTCAR if a later step starts from it."""
    try:
        run = read_run(folder / "vasprun.xml")
    except FileNotFoundError:
        return Verdict(200, "vasprun.xml is missing")
    except (ElementTree.ParseError, ValueError, OSError) as error:
        return Verdict(200, f"vasprun.xml is cut off or damaged: {error}")
    if not run["calculations"] or (folder / "ABORTED").exists():
        return Verdict(200, "vasprun.xml holds no finished calculation")
    verdict = electrons_verdict(run)
    if relaxes and not verdict.code:
        with contextlib.suppress(FileNotFoundError), (folder / "OUTCAR").open("rb") as outcar:
            run["reached"] = reached_accuracy(outcar)
        verdict = ions_verdict(run)
        if not verdict.code and not parsable(folder / "CONTCAR"):
            return Verdict(200, "CONTCAR is missing or cut off")
    return verdict


def electrons_verdict(run: Facts) -> Verdict:
    """Judge the electrons of a step; here and where results are collected."""
    if run["cycles"] >= run["NELM"]:
        return Verdict(210, f"electrons did not converge in {run['NELM']} cycles")
    return Verdict(0, "")


def ions_verdict(run: Facts) -> Verdict:
    """Judge a relaxation by the criterion VASP had; here and where results are collected."""
    if run["EDIFFG"] < 0 and run["force"] > -run["EDIFFG"] * FORCE_SLACK:
        return Verdict(220, f"the largest force is {run['force']:.4f} eV/A")
    if run["calculations"] >= run["NSW"]:
        return Verdict(220, f"ions did not converge in {run['NSW']} steps")
    if run["reached"] is False:
        return Verdict(220, "VASP was stopped before it reached the accuracy asked for")
    return Verdict(0, "")


def reached_accuracy(outcar: Iterable[bytes]) -> Optional[bool]:
    """Return whether VASP ended a relaxation by itself; None for an OUTCAR that is cut off.

    Forces can be zero by symmetry while the cell is not yet relaxed, and an energy criterion
    leaves no trace in vasprun.xml at all.
    """
    whole = False
    for line in outcar:
        if b"reached required accuracy" in line:
            return True
        whole = whole or b"General timing and accounting" in line
    return False if whole else None


def ground_state_cycles(terms: List[int]) -> int:
    """Return a ground state's cycles, given the number of terms in the energy of each cycle.

    VASP writes all terms in the first and in the last cycle of the ground state. The cycles after
    it are the response to fields and displacements (LEPSILON, IBRION 7 and 8).
    """
    full = [number for number, count in enumerate(terms, 1) if count > TERMS_IN_BETWEEN]
    return full[1] if 1 < len(full) < len(terms) else len(terms)


def deciding_cycles(cycles: List[int], ibrion: int) -> int:
    """Return the cycles to judge: of the last ionic step; of all, where forces are differenced."""
    return max(cycles, default=0) if ibrion in (5, 6) else cycles[-1]


def read_run(path: Path) -> Facts:
    """Return what `judge` needs, reading the XML as a stream."""
    run = {"calculations": 0, "cycles": 0, "force": 0.0, "reached": None}  # type: Facts
    wanted = {"NELM": "60", "NSW": "0", "EDIFFG": "0", "IBRION": "-1"}
    found, cycles, inside = {}, [], [""]  # type: Dict[str, str], List[int], List[str]
    for event, node in ElementTree.iterparse(str(path), events=("start", "end")):
        if event == "start":
            inside.append(node.tag)
            continue
        inside.pop()
        name = node.get("name", "").strip()
        if node.tag == "i" and "parameters" in inside and name in wanted:
            found.setdefault(name, node.text)  # VASP 5 has another NELM under response functions
        elif node.tag == "calculation":
            lines = [v.text.split() for v in node.findall("varray[@name='forces']/v")]
            run["force"] = max((sum(float(x) ** 2 for x in v) ** 0.5 for v in lines), default=0.0)
            cycles.append(ground_state_cycles([len(e) for e in node.findall("scstep/energy")]))
            node.clear()
        elif node.tag in ("eigenvalues", "dos", "projected", "kpoints", "primitive_cell"):
            node.clear()
    run.update((name, float(found.get(name, usual))) for name, usual in wanted.items())
    run.update((name, int(run[name])) for name in ("NELM", "NSW", "IBRION"))
    if cycles:
        run.update(calculations=len(cycles), cycles=deciding_cycles(cycles, run["IBRION"]))
    return run


def line_digest(text: bytes) -> str:
    """Return the SHA-256 of a text, whatever its line ends."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def potcar_for(folder: Path, job: Path) -> Facts:
    """Put the POTCAR that POTCAR.spec names into the step folder; return its titles and hash."""
    symbols = (folder / "POTCAR.spec").read_text().split()
    target, library = folder / "POTCAR", os.environ.get("AGD_POTCARS", "")
    if not target.exists() and (job / "POTCAR").exists():
        write_whole(target, (job / "POTCAR").read_text(errors="replace"))
    if not target.exists() and library:
        parts = [Path(library).expanduser() / symbol / "POTCAR" for symbol in symbols]
        missing = [symbol for symbol, part in zip(symbols, parts) if not part.is_file()]
        if missing:
            raise broken(NO_POTCAR, f"{library} has no {missing[0]}/POTCAR")
        write_whole(target, "".join(part.read_text(errors="replace") for part in parts))
    if not target.exists() or not target.stat().st_size:
        sentence = "set AGD_POTCARS in cluster.env to the folder of your licensed potentials"
        by_hand = f"put a POTCAR of {' '.join(symbols)} into the job folder"
        raise broken(NO_POTCAR, f"POTCAR is missing: {sentence}, or {by_hand}")
    content = target.read_bytes()
    lines = [line.strip() for line in content.decode(errors="replace").splitlines()]
    titles = [line.split("=", 1)[1].strip() for line in lines if line.startswith("TITEL")]
    named = [[*title.split(), "", ""][1] for title in titles]
    if named != symbols:
        raise broken(NO_POTCAR, f"POTCAR holds {' '.join(named)}, wanted {' '.join(symbols)}")
    functionals = [line.split("=", 1)[1].strip() for line in lines if line.startswith("LEXCH")]
    others = [title for title in titles if title.split()[0] != FAMILY]
    others += [f"LEXCH = {name}" for name in functionals if name.upper() != FUNCTIONAL]
    if others:
        raise broken(NO_POTCAR, f"POTCAR holds {others[0]}, wanted {FAMILY} potentials")
    each = [line_digest(part) for part in content.split(b"End of Dataset")[: len(titles)]]
    return {"titel": titles, "sha256": hashlib.sha256(content).hexdigest(), "sha256_each": each}


def repeated(poscar: str, times: Optional[List[int]]) -> str:
    """Return a POSCAR of the cell repeated along its edges; copies of an atom stand together."""
    if not times:
        return poscar
    lines = poscar.splitlines()
    numbers = [int(n) for n in lines[6].split()]
    start = 9 if lines[7].strip()[:1] in ("s", "S") else 8
    copies = list(itertools.product(*(range(n) for n in times)))
    rows = [[float(x) * n for x in line.split()] for line, n in zip(lines[2:5], times)]
    for line in lines[start : start + sum(numbers)]:
        here = [float(x) for x in line.split()[:3]]
        rows += [[(x + k) / n for x, k, n in zip(here, copy, times)] for copy in copies]
    written = [" ".join(f"{x:.16f}" for x in row) for row in rows]
    head = [" ".join(str(n * len(copies)) for n in numbers), "Direct"]
    return "\n".join([*lines[:2], *written[:3], lines[5], *head, *written[3:]]) + "\n"


def keep_start(folder: Path) -> None:
    """Keep the POSCAR a relaxation began with, custodian's copy of it where there is one."""
    start, first = folder / STARTED_FROM, folder / "POSCAR.orig"
    if not start.exists():
        write_whole(start, (first if first.exists() else folder / "POSCAR").read_text())


def prepare(job: Path, step: Facts) -> None:
    """Put geometry and charge density into a step folder, and clear what a former launch left."""
    folder = job / step["name"]
    if step["relaxes"] and parsable(folder / "CONTCAR"):
        keep_start(folder)
        write_whole(folder / "POSCAR", (folder / "CONTCAR").read_text())
    elif step["structure_from"]:
        source = job / step["structure_from"] / "CONTCAR"
        if not parsable(source):
            raise broken(200, f"{step['structure_from']}/CONTCAR is unusable")
        write_whole(folder / "POSCAR", repeated(source.read_text(), step.get("supercell")))
    if step["density_from"]:
        source = job / step["density_from"] / "CHGCAR"
        if not source.exists():
            raise broken(200, f"{step['density_from']}/CHGCAR is gone")
        drop(["CHGCAR"], folder)  # whosever it is
        (folder / "CHGCAR").symlink_to(f"../{step['density_from']}/CHGCAR")
    drop(OUTPUTS, folder)


def existing(command: List[str]) -> List[str]:
    """Return a command whose program is here, before its launch counts as an attempt."""
    program = command[0] if command else ""
    relative = "/" in program and not Path(program).is_absolute()  # to the step folder
    if not relative and shutil.which(program) is None:
        advice = "correct the command in cluster.env, or load its module in AGD_SETUP"
        raise broken(BROKEN, f"there is no program {program or 'to run'}: {advice}")
    return command


def vasp_command() -> List[str]:
    """Return the words that start VASP, under custodian where there is one."""
    command = existing(shlex.split(os.environ.get("AGD_VASP", "vasp_std")))
    wrapper = Path(__file__).resolve().with_name("custodian_vasp.py")
    return [sys.executable, str(wrapper), *command] if has_custodian() else command


def launch(
    folder: Path, command: List[str], limits: Facts, status: Status, clock: Clock, log: str = LOG
) -> bool:
    """Run a step in its folder; return whether it had to be stopped at the wall-time limit."""
    job, name, attempts = folder.parent, folder.name, status.data["attempts"]
    attempts[name] = attempts.get(name, 0) + 1
    status.move("RUNNING", step=name)
    marks = {"AGD_JOB": str(job.resolve()), "AGD_CORRECTIONS": str(limits["corrections"])}
    where = {"cwd": str(folder), "env": dict(os.environ, **marks)}  # type: Dict[str, Any]
    with (folder / log).open("ab") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, **where)
    began, rung = 0.0, 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = child.wait(timeout=1.0)
            break
        status.beat(limits["heartbeat_s"])
        if clock.over():
            began = began or time.monotonic()
            rung = ask_to_stop(folder, child, time.monotonic() - began, clock.warning, rung)
    if code in (126, 127) and not (folder / "OUTCAR").exists():
        attempts[name] -= 1
        raise broken(BROKEN, f"{command[0]} ended with code {code}; is its module loaded?")
    return bool(began)


def with_last_words(verdict: Verdict, log: Path) -> Verdict:
    """Add to a result that is missing or damaged what the program said last."""
    if verdict.code == 200 and shutil.disk_usage(str(log.parent)).free < 1 << 20:  # chosen
        raise broken(BROKEN, "the disk is full")
    if verdict.code != 200 or not log.exists():
        return verdict
    lines = log.read_text(errors="replace")[-4000:].splitlines()
    last = next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
    return Verdict(200, f"{verdict.sentence}; {log.name} ends with: {last}") if last else verdict


def ask_to_stop(folder: Path, child: Any, waited: float, warning: float, rung: int) -> int:
    """Stop after this ionic step, then after this electronic step, then at once."""
    waits = ((0.0, "LSTOP = .TRUE.\n"), (0.4, "LABORT = .TRUE.\n"), (0.8, ""))
    if rung == len(waits) or waited < warning * waits[rung][0]:
        return rung
    if waits[rung][1]:
        if rung:
            (folder / "ABORTED").touch()
        write_whole(folder / "STOPCAR", waits[rung][1])
    else:
        end(child)
    return rung + 1


def end(child: Any) -> None:
    """End VASP; under SLURM its job step first, or later steps of the allocation would hang."""
    allocation, index = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    if index:  # one element has the array's own id, which would mean the steps of all
        allocation = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{index}"
    if allocation and shutil.which("scancel") and shutil.which("squeue"):
        query = ["squeue", "--noheader", "--steps", "--job", allocation, "--format=%i"]
        for name in subprocess.check_output(query).decode().split():
            if name.rpartition(".")[2].isdigit():
                subprocess.run(["scancel", name])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def has_custodian() -> bool:
    """Return whether custodian is installed and wanted."""
    return bool(os.environ.get("AGD_CUSTODIAN", "yes") == "yes" and find_spec("custodian"))


def climb_ladder(folder: Path) -> Optional[Dict[str, str]]:
    """Try the next ALGO after electrons did not converge; None when there is no other left."""
    lines = (folder / "INCAR").read_text().splitlines()
    for i, line in enumerate(lines):
        tag, _, value = (part.strip() for part in line.partition("="))
        if tag == "ALGO" and value.upper() in ALGO_LADDER:
            lines[i] = f"ALGO = {ALGO_LADDER[value.upper()]}"
            write_whole(folder / "INCAR", "\n".join(lines) + "\n")
            return {"tag": "ALGO", "from": value, "to": ALGO_LADDER[value.upper()]}
    return None


def launched_before(status: Status, name: str) -> bool:
    """Return whether a step has run here, also before somebody had it tried again."""
    history = [entry for entry in status.data["history"] if entry.get("step") == name]
    return any(entry.get("state") == "RUNNING" for entry in history)


def run_step(job: Path, step: Facts, ticket: Facts, status: Status, clock: Clock) -> Verdict:
    """Run one step until it is good, hopeless, or out of time or attempts."""
    folder, name = job / step["name"], step["name"]
    attempts, bad_ends = status.data["attempts"], 0
    verdict = judge(folder, step["relaxes"])
    while verdict.code and attempts.get(name, 0) < ticket["limits"]["attempts"]:
        if clock.over():
            raise stopped(f"no time is left for {name}")
        status.data["potcar"] = potcar_for(folder, job)
        # Without an attempt, somebody wants it tried again, perhaps with an INCAR of their own.
        if verdict.code == 210 and attempts.get(name) and not has_custodian():
            correction = climb_ladder(folder)
            if correction is None:
                return verdict
            status.data["corrections"].append(dict(correction, step=name))
        command = vasp_command()
        if not launched_before(status, name):
            drop(["CONTCAR"], folder)  # nobody knows whose it is
        prepare(job, step)
        interrupted = launch(folder, command, ticket["limits"], status, clock)
        verdict = with_last_words(judge(folder, step["relaxes"]), folder / LOG)
        if verdict.code and interrupted and attempts[name] < ticket["limits"]["attempts"]:
            raise stopped("stopped at the wall-time limit")
        bad_ends += verdict.code in (200, 210)
        if bad_ends >= LAUNCHES_THAT_END_BADLY:
            return verdict
    return verdict


StepRunner = Callable[[Path, Facts, Facts, Status, Clock], Verdict]


def drop(names: Iterable[str], *folders: Path) -> None:
    """Delete files, such as licensed potentials: folders are copied to where nobody has any."""
    for path in [folder / name for folder in folders for name in names]:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def tidy(job: Path, ticket: Facts) -> None:
    """Compress texts, drop large files and licensed potentials, also those put here by hand."""
    drop(POTCARS, job)
    for step in ticket["steps"]:
        folder = job / step["name"]
        drop(NOT_SENT_BACK, folder)
        for source in [folder / name for name in TEXTS if (folder / name).exists()]:
            packed = folder / f".tmp-{source.name}.gz"
            with source.open("rb") as plain, gzip.open(str(packed), "wb", 6) as out:
                shutil.copyfileobj(plain, out)
            packed.replace(folder / f"{source.name}.gz")
            source.unlink()


def geometry_lost(job: Path, name: str, ticket: Facts, finished: List[str]) -> bool:
    """Return whether a step has yet to start from a CONTCAR that is gone, as after a power cut."""
    waiting = [step for step in ticket["steps"] if step["name"] not in finished]
    needed = any(step["structure_from"] == name for step in waiting)
    return needed and not parsable(job / name / "CONTCAR")


def run_steps(job: Path, ticket: Facts, status: Status, run: StepRunner) -> int:
    """Run the steps that are not finished; the marker is the last thing written."""
    clock = Clock()
    if status.data["state"] == "FAILED":  # somebody took the marker away to try again
        status.data["attempts"] = {}
    finished = status.data["finished"]
    for step in ticket["steps"]:
        if step["name"] in finished:
            if not geometry_lost(job, step["name"], ticket, finished):
                continue
            finished.remove(step["name"])
        verdict = run(job, step, ticket, status, clock)
        if verdict.code and step["required"]:
            drop(POTCARS, *(job / other["name"] for other in ticket["steps"]))
            status.move("FAILED", verdict, step["name"])
            (job / "FAILED").touch()
            print(f"{job.name}: {step['name']}: {verdict.code} {verdict.sentence}", file=sys.stderr)
            return FAILED
        finished.append(step["name"])
        status.write()
    tidy(job, ticket)
    status.move("DONE")
    (job / "DONE").touch()
    return 0


def run_job(job: Path, run: StepRunner = run_step) -> int:
    """Run a job; whatever stops it is written into STATUS.json and said in a sentence."""
    if (job / "DONE").exists():
        print(f"{job.name}: done before", file=sys.stderr)
        return 0
    if (job / "FAILED").exists():
        print(f"{job.name}: failed before; to try again: sh submit.sh --again", file=sys.stderr)
        return FAILED
    ticket = json.loads((job / "ticket.json").read_text(encoding="utf-8"))
    try:
        with alone(job, 10 * ticket["limits"]["heartbeat_s"]):
            status = Status(job)
            try:
                return run_steps(job, ticket, status, run)
            except StopError as stop:
                with contextlib.suppress(OSError):
                    status.move(stop.state, stop.verdict)
                raise
            except OSError as error:
                sentence = f"{error.strerror or error}: {error.filename or ''}"
                with contextlib.suppress(OSError):
                    status.move("BROKEN", Verdict(BROKEN, sentence))
                raise broken(BROKEN, sentence) from error
    except StopError as stop:
        print(f"{job.name}: {stop}", file=sys.stderr)
        return stop.exit_code


def job_folder() -> Path:
    """Return the job folder that the command line names."""
    if len(sys.argv) != 3 or sys.argv[1] != "run" or not Path(sys.argv[2], "ticket.json").is_file():
        print("usage: runner.py run JOB-FOLDER", file=sys.stderr)
        sys.exit(2)
    return Path(sys.argv[2])


if __name__ == "__main__":
    sys.exit(run_job(job_folder()))
