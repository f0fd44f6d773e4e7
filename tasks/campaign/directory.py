"""The campaign directory: where stages read, write, draw random numbers and resume.

In: a directory and a frozen configuration. Out: one `Campaign` that holds the lock, the ledger and
the seed, and runs each stage part at most once. Stages that need no ledger are given its `Place`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel

from structure.errors import AgdError, CampaignError, ConfigError
from structure.files import write_json
from tasks.campaign.handles import Handle
from tasks.campaign.leftovers import clear_leftovers
from tasks.campaign.place import Place
from tasks.campaign.seals import open_output, seal_output
from tasks.campaign.stage import stage_of
from tasks.ledger.claim import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.version import PRODUCT_VERSION, SCHEMA_VERSION

logger = logging.getLogger(__name__)
Output = TypeVar("Output", bound=BaseModel)

T = TypeVar("T")


class Spread(Protocol):
    """See `Campaign.spread`."""

    def __call__(
        self, name: str, function: Callable[..., T], rows: Sequence[tuple[Any, ...]]
    ) -> list[T]:
        """Return what the function returns for each row, in their order."""
        ...


LOCK_S = 0.5
"""How long the lock is tried for: `agd status` takes it for an instant (chosen)."""


class BudgetUsed(AgdError):
    """The run's wall time is used up; the same command goes on from here."""

    exit_code = 0


