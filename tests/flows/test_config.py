from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.config import (
    CampaignConfig,
    as_begun,
    load_config,
    parse_overrides,
    shipped_configs,
    valid_keys,
    validated,
)
from structure.errors import ConfigError


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_campaign_is_valid_and_carries_its_file_name(name):
    assert load_config(name).name == name


@pytest.mark.parametrize("name", shipped_configs())
def test_a_campaign_comes_back_the_same_from_what_is_frozen(name):
    config = load_config(name)
    frozen = json.loads(json.dumps(config.model_dump(mode="json")))
    assert validated(frozen, "campaign.json") == config


def test_the_four_campaigns_of_the_product_are_shipped():
    assert {
        "agd-bandgap",
        "agd-bandgap-overnight",
        "agd-semiconductor",
        "materials-project",
    } <= set(shipped_configs())


def test_a_campaign_is_read_from_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nwindow: {minimum_eV: 1.5, maximum_eV: 2.5}\n")
    config = load_config(str(path))
    assert (config.name, config.targets.first.maximum) == ("mine", 2.5)


def test_overrides_reach_nested_settings():
    overrides = parse_overrides(["explore.budget=7", "window.maximum_eV=6.5", "sample.shards=1"])
    config = load_config("agd-bandgap", overrides)
    assert (config.explore.budget, config.targets.first.maximum) == (7, 6.5)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("explore.bugdet", "explore.budget"),
        ("budget", "explore.budget"),
        ("windw", "window"),
        ("sample.shard", "sample.shards"),
        ("explore.oracle.kidn", "explore.oracle.kind"),
    ],
)
def test_an_unknown_key_names_the_nearest_valid_one(key, meant):
    with pytest.raises(ConfigError) as caught:
        load_config("agd-bandgap", {key: 1})
    assert key in caught.value.what
    assert f"'{meant}'" in (caught.value.fix or "")


def test_a_key_like_no_other_lists_what_there_is():
    with pytest.raises(ConfigError, match=r"explore\.budget"):
        load_config("agd-bandgap", {"explore.zzzzzzzz": 1})


@given(st.sampled_from(sorted(valid_keys(CampaignConfig))), st.data())
def test_a_key_with_two_letters_swapped_leads_back_to_it(key, data):
    last = key.rpartition(".")[2]
    if len(last) < 5:
        return
    at = data.draw(st.integers(0, len(last) - 2))
    wrong = last[:at] + last[at + 1] + last[at] + last[at + 2 :]
    mistaken = key[: len(key) - len(last)] + wrong
    if mistaken in set(valid_keys(CampaignConfig)):
        return
    with pytest.raises(ConfigError, match=f"'{key}'"):
        load_config("agd-bandgap", {mistaken: 1})


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ({"explore.budget": "many"}, "explore.budget"),
        ({"explore.budget": 0}, "explore.budget"),
        ({"window.minimum_eV": 9.0, "window.maximum_eV": 2.0}, "window"),
        ({"name": "Not A Name"}, "name"),
        ({"explore": 3}, "explore"),
        ({"ingest.sources": [{"path": "x.csv", "role": ["labels"]}]}, "ingest.sources"),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_its_place(overrides, place):
    with pytest.raises(ConfigError, match=place.replace(".", r"\.")):
        load_config("agd-bandgap", overrides)


def test_several_bad_values_come_in_one_message():
    with pytest.raises(ConfigError) as caught:
        load_config("agd-bandgap", {"explore.budget": -1, "sample.shards": -2})
    assert "explore.budget" in caught.value.what
    assert "sample.shards" in caught.value.what


@pytest.mark.parametrize("text", ["name: [", "- a\n- b\n", "", "name: a\n\tb: c\n"])
def test_a_file_that_is_no_configuration_is_named(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_config(str(path))


def test_a_name_nobody_ships_suggests_one():
    with pytest.raises(ConfigError, match=r"Did you mean 'agd-bandgap'\?"):
        load_config("agd-bandgpa")


@pytest.mark.parametrize("word", ["explore.budget", "=3", "a=[1"])
def test_a_setting_that_is_not_key_and_value_is_refused(word):
    with pytest.raises(ConfigError, match="key=value"):
        parse_overrides([word])


@given(st.dictionaries(st.sampled_from(["seed", "explore.budget"]), st.integers(1, 10**6)))
def test_settings_written_as_words_are_read_back(values):
    assert parse_overrides([f"{k}={yaml.safe_dump(v)}" for k, v in values.items()]) == values


def test_a_campaign_of_a_release_without_a_setting_goes_on_as_it_began(tmp_path):
    config = load_config("agd-bandgap", {"explore.budget": 7})
    begun = config.model_dump(mode="json", exclude={"workers"})
    del begun["explore"]["oracle"]["dft"]
    (tmp_path / "campaign.json").write_text(json.dumps({"config": begun}))
    assert as_begun(config, tmp_path) == begun
    changed = load_config("agd-bandgap", {"explore.budget": 8})
    assert as_begun(changed, tmp_path) == changed.model_dump(mode="json", exclude={"workers"})


@pytest.mark.parametrize("text", [None, "", "[]", '{"config": {"name": "No"}}'])
def test_a_campaign_that_cannot_be_read_is_left_to_whoever_opens_it(tmp_path, text):
    if text is not None:
        (tmp_path / "campaign.json").write_text(text)
    config = load_config("agd-bandgap")
    assert as_begun(config, tmp_path) == config.model_dump(mode="json", exclude={"workers"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("targets: [{property: band_gpa, minimum: 1}]", "did you mean 'band_gap'"),
        ("targets: [{property: formation_energy, maximum: -1}]", "no shipped model predicts"),
        ("targets: [{property: hhi_production, maximum: 900}]", "nothing to search for"),
        (
            "targets: [{property: bulk_modulus, minimum: 200}]\nhandoff: {recipe: gpaw-pbe}",
            "no step that measures the bulk modulus",
        ),
        ("window: {minimum_eV: 3}\ntargets: [{property: band_gap, minimum: 3}]", "give either"),
    ],
)
def test_a_target_that_nothing_can_tell_is_refused_before_anything_is_spent(tmp_path, text, says):
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\n{text}\n")
    with pytest.raises(ConfigError, match=says):
        load_config(str(path))


def test_a_target_of_bulk_moduli_switches_the_elastic_step_on():
    config = load_config("agd-hard")
    steps = [step.name for step in config.handoff.chosen_recipe(config.targets).steps]
    assert "06-elastic" in steps and "07-phonons" not in steps
