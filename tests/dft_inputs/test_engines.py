"""Every DFT code follows the protocol, and nobody outside its folder knows it by name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from dft_inputs import engines
from dft_inputs.elk.engine import ENGINE as ELK
from dft_inputs.engines import code_of, engine_named, is_dft, origin_of, recipe_named, recipes
from dft_inputs.gpaw.engine import ENGINE as GPAW
from dft_inputs.vasp.engine import ENGINE as VASP
from structure.errors import ConfigError, PluginError
from tests.contracts.engine import EngineContract
from tests.structure.installed import install

ROOT = Path(__file__).resolve().parents[2]


class TestVasp(EngineContract):
    engine = VASP


class TestGpaw(EngineContract):
    engine = GPAW


class TestElk(EngineContract):
    engine = ELK


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    forget()
    yield folder
    for name in [n for n in sys.modules if n.startswith("code_of_")]:
        del sys.modules[name]
    forget()


def forget() -> None:
    for known in (engines.names, engines.engine_named, engines.engines):
        known.cache_clear()


def test_a_package_brings_a_code_with_its_recipe(site):
    text = (
        "from dft_inputs.elk.engine import ElkEngine\nfrom dft_inputs.elk.recipe import ELK\n"
        "class Mine(ElkEngine):\n    name = 'mine'\n"
        "    recipes = (ELK.model_copy(update={'name': 'mine-pbe', 'engine': 'mine'}),)\n"
        "ENGINE = Mine()\n"
    )
    install(
        site, "mine", {"code_of_mine.py": text}, {engines.GROUP: {"mine": "code_of_mine:ENGINE"}}
    )
    assert "mine" in engines.names()
    assert recipe_named("mine-pbe").engine == "mine"
    assert engine_named("mine").title == "Elk"


def test_a_broken_package_stops_nobody_who_does_not_use_it(site):
    install(
        site,
        "broken",
        {"code_of_broken.py": "raise RuntimeError('no licence')\n"},
        {engines.GROUP: {"broken": "code_of_broken:ENGINE"}},
    )
    assert "agd-paper" in recipes()
    with pytest.raises(PluginError, match="no licence"):
        engine_named("broken")
    with pytest.raises(ConfigError, match="Not usable as installed: broken"):
        recipe_named("broken-pbe")


def test_a_code_that_calls_itself_otherwise_is_refused(site):
    text = "from dft_inputs.elk.engine import ENGINE\n"
    install(
        site,
        "other",
        {"code_of_other.py": text},
        {engines.GROUP: {"other": "code_of_other:ENGINE"}},
    )
    with pytest.raises(PluginError, match="calls itself 'elk'"):
        engine_named("other")


def test_a_code_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ConfigError, match="gpaw"):
        engine_named("gpow")


def test_origins_tell_the_code_and_nothing_else_is_dft():
    assert code_of(origin_of("elk")) == "elk"
    assert is_dft("dft-vasp")
    for other in ("ml", "table", "mlp-vpmdk"):
        assert not is_dft(other)
        assert code_of(other) is None


def test_nothing_outside_an_engines_room_compares_the_names_of_codes():
    rooms = {ROOT / "dft_inputs" / name for name in engines.OURS}
    compared = re.compile(r"""(==|!=|\bin\b|\bcase\b)[^#]*["'](dft-)?(vasp|gpaw|elk)["']""")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in ("dft_inputs", "tasks", "flows", "models", "structure")
        for path in sorted((ROOT / package).rglob("*.py"))
        if not rooms & set(path.parents)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if compared.search(line)
    ]
    assert wrong == []
