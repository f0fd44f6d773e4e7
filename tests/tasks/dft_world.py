"""The small world of `search_world`, searched with calculations: templates, a cluster, an engine.

Run as a program it searches in the directory given, so that a test can kill it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pymatgen.core import Lattice, Structure

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.engines import engine_named
from structure.properties.gap_window import band_gaps
from structure.templates.library import TemplateLibrary
from tasks.campaign.directory import Campaign
from tasks.campaign.handles import handle_for
from tasks.campaign.outputs import Explored, Ingested, Trained
from tasks.explore.stage import ExploreConfig, explore
from tasks.oracles.dft import DFTOracle
from tasks.oracles.dft_settings import DFTOracleConfig
from tasks.oracles.oracle import OracleConfig
from tests.dft_inputs.cells import rocksalt
from tests.tasks.search_world import CountSpace, ingested

ENGINES = Path(__file__).parents[1] / "engines"
FAKE_VASP, FAKE_GPAW = ENGINES / "fake_vasp", ENGINES / "fake_gpaw"


def _cubic(group: str, edge: float, species: list[str], sites: list[list[float]]) -> Structure:
    cell = Structure.from_spacegroup(group, Lattice.cubic(edge), species, sites)
    return cell.get_primitive_structure()


TEMPLATES = [
    ("salt", rocksalt("Na", "Cl", 5.64).get_primitive_structure()),
    ("fluorite", _cubic("Fm-3m", 5.46, ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]])),
    (
        "perovskite",
        _cubic("Pm-3m", 4.0, ["Na", "Mg", "F"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]),
    ),
]

SEARCH = ExploreConfig(
    budget=6, batch=3, pool_size=400, maximum_elements=3, maximum_atoms=5, kappa=1.0
)


ANY_TEMPLATE = {"maximum_emd": 102.0, "minimum_volume_scale": 0.1, "maximum_volume_scale": 10.0}
"""Limits that let every compound of this world have one of its three structures."""


def cluster(**changes: Any) -> ClusterSettings:
    """Return settings that run the stand-ins one after another, here."""
    known = {"scheduler": "shell", "hours": 0, "custodian": False, "vasp": str(FAKE_VASP)}
    return ClusterSettings(**{**known, "gpaw_python": str(FAKE_GPAW), **changes})


def config(potcars: Path, dft: dict[str, Any] | None = None, **changes: Any) -> ExploreConfig:
    """Return a search that asks for VASP jobs."""
    cheap = {"cluster": cluster(potcars=str(potcars)), **ANY_TEMPLATE}
    settings = DFTOracleConfig(**{**cheap, **(dft or {})})
    oracle = OracleConfig(kind="vasp", dft=settings)
    return SEARCH.model_copy(update={"oracle": oracle, **changes})


def begun(campaign: Campaign) -> Ingested:
    """Do what ingest would have done: initial labels and templates."""
    found = campaign.ledger.finished("ingest", "all")
    if found is not None:
        return Ingested.model_validate_json(found)
    library = TemplateLibrary.from_structures(TEMPLATES)
    path = campaign.folder("ingest") / "templates.parquet"
    library.save(path)
    templates = handle_for(campaign.root, path, len(library), "templates")
    output = ingested(campaign).model_copy(update={"templates": templates})
    campaign.ledger.finish("ingest", "all", output.model_dump_json(), 0.0)
    return output


def search(campaign: Campaign, settings: ExploreConfig, **options: Any) -> Explored:
    """Search this world with calculations."""
    return campaign.run(
        explore,
        settings,
        band_gaps(),
        begun(campaign),
        Trained(models={}),
        space=CountSpace(),
        **options,
    )


def oracle_of(campaign: Campaign, settings: ExploreConfig) -> DFTOracle:
    """Return the oracle of a search, to be asked without one."""
    begun(campaign)
    return DFTOracle(campaign, engine_named(settings.oracle.kind), settings.oracle.dft)


def job_places(root: Path) -> list[Path]:
    """Return every folder of jobs of a campaign."""
    return [*sorted((root / "handoff").glob("batch-*")), *sorted(root.glob("references*"))]


def submit(root: Path, fake: str = "") -> None:
    """Do what the person at the cluster does: call every submit.sh."""
    env = {**os.environ, "FAKE_VASP": fake, "FAKE_GPAW": fake}
    for place in job_places(root):
        subprocess.run(["sh", "submit.sh"], cwd=place, env=env, capture_output=True, check=False)


if __name__ == "__main__":
    from tests.tasks.search_world import tell_slowly

    with Campaign(Path(sys.argv[1]), {}, 7) as opened:
        search(opened, config(Path(sys.argv[2])), progress=tell_slowly)
