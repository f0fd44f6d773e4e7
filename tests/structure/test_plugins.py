"""Parts of other packages: found without importing them, and every fault named with its package."""

from __future__ import annotations

import sys

import pytest

from structure.errors import ConfigError, DataError, PluginError
from structure.plugins import found, named
from tests.structure.installed import install

GROUP = "agd.tested"
OURS = {"ordered": "collections:OrderedDict"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [n for n in sys.modules if n.startswith("plugin_of_")]:
        del sys.modules[name]


def test_our_own_parts_need_no_installed_package():
    parts = found(GROUP, OURS)
    assert list(parts) == ["ordered"]
    assert parts["ordered"].load("popitem").__name__ == "OrderedDict"


def test_a_part_of_an_installed_package_is_found_and_imported_only_when_loaded(site):
    install(
        site,
        "one",
        {"plugin_of_one.py": "class Thing:\n    inner = 7\n"},
        {GROUP: {"thing": "plugin_of_one:Thing", "inner": "plugin_of_one : Thing.inner [extra]"}},
    )
    parts = found(GROUP, OURS)
    assert list(parts) == ["ordered", "inner", "thing"]
    assert "plugin_of_one" not in sys.modules
    assert parts["thing"].load("inner").__name__ == "Thing"
    assert parts["inner"].load() == 7


def test_a_package_that_raises_on_import_is_named_with_what_it_raised(site):
    install(
        site,
        "broken-one",
        {"plugin_of_broken.py": "raise RuntimeError('no licence')\n"},
        {GROUP: {"broken": "plugin_of_broken:Thing"}},
        version="2.1",
    )
    assert found(GROUP, OURS)["ordered"].load()
    with pytest.raises(PluginError, match=r"'broken' .*RuntimeError: no licence") as caught:
        named(GROUP, OURS, "broken").load()
    assert "broken-one 2.1" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("plugin_of_two:Missing", "AttributeError"),
        ("plugin_of_nowhere:Thing", "ModuleNotFoundError"),
        ("", "ValueError"),
    ],
)
def test_an_entry_point_that_leads_nowhere_says_so(site, target, what):
    install(site, "two", {"plugin_of_two.py": "x = 1\n"}, {GROUP: {"gone": target}})
    with pytest.raises(PluginError, match=what):
        named(GROUP, OURS, "gone").load()


def test_a_part_without_what_the_group_needs_is_refused_with_what_it_lacks(site):
    install(site, "three", {"plugin_of_three.py": "x = 1\n"}, {GROUP: {"x": "plugin_of_three:x"}})
    with pytest.raises(PluginError, match="no 'sample' and no 'train'"):
        named(GROUP, OURS, "x").load("sample", "bit_length", "train")


def test_two_parts_of_one_name_are_refused_with_both_packages_only_when_used(site):
    for name in ("four", "five"):
        module = {f"plugin_of_{name}.py": "x = 1\n"}
        install(site, name, module, {GROUP: {"same": f"plugin_of_{name}:x"}})
    assert found(GROUP, OURS)["ordered"].load()
    with pytest.raises(PluginError, match="2 packages") as caught:
        named(GROUP, OURS, "same").load()
    assert "four 1.0" in str(caught.value) and "five 1.0" in str(caught.value)


def test_a_package_cannot_take_the_name_of_one_of_our_own_parts(site):
    install(site, "six", {"plugin_of_six.py": "x = 1\n"}, {GROUP: {"ordered": "plugin_of_six:x"}})
    with pytest.raises(PluginError, match=r"agd-pipeline and six 1\.0"):
        named(GROUP, OURS, "ordered").load()


def test_an_error_a_package_raises_on_purpose_stays_what_it_is(site):
    code = "from structure.errors import DataError\nraise DataError('no table', fix='Bring one.')\n"
    install(
        site, "seven", {"plugin_of_seven.py": code}, {GROUP: {"seven": "plugin_of_seven:Thing"}}
    )
    with pytest.raises(DataError, match="no table"):
        named(GROUP, OURS, "seven").load()


def test_an_unknown_name_lists_what_there_is_and_guesses(site):
    with pytest.raises(ConfigError, match="did you mean 'ordered'"):
        named(GROUP, OURS, "orderd")
    with pytest.raises(ConfigError, match="Use one of: ordered"):
        named(GROUP, OURS, "quite another")
