"""One bit is flipped in each file of a half-finished campaign, which is then resumed.

The run may say so, or end with the same candidates; it may not go on and end with others.
"""

from __future__ import annotations

import json
import random
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dft_inputs.job.ticket import read_ticket
from flows.config import as_begun, load_config
from flows.pipeline import run_campaign
from flows.running.parts import Parts
from flows.running.workers import Threads
from structure.errors import AgdError
from tasks.campaign.directory import Campaign
from tasks.collect import collect_campaign
from tests.flows.campaigns import SMALL

pytestmark = pytest.mark.slow

CONFIG = load_config(
    "agd-bandgap",
    {
        **SMALL,
        "explore.budget": 20,
        "explore.batch": 10,
        "ingest.initial.count": 100,
        "sample.shard_size": 2000,
        "template.limit": 8,
        "filter.limit": 4,
    },
)

FLIPS = {"ledger.sqlite": 12, "models": 3}
"""How many bits of a file are flipped, one after another; 1 where nothing is said."""

NOT_READ = ("campaign.log", "*.lock", "ledger.sqlite-*")
"""What no resumed run reads; SQLite keeps hashes in its log, and drops what does not fit."""


class StoppedError(Exception):
    """The run ends here, as if it had been killed."""


def run(root: Path, before: Callable[[str, Any], None] = lambda *_: None) -> dict[str, Any]:
    """Run or resume a campaign up to its report; return everything that must be the same."""
    with Campaign(root, as_begun(CONFIG, root), CONFIG.seed) as campaign:

        class OneByOne(Parts):
            def each(self, stage: Callable[..., Any], rows: Iterable[tuple[Any, ...]]) -> list[Any]:
                outputs = []
                for row in rows:
                    before(stage.__name__, campaign)
                    if stage.__name__ == "write_report":
                        raise StoppedError
                    outputs.append(campaign.run(stage, *row))
                return outputs

        with pytest.raises(StoppedError):
            run_campaign(campaign, CONFIG, OneByOne(campaign, Threads(1)))
        survivors = json.loads(campaign.ledger.finished("filter", "all") or "")["survivors"]
        return {
            "candidates": campaign.ledger.candidates(),
            "survivors": survivors["sha256"],
            "jobs": [(j["id"], j["formula"], j["folder"]) for j in campaign.ledger.jobs()],
            "folders": sorted(p.parent.name for p in root.rglob("ticket.json")),
        }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, Any]]:
    """A campaign as it was at two moments, and how it ended."""
    place = tmp_path_factory.mktemp("flipped")
    copies = {"screen_shard": place / "half", "write_report": place / "nearly"}
    seen = []

    def keep(stage: str, campaign: Campaign) -> None:
        seen.append(stage)
        if stage in copies and (stage != "screen_shard" or seen.count(stage) == 2):
            shutil.copytree(campaign.root, copies[stage])

    ended = run(place / "whole", keep)
    assert ended["candidates"]
    assert ended["jobs"]
    return {path.name: path for path in copies.values()}, ended


def read_by_a_resumed_run(root: Path) -> Iterator[Path]:
    """Yield files by kind: all of the campaign's own, and those of one job and one reference."""
    jobs: set[Path] = set()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root)
        if not path.stat().st_size or any(name.match(pattern) for pattern in NOT_READ):
            continue
        folder = next((p for p in name.parents if "--" in p.name), None)
        if folder is not None and folder.parent in {j.parent for j in jobs} and folder not in jobs:
            continue
        if folder is not None:
            jobs.add(folder)
        yield path


def flipped(root: Path, place: Path, number: int) -> None:
    """Flip a bit of a file, another one for each number."""
    name = place.as_posix()
    content = bytearray((root / place).read_bytes())
    chance = random.Random(zlib.crc32(name.encode()) + number)
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    (root / place).write_bytes(bytes(content))


@pytest.mark.parametrize("moment", ["half", "nearly"])
@pytest.mark.parametrize(
    "kind",
    ["campaign.json", "ledger.sqlite", "ingest", "explore", "models", "sample", "screen",
     "template", "filter", "handoff", "references"],
)  # fmt: skip
def test_a_flipped_bit_is_noticed_or_changes_no_candidate(whole, tmp_path, moment, kind):
    states, ended = whole
    names = [p.relative_to(states[moment]) for p in read_by_a_resumed_run(states[moment])]
    own = [name for name in names if name.parts[0] == kind]
    if moment == "nearly" or kind not in ("template", "filter", "handoff", "references"):
        assert own
    for name in own:
        for number in range(FLIPS.get(kind, 1)):
            root = tmp_path / "c"
            shutil.copytree(states[moment], root)
            flipped(root, name, number)
            try:
                assert run(root) == ended, f"bit {number} of {name}"
            except AgdError as error:
                assert error.fix
            else:
                same = read_ticket(states[moment] / name) == read_ticket(root / name)
                assert name.name != "ticket.json" or same or collect_campaign(root).quarantined
            shutil.rmtree(root)


def test_every_file_of_the_campaign_is_of_a_kind_that_is_tried(whole):
    tried = {"campaign.json", "ledger.sqlite", "ingest", "explore", "models", "sample", "screen",
             "template", "filter", "handoff", "references"}  # fmt: skip
    for root in whole[0].values():
        assert {p.relative_to(root).parts[0] for p in read_by_a_resumed_run(root)} <= tried


def test_a_changed_calibration_of_the_screening_model_is_noticed(whole, tmp_path):
    """The weights are the same: only what turns their answer into an uncertainty is another."""
    root = tmp_path / "c"
    shutil.copytree(whole[0]["half"], root)
    path = root / "models" / "screening" / "config.json"
    config = json.loads(path.read_text())
    calibration = config["settings"]["calibration"]
    calibration["factors"] = [1.5 * factor for factor in calibration["factors"]]
    path.write_text(json.dumps(config))
    with pytest.raises(AgdError, match="'screening' are not the ones"):
        run(root)
