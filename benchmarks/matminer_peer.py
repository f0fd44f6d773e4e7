"""Times matminer's Magpie features; run by benchmarks/descriptors.py in the peers' environment.

In: JSON on standard input with ``formulas``. Out: JSON on standard output with seconds of CPU time,
versions and the features. Needs nothing of this product.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib.metadata import version


def main() -> None:
    warnings.filterwarnings("ignore")
    from matminer.featurizers.composition import ElementProperty
    from pymatgen.core import Composition

    formulas = json.load(sys.stdin)["formulas"]
    featurizer = ElementProperty.from_preset("magpie", impute_nan=False)
    for formula in formulas[:50]:
        featurizer.featurize(Composition(formula))

    began = time.process_time()
    compositions = [Composition(formula) for formula in formulas]
    parsing = time.process_time() - began
    began = time.process_time()
    features = [featurizer.featurize(composition) for composition in compositions]
    seconds = time.process_time() - began
    json.dump(
        {
            "labels": featurizer.feature_labels(),
            "features": [[float(x) for x in row] for row in features],
            "parsing": parsing,
            "seconds": seconds,
            "versions": {p: version(p) for p in ("matminer", "pymatgen", "numpy")},
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
