"""Every setting is described, the full YAML reads back, and the page of the guide is current."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from flows.cli.app import app
from flows.config import SHORTHANDS, CampaignConfig, load_config, shipped_configs, valid_keys
from flows.settings_text import _models, commented_yaml, settings_page, short_yaml

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "settings.md"


def undescribed(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if not field.description:
            yield f"{model.__name__}.{name}"
        for inner in _models(field.annotation):
            yield from undescribed(inner)


def test_every_setting_has_a_description():
    assert sorted(set(undescribed(CampaignConfig))) == []


@pytest.mark.parametrize("name", shipped_configs())
def test_the_full_yaml_of_a_campaign_reads_back_to_the_same_configuration(name, tmp_path):
    config = load_config(name)
    for text in (commented_yaml(config), short_yaml(config)):
        path = tmp_path / "campaign.yaml"
        path.write_text(text)
        assert load_config(str(path)) == config


def test_a_configuration_with_sources_rules_and_odd_values_reads_back(tmp_path):
    config = CampaignConfig.model_validate(
        {
            "name": "mine",
            "ledger": "sqlite:///a: b # c.sqlite",
            "ingest": {
                "sources": [{"path": "a.csv", "columns": {"id": "it's"}, "roles": ["known"]}],
                "rules": [{"rule": "gap_range", "above_eV": 1e-7}, {"rule": "exclude_elements"}],
            },
            "sample": {"generators": {"matgan": 1e-3, "no": 2}},
            "screen": {"excluded_elements": ["No", "Y", "N"]},
        }
    )
    path = tmp_path / "campaign.yaml"
    path.write_text(commented_yaml(config))
    assert load_config(str(path)) == config


def test_the_full_yaml_names_every_setting_below_what_it_means():
    text = commented_yaml(load_config("agd-bandgap"))
    document = yaml.safe_load(text)
    for key in ("seed", "explore.budget", "explore.oracle.dft.cluster.nodes"):
        value = document
        for part in key.split("."):
            value = value[part]
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("budget:"))
    assert lines[at - 1].strip().startswith("# ")


def test_the_page_of_the_guide_is_what_the_code_says():
    assert GUIDE.read_text() == settings_page(), (
        "run: python -m flows.settings_text > docs/guide/settings.md"
    )


def test_the_page_names_every_key_a_campaign_file_may_have():
    page = settings_page().replace("[].", ".")
    keys = [key for key in valid_keys(CampaignConfig) if key not in SHORTHANDS]
    missing = [key for key in keys if f"| `{key}` |" not in page]
    assert missing == []


def test_the_command_prints_what_is_set_and_in_full_everything(tmp_path):
    short = CliRunner().invoke(app, ["config", "agd-bandgap"])
    full = CliRunner().invoke(app, ["config", "--full", "agd-bandgap"])
    assert short.exit_code == full.exit_code == 0
    assert "# " not in short.output and "# " in full.output
    assert len(full.output) > 10 * len(short.output)
