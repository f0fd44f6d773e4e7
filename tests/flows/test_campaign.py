"""A whole small campaign, plainly and as a Prefect flow: the same directory either way."""

from __future__ import annotations

import json
import logging
from contextlib import closing

import pytest

from flows.cli.status import closing_words, standing
from flows.config import load_config
from flows.pipeline import opened, run_campaign, stage_runs
from flows.running.local import rewrite_report, run_here
from flows.running.parts import Parts
from flows.running.plan import Plan, planned
from structure.errors import CampaignError, ConfigError
from tasks.campaign.directory import BudgetUsed
from tasks.ledger.ledger import Label, Ledger
from tests.flows.campaigns import SMALL, fingerprint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small campaign that ran plainly."""
    root = tmp_path_factory.mktemp("campaigns") / "plain"
    assert run_here(planned("agd-bandgap", str(root), SMALL), None, print) == 0
    return root


def test_a_campaign_leaves_candidates_jobs_and_a_report(finished):
    text = closing_words(finished)
    assert "DFT job directories" in text
    assert (finished / "report" / "index.html").stat().st_size > 10_000
    assert (finished / "report" / "candidates.csv").read_text().startswith("rank,formula")
    assert list((finished / "handoff").glob("batch-*/*/ticket.json"))
    assert not (finished / "report" / "FAILED.md").exists()


def test_a_finished_campaign_says_so(finished):
    assert "state       finished" in standing(finished)


def test_nothing_in_a_campaign_names_the_machine_it_was_made_on(finished):
    texts = [p for p in finished.rglob("*") if p.suffix in (".json", ".sh", ".csv", ".env")]
    assert texts
    assert not [p for p in texts if str(finished.parent) in p.read_text(errors="replace")]


def test_the_same_command_on_a_finished_campaign_changes_nothing(finished):
    before = fingerprint(finished)
    assert run_here(planned("agd-bandgap", str(finished), SMALL), None, print) == 0
    assert fingerprint(finished) == before


def test_a_changed_setting_is_refused_on_a_campaign_that_began_without_it(finished):
    plan = planned("agd-bandgap", str(finished), SMALL | {"explore.budget": 41})
    with pytest.raises(ConfigError, match=r"explore\.budget"), opened(plan):
        pass


def test_the_report_can_be_written_again(finished):
    page = finished / "report" / "index.html"
    before = page.read_bytes()
    page.write_text("spoiled")
    log = finished / "campaign.log"
    logged = len(log.read_text())
    assert rewrite_report(finished) == page
    assert page.read_bytes() == before
    assert "already done" not in log.read_text()[logged:]


def test_no_report_is_written_from_files_that_were_changed(finished, tmp_path):
    import shutil

    changed = tmp_path / "changed"
    shutil.copytree(finished, changed)
    (changed / "filter" / "survivors.parquet").write_bytes(b"other")
    with pytest.raises(CampaignError, match="changed"):
        rewrite_report(changed)


def test_a_moved_campaign_goes_on(finished, tmp_path):
    import shutil

    moved = tmp_path / "elsewhere"
    shutil.copytree(finished, moved)
    assert run_here(planned("agd-bandgap", str(moved), SMALL), None, print) == 0
    assert fingerprint(moved) == fingerprint(finished)


def test_a_run_out_of_time_stops_between_parts_and_goes_on_to_the_same_end(finished, tmp_path):
    root = tmp_path / "slow"
    plan = planned("agd-bandgap", str(root), SMALL)
    said: list[str] = []
    assert run_here(plan, 0.0, said.append) == 0
    assert "wall time" in said[0]
    with opened(plan) as (campaign, workers):
        campaign.deadline = 0.0
        with pytest.raises(BudgetUsed):
            run_campaign(campaign, plan.config, Parts(campaign, workers))
        campaign.deadline = None
        run_campaign(campaign, plan.config, Parts(campaign, workers))
    assert fingerprint(root) == fingerprint(finished)


def test_another_seed_gives_other_candidates(finished, tmp_path):
    root = tmp_path / "other"
    assert run_here(planned("agd-bandgap", str(root), SMALL | {"seed": 2}), None, print) == 0
    assert fingerprint(root)["tables"] != fingerprint(finished)["tables"]


def test_the_next_night_starts_from_what_came_back_and_proposes_none_of_it_again(tmp_path):
    def night():
        plan = planned("agd-bandgap-overnight", str(tmp_path / "series"), SMALL, nights=True)
        assert run_here(plan, None, print) == 0
        return plan.root

    first = night()
    with closing(Ledger.in_folder(first)) as ledger:
        proposed = {job["formula"] for job in ledger.jobs()}
        chosen = next(c for c in ledger.candidates() if c.status == "selected").formula
        (job,) = [job for job in ledger.jobs() if job["formula"] == chosen]
        found = Label(
            formula=chosen, property="band_gap_eV", value=6.5, origin="dft-vasp", source="recipe"
        )
        ledger.set_job_state(job["id"], "INGESTED", labels=[found])
    second = night()
    assert (first.name, second.name) == ("night-0001", "night-0002")
    with closing(Ledger.in_folder(second)) as ledger:
        inherited = [one for one in ledger.labels("band_gap_eV") if one.origin == "dft-vasp"]
        assert [(one.formula, one.value) for one in inherited] == [(chosen, 6.5)]
        assert not proposed & {c.formula for c in ledger.candidates()}


def test_a_failure_leaves_the_error_and_the_command_that_goes_on(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("formula,gap\nNaCl,5.0\n")
    source = {"path": str(table), "roles": ["labels"], "columns": {"band_gap": "no such column"}}
    config = load_config("agd-bandgap", {"ingest.sources": [source]})
    root = tmp_path / "failing"
    plan = Plan(config, root, "agd run mine.yaml --campaign failing")
    with pytest.raises(Exception, match="no such column"):
        run_here(plan, None, print)
    failed = (root / "report" / "FAILED.md").read_text()
    assert "no such column" in failed
    assert plan.again in failed
    assert "FAILED.md" in standing(root)


def test_two_runs_never_have_one_campaign(finished):
    plan = planned("agd-bandgap", str(finished), SMALL)
    with opened(plan), pytest.raises(CampaignError, match="another run"), opened(plan):
        pass


def test_a_run_leaves_loggers_as_they_were(finished):
    before = [logging.getLogger(n).handlers[:] for n in ("flows", "tasks", "models")]
    run_here(planned("agd-bandgap", str(finished), SMALL), None, print)
    assert [logging.getLogger(n).handlers for n in ("flows", "tasks", "models")] == before


@pytest.mark.flow
class TestThroughPrefect:
    """One run of the flow, looked at from all sides."""

    @pytest.fixture(scope="class")
    def run(self, prefect_server, tmp_path_factory):
        from flows.campaign import agd

        root = tmp_path_factory.mktemp("campaigns") / "prefect"
        state = agd(config="agd-bandgap", campaign=str(root), overrides=SMALL, return_state=True)
        return root, state

    @pytest.fixture
    def client(self, prefect_server):
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as one:
            yield one

    def test_the_flow_makes_the_same_campaign_as_plain_calls(self, run, finished):
        root, state = run
        assert state.is_completed()
        assert fingerprint(root) == fingerprint(finished)

    def test_every_stage_is_a_task_and_the_search_a_sub_flow(self, run, client):
        names = [task.name for task in client.read_task_runs()]
        stages = [n for n in names if n != "explore"]
        config = load_config("agd-bandgap", SMALL)
        assert len([n for n in stages if not n.startswith("agd-explore")]) == (
            stage_runs(config) - 1
        )
        assert {
            "sample_shard-00000",
            "sample_shard-00001",
            "screen_shard-shard-0001",
            "write_report",
        } <= set(names)
        assert "explore" in {flow_run.name for flow_run in client.read_flow_runs()}

    @pytest.mark.usefixtures("run")
    def test_artifacts_show_the_funnel_the_candidates_and_the_report(self, client):
        by_key = {a.key: a for a in client.read_artifacts() if a.key}
        assert {"agd-funnel", "agd-candidates", "agd-report"} <= set(by_key)
        assert "| step |" in by_key["agd-funnel"].data
        assert "index.html" in by_key["agd-report"].data
        rows = json.loads(by_key["agd-candidates"].data)
        assert 0 < len(rows) < 50
        assert by_key["agd-progress"].data == 100.0
        assert by_key["agd-explore"].data == 100.0

    def test_a_failing_run_fails_with_the_message(self, prefect_server, tmp_path):
        from flows.campaign import agd

        state = agd(
            campaign=str(tmp_path / "x"), overrides={"explore.bugdet": 1}, return_state=True
        )
        assert state.is_failed()
        assert "Did you mean 'explore.budget'?" in str(state.message)

    def test_a_run_out_of_time_is_completed_and_says_so(self, prefect_server, tmp_path):
        from flows.campaign import agd

        state = agd(campaign=str(tmp_path / "x"), overrides=SMALL, hours=0.0, return_state=True)
        assert state.is_completed()
        assert "wall time" in str(state.message)
