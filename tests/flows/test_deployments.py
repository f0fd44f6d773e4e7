"""prefect.yaml: what it names exists, and its parameters fit the flows."""

from __future__ import annotations

import importlib

import pytest
import yaml

from flows.config import load_config
from tests.flows.conftest import ROOT

DOCUMENT = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS = {d["name"]: d for d in DOCUMENT["deployments"]}


def flow_of(deployment):
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_names_a_flow_and_parameters_it_takes(name):
    deployment = DEPLOYMENTS[name]
    flow = flow_of(deployment)
    asked = dict.fromkeys(flow.parameters.required or [], "given with the run")
    flow.validate_parameters(asked | deployment.get("parameters", {}))
    for schedule in deployment.get("schedules", []):
        flow.validate_parameters(deployment["parameters"] | schedule.get("parameters", {}))


@pytest.mark.parametrize("name", [n for n, d in DEPLOYMENTS.items() if "config" in d["parameters"]])
def test_a_deployment_names_a_campaign_that_is_shipped(name):
    assert load_config(DEPLOYMENTS[name]["parameters"]["config"])


def test_the_deployments_of_the_product_are_there():
    campaigns = {"agd-bandgap", "agd-bandgap-overnight", "agd-semiconductor"}
    campaigns |= {"agd-hard", "agd-bandgap-abundant"}
    assert campaigns | {"agd-collect", "agd-train"} == set(DEPLOYMENTS)
    assert flow_of(DEPLOYMENTS["agd-bandgap"]).name == "agd"


def test_only_training_asks_for_a_parameter_with_each_run():
    asked = {
        (name, one)
        for name, deployment in DEPLOYMENTS.items()
        for one in flow_of(deployment).parameters.required or []
        if one not in deployment["parameters"]
    }
    assert asked == {("agd-train", "data")}


def test_nothing_is_pulled_and_no_path_is_absolute():
    assert DOCUMENT["pull"] == []
    words = str(DOCUMENT).replace("{{ $PWD }}", "").split("'")
    assert not [word for word in words if word.startswith("/")]


def test_a_fresh_clone_starts_nothing_by_itself():
    schedules = [s for d in DEPLOYMENTS.values() for s in d.get("schedules", [])]
    assert schedules
    assert not any(s["active"] for s in schedules)


def test_a_deployment_never_runs_twice_at_once():
    limits = [d["concurrency_limit"] for d in DEPLOYMENTS.values()]
    assert all((one if isinstance(one, int) else one["limit"]) == 1 for one in limits)


def test_the_night_has_a_budget_and_a_time_zone():
    night = DEPLOYMENTS["agd-bandgap-overnight"]
    assert all(schedule["timezone"] for schedule in night["schedules"])
    assert {"hours", "oracle_calls"} <= set(night["parameters"])


def test_no_schedule_has_parameters_of_its_own():
    """Prefect 3.8 drops them when a schedule is resumed on its command line."""
    assert not [
        s for d in DEPLOYMENTS.values() for s in d.get("schedules", []) if "parameters" in s
    ]
