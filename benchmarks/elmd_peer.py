"""Times ElMD and returns its distances; run by benchmarks/emd.py in the peers' own environment.

In: JSON on standard input with ``pairs`` of formulas, a ``query`` list and a ``library`` list. Out:
JSON on standard output with seconds of CPU time and the distances. Needs nothing of this product.
"""

from __future__ import annotations

import json
import sys
import time

from ElMD import ElMD, elmd

METRIC = "mod_petti"


def main() -> None:
    asked = json.load(sys.stdin)
    pairs = asked["pairs"]
    for a, b in pairs[:50]:
        elmd(a, b, metric=METRIC)

    began = time.process_time()
    distances = [elmd(a, b, metric=METRIC) for a, b in pairs]
    from_text = time.process_time() - began

    began = time.process_time()
    objects = [(ElMD(a, metric=METRIC), ElMD(b, metric=METRIC)) for a, b in pairs]
    building = time.process_time() - began
    objects[0][0].elmd(objects[0][1])
    began = time.process_time()
    for a, b in objects:
        a.elmd(b)
    from_objects = time.process_time() - began

    began = time.process_time()
    rows = [[elmd(q, f, metric=METRIC) for f in asked["library"]] for q in asked["queries"]]
    searching = time.process_time() - began
    json.dump(
        {
            "distances": distances,
            "from_text": from_text,
            "building": building,
            "from_objects": from_objects,
            "rows": rows,
            "searching": searching,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
