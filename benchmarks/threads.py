"""CPU time of drawing compositions beside busy programs, with our settings of threads and without.

    python benchmarks/threads.py

Each draw is a process of its own, started with the environment as it was given or with the settings
that every process of the product gets; the two take turns, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

from measuring import ROOT, publish

from tasks.campaign.surroundings import of_others, settings

NAMES = (*settings({}), "OMP_WAIT_POLICY")
DRAW = """
import hashlib, resource, sys, time
from models.compositions.generator import load_generator
from models.pretrained import shipped

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

model = load_generator(shipped(sys.argv[1]))
model.sample(200, 1)
spent, began = cpu(), time.monotonic()
drawn = model.sample(int(sys.argv[2]), 3)
digest = hashlib.sha256(drawn.tobytes()).hexdigest()[:12]
print(cpu() - spent, time.monotonic() - began, digest)
"""


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep a number of processes computing meanwhile."""
    endless = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(endless) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def draw(generator: str, n: int, env: dict[str, str]) -> tuple[float, float, str]:
    """Return CPU seconds, seconds and a digest of what was drawn."""
    words = [sys.executable, "-c", DRAW, generator, str(n)]
    done = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    cpu, wall, digest = done.stdout.split()
    return float(cpu), float(wall), digest


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compositions", type=int, default=10_000)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    bare = {k: v for k, v in of_others(os.environ).items() if k not in NAMES}
    ways = {"as libraries come": bare, "with our settings": bare | settings(bare)}
    load = os.getloadavg()[0]
    rows, digests = [], {}
    for count in chosen.busy:
        for generator in ("matgan", "sequence"):
            found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            with busy(count):
                for _ in range(chosen.repeats):
                    for way, env in ways.items():
                        cpu, wall, digest = draw(generator, chosen.compositions, env)
                        found[way].append((cpu, wall))
                        digests.setdefault(generator, set()).add(digest)
            cells = [
                f"{statistics.median(cpu for cpu, _ in found[way]):.2f} / "
                f"{statistics.median(wall for _, wall in found[way]):.2f}"
                for way in ways
            ]
            rows.append(f"| {generator} | {count} | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    same = all(len(one) == 1 for one in digests.values())
    publish("threads", page(chosen, ways, rows, same, load))


def page(
    chosen: argparse.Namespace,
    ways: dict[str, dict[str, str]],
    rows: list[str],
    same: bool,
    load: float,
) -> list[str]:
    """Return the lines of the page."""
    made = ", ".join(f"`{k}={v}`" for k, v in settings({}).items() if k != "AGD_SET")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    return [
        "# Threads that wait without spinning",
        "",
        f"Command: `python benchmarks/threads.py --compositions {chosen.compositions} "
        f"--repeats {chosen.repeats}`.",
        "",
        f"Machine: {os.cpu_count()} cores, load {load:.1f} before the run; "
        f"Python {platform.python_version()}, {packages}.",
        "",
        f"CPU seconds / seconds of drawing {chosen.compositions:,} compositions, the median of "
        f"{chosen.repeats}, the ways taking turns. Our settings: {made}.",
        "",
        f"| generator | busy processes beside | {' | '.join(ways)} |",
        "|---|---|---|---|",
        *rows,
        "",
        f"The compositions drawn are {'the same' if same else 'NOT the same'} in all of them.",
    ]


if __name__ == "__main__":
    main()
