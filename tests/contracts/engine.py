"""What every DFT code must do: import `EngineContract` and give it yours.

from tests.contracts.engine import EngineContract

class TestMine(EngineContract):
    engine = ENGINE
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import pytest
from pymatgen.core import Lattice, Structure

from dft_inputs.batch.cluster_settings import ClusterSettings
from dft_inputs.batch.scheduler import batch_files
from dft_inputs.engines import NEEDS, Calculated, DftEngine
from dft_inputs.job.folder import Job, write_batch
from dft_inputs.job.ticket import ENGINE_NAME, read_ticket
from structure.elements import ELEMENTS
from structure.errors import Rejection


def magnesia(edge: float = 4.25) -> Structure:
    """The conventional cell of MgO, eight atoms."""
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(edge), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


class EngineContract:
    """Tests of one engine; `engine` is set by the class that inherits them."""

    engine: ClassVar[DftEngine]

    def job(self, **words: object) -> Job:
        outcome = self.engine.prepare(
            magnesia(), self.engine.recipes[0], **{"formula": "MgO", **words}
        )
        assert isinstance(outcome, Job)
        return outcome

    def handed_off(self, place: Path) -> tuple[Path, Job]:
        job = self.job()
        files = batch_files(ClusterSettings(), self.engine.recipes[0], [job.ticket])
        write_batch(place, [job], files, {})
        return place / job.ticket.folder, job

    def test_it_has_everything_that_is_asked_of_an_engine(self):
        assert [name for name in NEEDS if not hasattr(self.engine, name)] == []
        assert re.fullmatch(ENGINE_NAME, self.engine.name)
        assert self.engine.most_sites >= 1
        assert self.engine.outputs

    def test_its_recipes_are_its_own_and_say_what_was_chosen(self):
        assert self.engine.recipes
        for recipe in self.engine.recipes:
            assert recipe.engine == self.engine.name
            assert recipe.choices

    def test_equal_questions_give_equal_bytes_and_others_another_id(self):
        first, again = self.job(), self.job()
        assert (first.ticket.text(), first.files) == (again.ticket.text(), again.files)
        larger = self.engine.prepare(magnesia(4.3), self.engine.recipes[0], formula="MgO")
        assert isinstance(larger, Job)
        assert larger.ticket.id != first.ticket.id

    def test_a_candidate_is_calculated_in_its_primitive_cell(self):
        ticket = self.job(story={"why": "a test"}).ticket
        assert ticket.cell == {"Mg": 1, "O": 1}
        assert ticket.engine == self.engine.name
        assert ticket.recipe_sha256 == self.engine.recipes[0].hash
        assert ticket.story == {"why": "a test"}
        assert ticket.volume_A3 == pytest.approx(4.25**3 / 4, abs=1e-3)

    def test_inputs_name_no_folder_of_this_machine(self):
        for name, text in self.job().files.items():
            assert not Path(name).is_absolute()
            assert str(Path.home()) not in text
            assert str(Path(__file__).parents[2]) not in text

    def test_what_it_cannot_calculate_gets_a_reason_and_no_job(self):
        recipe = self.engine.recipes[0]
        unable = [e for e in ELEMENTS if not self.engine.can_calculate(recipe, e)]
        assert self.engine.can_calculate(recipe, "Mg")
        for element in unable[:2]:
            cell = Structure.from_spacegroup(
                "Fm-3m", Lattice.cubic(5.0), [element, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
            )
            try:
                outcome = self.engine.prepare(cell, recipe, formula=f"{element}O")
            except Exception as error:
                assert element in str(error)
            else:
                assert isinstance(outcome, Rejection)
                assert element in outcome.sentence

    def test_a_batch_is_written_and_its_ticket_read_back(self, tmp_path):
        folder, job = self.handed_off(tmp_path / "batch-0001")
        assert read_ticket(folder / "ticket.json") == job.ticket
        assert (folder / "run.sh").stat().st_mode & 0o111
        env = (folder.parent / "cluster.env").read_text()
        assert "AGD_PYTHON=" in env
        readme = (folder.parent / "README.txt").read_text()
        assert self.engine.title in readme
        runner = re.search(r"\$batch/(\w+\.py)", (folder / "run.sh").read_text())
        assert runner is not None
        assert (folder.parent / runner.group(1)).is_file()

    def test_a_job_that_never_ran_is_judged_and_gives_nothing(self, tmp_path):
        folder, job = self.handed_off(tmp_path / "batch-0001")
        judgement = self.engine.judge(folder, job.ticket)
        assert judgement.findings
        assert not judgement.usable
        found = self.engine.result(folder, job.ticket, judgement)
        assert isinstance(found, Calculated)
        assert dict(found.properties) == {}

    @pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 100, b"<modeling>", b"nan"])
    def test_outputs_that_are_nonsense_are_judged_and_give_nothing(self, tmp_path, content):
        folder, job = self.handed_off(tmp_path / "batch-0001")
        for pattern in self.engine.outputs:
            name = pattern.rpartition("/")[2].replace("*", "")
            for step in job.ticket.steps:
                (folder / step.name / name).write_bytes(content)
        judgement = self.engine.judge(folder, job.ticket)
        assert not judgement.usable
        found = self.engine.result(folder, job.ticket, judgement)
        assert dict(found.properties) == {}

    def test_potentials_that_are_not_known_are_not_compared(self):
        assert self.engine.other_potential({}, {}, "Mg") is None

    def test_jobs_of_one_process_ask_for_one_core_unless_told_otherwise(self):
        asked = ClusterSettings(tasks_per_node=4)
        own = self.engine.cluster_files(asked, self.engine.recipes[0], [])
        assert own.settings.tasks_per_node == 4