class Campaign:
    """An open campaign directory.

    Parameters
    ----------
    root : Path
        The directory; made when missing. Everything the campaign knows lies under it.
    config : dict
        The whole configuration as JSON-ready data. The first opening freezes it in
        ``campaign.json``, with an id of the campaign's own; later openings must bring the same one.
    seed : int

    Attributes
    ----------
    place : Place
        The directory and the seed, for stages in this process or another.
    spread : callable
        ``spread(name, function, rows)`` returns what a module's function of (place, inputs) returns
        for each row of inputs: for stages that keep the ledger and have much to compute beside it.
        One after another here; a run with workers gives the rows to them.
    deadline : float or None
        Value of `time.monotonic` after which no further part is begun.

    Raises
    ------
    CampaignError
        If another process has the directory or its ledger open, or another version or configuration
        made it.
    """

    def __init__(self, root: Path, config: dict[str, Any], seed: int):
        self.root = root
        self.seed = seed
        self.place = Place(root, seed)
        self.spread: Spread = self._one_by_one
        self.deadline: float | None = None
        self._make_root()
        self._lock = FileLock(root / "campaign.lock", timeout=LOCK_S)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise CampaignError(
                "another run has this campaign open",
                where=root,
                fix="Wait until it ends; `agd status` shows how far it is.",
            ) from error
        except OSError as error:
            raise CampaignError(
                f"the campaign directory cannot be written: {error.strerror}",
                where=root,
                fix="Correct its permissions, or choose a writable place with `--campaign DIR`.",
            ) from error
        try:
            begins = self._freeze(config)
            self.ledger = self._own_ledger(begins)
        except BaseException:
            self._lock.release()
            raise
        clear_leftovers(root)

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CampaignError(
                f"the campaign directory cannot be made: {error.strerror}",
                where=self.root,
                fix="Choose a writable place with `--campaign DIR`.",
            ) from error

    def _freeze(self, config: dict[str, Any]) -> bool:
        """Write the configuration down, or compare it; return whether the campaign begins."""
        path = self.root / "campaign.json"
        if not path.exists():
            if (self.root / "ledger.sqlite").exists():
                raise CampaignError(
                    "the directory has a ledger but no campaign.json",
                    where=self.root,
                    fix="Restore campaign.json or choose an empty directory.",
                )
            made = {"schema_version": SCHEMA_VERSION, "product": PRODUCT_VERSION, "id": new_id()}
            write_json(path, {**made, "config": config})
            return True
        try:
            found = json.loads(path.read_text())
            version, begun = found["schema_version"], found["config"]
        except (ValueError, KeyError, TypeError) as error:
            raise CampaignError(
                "campaign.json is damaged",
                where=path,
                fix="Restore it, or start a new campaign in another directory.",
            ) from error
        if version != SCHEMA_VERSION:
            raise CampaignError(
                f"the campaign was made with schema version {version} "
                f"(product {found.get('product')}), this release uses {SCHEMA_VERSION}",
                where=path,
                fix="Use the release that made it, or start a new campaign directory.",
            )
        changed = sorted(_differences(begun, json.loads(json.dumps(config))))
        if changed:
            raise ConfigError(
                f"the configuration differs from the one this campaign began with: {changed[0]}"
                + (f" and {len(changed) - 1} more" if len(changed) > 1 else ""),
                where=path,
                fix="Restore the setting, or give a new directory with `--campaign DIR`.",
            )
        return False

    def _own_ledger(self, begins: bool) -> Ledger:
        """Open the ledger and claim it; a campaign that cannot begin elsewhere is not begun."""
        try:
            ledger = Ledger.in_folder(self.root, anew=begins)
            try:
                ledger.claim(self.root)
            except BaseException:
                ledger.close()
                raise
        except AgdError:
            if begins and not (self.root / "ledger.sqlite").exists():
                (self.root / "campaign.json").unlink()
            raise
        return ledger

    def __enter__(self) -> Campaign:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger and give back the lock."""
        self.ledger.close()
        self._lock.release()

    def folder(self, name: str) -> Path:
        """Return a folder of this campaign; see `Place.folder`."""
        return self.place.folder(name)

    def generator(self, *names: str | int) -> np.random.Generator:
        """Return the random generator of a stage part; see `Place.generator`."""
        return self.place.generator(*names)

    def seed_of(self, *names: str | int) -> int:
        """Return the seed of a stage part; see `Place.seed_of`."""
        return self.place.seed_of(*names)

    def _one_by_one(
        self, name: str, function: Callable[..., T], rows: Sequence[tuple[Any, ...]]
    ) -> list[T]:
        return [function(self.place, *row) for row in rows]

    def run(self, function: Callable[..., Output], *inputs: Any, **options: Any) -> Output:
        """Run a stage function in this process unless the part has finished; return its output.

        Parameters
        ----------
        function : callable
            Declared by `tasks.campaign.stage.stage`.
        *inputs, **options
            What it takes after the place or campaign.
        """
        about = stage_of(function)
        first = self if about.in_the_flow else self.place
        if about.keeps_own_record:
            output = function(first, *inputs, **options)
            if about.check is not None:
                about.check(self, output)
            return output
        part = about.part_of(inputs)
        found = self.finished(function, part)
        if found is not None:
            return found
        self.in_time(about.name, part)
        began = time.monotonic()
        output = function(first, *inputs, **options)
        self.record(function, part, output, time.monotonic() - began)
        return output

    def finished(self, function: Callable[..., Output], part: str) -> Output | None:
        """Return the output of a stage part that has finished, its files checked, or None."""
        about = stage_of(function)
        output = self._opened(about.name, part, about.kind)
        if output is not None and about.check is not None:
            about.check(self, output)
        return cast("Output | None", output)

    def record(
        self, function: Callable[..., Output], part: str, output: Output, seconds: float
    ) -> None:
        """Tell the ledger of a stage part that a function has just finished."""
        about = stage_of(function)
        if about.tell is not None:
            about.tell(self, output)
        self._record(about.name, part, output, seconds)
        if about.check is not None:
            about.check(self, output)

    def in_time(self, stage: str, part: str) -> None:
        """Raise `BudgetUsed` if the run's wall time lets no further part begin."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise BudgetUsed(
                "the wall time of this run is used up",
                where=f"before {stage} {part}",
                fix="Run the same command again, or wait for the next night: it goes on from here.",
            )

    def once(
        self, stage: str, part: str, kind: type[Output], build: Callable[[], Output]
    ) -> Output:
        """Do a part of a stage that keeps its own record, unless it has finished.

        Parameters
        ----------
        stage, part : str
            Name of the stage and of its iteration, model or ``"all"``.
        kind : type
            Pydantic model of the output. Every `Handle` in it is checked before reuse.
        build : callable
            Does the work. It may be killed at any moment and is then called again.
        """
        found = self._opened(stage, part, kind)
        if found is not None:
            return found
        self.in_time(stage, part)
        began = time.monotonic()
        output = build()
        self._record(stage, part, output, time.monotonic() - began)
        return output

    def _opened(self, stage: str, part: str, kind: type[Output]) -> Output | None:
        found = self.ledger.finished(stage, part)
        if found is None:
            return None
        output = open_output(self.ledger, self.root, stage, part, found, kind)
        for handle in handles_in(output):
            handle.open_in(self.root)
        logger.info("%s %s: already done", stage, part)
        return output

    def _record(self, stage: str, part: str, output: BaseModel, seconds: float) -> None:
        text = output.model_dump_json()
        seal_output(self.ledger, stage, part, text)
        self.ledger.finish(stage, part, text, seconds)
        logger.info("%s %s: done in %.1f s", stage, part, seconds)


def handles_in(value: object) -> Iterator[Handle]:
    """Yield every handle inside a stage output."""
    if isinstance(value, Handle):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from handles_in(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from handles_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from handles_in(item)


def _differences(old: object, new: object, path: str = "") -> Iterator[str]:
    """Yield the dotted keys at which two JSON documents differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{path}.{key}" if path else key
            if key not in old or key not in new:
                yield inner
            else:
                yield from _differences(old[key], new[key], inner)
    elif old != new:
        yield f"{path} (was {old!r}, now {new!r})"
