"""Fetches that are cut off, refused or go through, against a real server on this machine."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.fitting.datasets import load_training_data
from structure.composition import formulas_of
from structure.errors import AgdError, ConfigError, DataError
from structure.files import sha256_of
from structure.templates.library import TemplateLibrary
from tasks.fetch import web
from tasks.fetch.providers import provider
from tasks.fetch.source_folder import PAGES, ROWS, SOURCE, Source, fetch, lines_for_campaign
from tasks.ingest.sources import SourceConfig, read_rows
from tests.tasks.fetch.stand_in import KEY, Server, serving

ALL = {
    "materials-project": ("band_gap", "formation_energy"),
    "optimade": ("band_gap=_exmpl_gap",),
    "matbench": ("mp_gap",),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.setattr(web, "FIRST_WAIT_S", 0.001)
    with serving(Server()) as running:
        yield running


def bring(server: Server, folder: Path, name: str = "materials-project", **more: Any) -> Source:
    more = {"properties": ALL.get(name, ()), "address": server.address, **more}
    with provider(name, folder, **more) as source:
        return fetch(source, folder)


def rows(folder: Path) -> list[dict[str, Any]]:
    with gzip.open(folder / ROWS, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", ALL)
def test_a_fetched_folder_is_a_source_of_labels_and_templates(
    server: Server, tmp_path: Path, name: str
) -> None:
    found = bring(server, tmp_path, name)
    shared = 0 if name == "matbench" else 2
    assert found.rows == 25 - shared
    assert found.refused == ({"disordered": 2} if shared else {})
    assert found.files[ROWS] == sha256_of(tmp_path / ROWS)
    assert found.units["band_gap"] == "eV"
    columns = {"band_gap": found.columns["band_gap"], "id": "material_id"}
    config = {"path": str(tmp_path / ROWS), "roles": ["labels", "templates"], "columns": columns}
    taken = read_rows(SourceConfig.model_validate(config), 0)
    assert formulas_of(taken.rows.counts)[:4] == ["NaCl", "KCl", "NaBr", "KBr"]
    assert taken.rows.value[:2] == pytest.approx([5.0, 5.001])
    library = TemplateLibrary.from_jsonl([tmp_path / ROWS])
    assert len(library.counts) == found.rows
    volumes = [row["volume"] for row in rows(tmp_path)]
    assert volumes == pytest.approx([5.64**3 / 4] * found.rows)


def test_a_fetched_folder_is_trained_on_as_it_is(server: Server, tmp_path: Path) -> None:
    bring(server, tmp_path)
    data = load_training_data(tmp_path)
    assert sorted(formulas_of(data.band_gaps.counts)) == ["KBr", "KCl", "NaBr", "NaCl"]
    assert data.formation_energies.values == pytest.approx([-2.0] * 4)
    assert data.sources["band_gaps"].licence == "CC BY 4.0"
    assert len(list(data.structures())) == 23


def test_the_lines_for_a_campaign_are_a_source(server: Server, tmp_path: Path) -> None:
    import yaml

    lines = lines_for_campaign(tmp_path, bring(server, tmp_path))
    source = yaml.safe_load("\n".join(lines))["ingest"]["sources"][0]
    assert len(read_rows(SourceConfig.model_validate(source), 0).ids) == 23


@pytest.mark.parametrize("name", ALL)
def test_what_is_wrong_for_a_moment_is_asked_again(
    server: Server, tmp_path: Path, name: str
) -> None:
    server.faults = [500, "cut", (429, {"Retry-After": "0"}), None, 503, "cut"]
    found = bring(server, tmp_path, name)
    assert len({row["material_id"] for row in rows(tmp_path)}) == found.rows >= 23


@pytest.mark.parametrize("name", ["materials-project", "optimade"])
def test_a_fetch_that_was_cut_off_goes_on_with_the_next_page(
    server: Server, tmp_path: Path, name: str
) -> None:
    whole = tmp_path / "whole"
    bring(server, whole, name)
    server.asked.clear()
    server.faults = [None, *[500] * web.TRIES]
    part = tmp_path / "part"
    with pytest.raises(DataError, match="did not answer, asked 6 times: 500") as refused:
        bring(server, part, name)
    assert "goes on where it stopped" in str(refused.value)
    assert sorted(path.name for path in part.iterdir()) == [".fetch.lock", PAGES]
    server.asked.clear()
    bring(server, part, name)
    assert len([a for a in server.asked if "info" not in a]) == 2  # of three pages
    assert (part / ROWS).read_bytes() == (whole / ROWS).read_bytes()
    assert not (part / PAGES).exists()


def test_a_download_that_was_cut_off_asks_for_the_rest_only(server: Server, tmp_path: Path) -> None:
    server.faults = ["cut", *[500] * (web.TRIES - 1)]
    with pytest.raises(DataError, match="did not answer"):
        bring(server, tmp_path, "matbench")
    bring(server, tmp_path, "matbench")
    assert server.ranges[0] == ""
    assert int(server.ranges[-1].removeprefix("bytes=").rstrip("-")) > 100
    assert len(rows(tmp_path)) == 25
    assert not list(tmp_path.glob("*.part"))


KILLED = """
import sys
from pathlib import Path
from tasks.fetch.providers import provider
from tasks.fetch.source_folder import fetch
folder = Path(sys.argv[1])
def report(done, total):
    print(done, flush=True)
    sys.stdin.readline()
with provider("materials-project", folder, properties=("band_gap", "formation_energy"),
              address=sys.argv[2]) as source:
    fetch(source, folder, report)
"""


def test_a_killed_fetch_goes_on(server: Server, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), server.address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "10\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.asked.clear()
    assert bring(server, tmp_path).rows == 23
    assert len(server.asked) == 2


def test_what_was_fetched_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    first = bring(server, tmp_path)
    server.asked.clear()
    assert bring(server, tmp_path) == first
    assert not server.asked


def test_a_folder_serves_one_query(server: Server, tmp_path: Path) -> None:
    bring(server, tmp_path)
    with pytest.raises(DataError, match="answer to another query"):
        bring(server, tmp_path, limit=5)
    server.faults = [None, *[500] * web.TRIES]
    cut = tmp_path / "cut"
    with pytest.raises(DataError, match="did not answer"):
        bring(server, cut)
    with pytest.raises(DataError, match="answer to another query"):
        bring(server, cut, elements=("Na",))


def test_a_changed_file_is_named(server: Server, tmp_path: Path) -> None:
    bring(server, tmp_path)
    (tmp_path / ROWS).write_bytes(b"")
    with pytest.raises(DataError, match="gone or was changed") as refused:
        bring(server, tmp_path)
    assert SOURCE in str(refused.value)


def test_elements_and_limit_narrow_the_query(server: Server, tmp_path: Path) -> None:
    bring(server, tmp_path / "k", elements=("K", "Cl"))
    assert {row["formula"] for row in rows(tmp_path / "k")} == {"KCl"}
    assert bring(server, tmp_path / "l", limit=12).rows == 11  # one of them has a shared site
    bring(server, tmp_path / "m", "matbench", elements=("Br",), limit=8)
    assert {row["formula"] for row in rows(tmp_path / "m")} == {"NaBr", "KBr"}
    server.asked.clear()
    assert bring(server, tmp_path / "p", "optimade", limit=12).rows == 12
    assert len([a for a in server.asked if "info" not in a]) == 2  # of three pages
    bring(server, tmp_path / "o", "optimade", elements=("Na", "Cl"))
    assert any("HAS+ALL" in a or "HAS%20ALL" in a for a in server.asked)


def test_a_property_inside_another_is_read_and_kept_empty_where_there_is_none(
    server: Server, tmp_path: Path
) -> None:
    found = bring(server, tmp_path, properties=("bulk_modulus",))
    assert found.units == {"bulk_modulus": "GPa"}
    values = [row["bulk_modulus_GPa"] for row in rows(tmp_path)]
    assert values[:2] == [None, 24.0]
    assert not (tmp_path / "agd-data.json").exists()


def test_a_wrong_key_and_none_are_told_apart(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MP_API_KEY", "wrong")
    with pytest.raises(DataError, match="refuses the key: 401 Invalid authentication") as refused:
        bring(server, tmp_path)
    assert "wrong" not in str(refused.value)
    monkeypatch.delenv("MP_API_KEY")
    with pytest.raises(ConfigError, match="needs a key") as none:
        bring(server, tmp_path)
    assert "export MP_API_KEY" in str(none.value)


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("materials-project", {"properties": ("bandgap",)}, "the nearest is 'band_gap'"),
        ("optimade", {"properties": ("band_gap=_exmpl_gab",)}, "the nearest is '_exmpl_gap'"),
        ("optimade", {"properties": ("odd=_exmpl_odd",)}, "declares no unit"),
        ("optimade", {"address": ""}, "--address oqmd"),
        ("matbench", {"properties": ("mp_gab",)}, "the nearest is 'mp_gap'"),
        ("materials-project", {"elements": ("Xx",)}, "no element 'Xx'"),
        ("oqmd", {}, "no provider 'oqmd'"),
    ],
)
def test_what_cannot_be_asked_says_what_can(
    server: Server, tmp_path: Path, name: str, more: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        bring(server, tmp_path, name, **{"properties": (), **more})
    assert told in str(refused.value)


def test_a_question_that_is_refused_is_told_in_the_providers_words(
    server: Server, tmp_path: Path
) -> None:
    server.faults = [(403, {})]
    with pytest.raises(DataError, match="refuses the question: 403 fault 403"):
        bring(server, tmp_path, "optimade")
    with pytest.raises(DataError, match="refuses the question: 404 there is no /x/v1/info"):
        bring(server, tmp_path, "optimade", address=f"{server.address}/x")


def test_a_provider_that_is_down_is_named(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match=r"127\.0\.0\.1:1 did not answer") as refused:
        bring(server, tmp_path, address="http://127.0.0.1:1")
    assert "status page" in str(refused.value)


def test_a_server_that_asks_for_an_hour_is_left_alone(tmp_path: Path, server: Server) -> None:
    server.faults = [(429, {"Retry-After": "3600"})]
    with pytest.raises(DataError, match="left alone for 3600 s"):
        bring(server, tmp_path)
    assert len(server.asked) == 1


def test_an_entry_without_an_id_is_turned_down(tmp_path: Path, server: Server) -> None:
    usual = server.answer

    def nameless(path: str, given: dict[str, str], key: str) -> tuple[int, dict[str, Any]]:
        status, body = usual(path, given, key)
        if path == "/v1/structures":
            del body["data"][0]["id"]
        return status, body

    server.answer = nameless  # type: ignore[method-assign]
    found = bring(server, tmp_path, "optimade")
    assert (found.rows, found.refused) == (20, {"disordered": 2, "id": 3})


def test_a_page_that_is_no_data_is_refused(tmp_path: Path, server: Server) -> None:
    server.answer = lambda *_: (200, {"hello": 1})  # type: ignore[method-assign]
    with pytest.raises(DataError, match="no list 'data'"):
        bring(server, tmp_path)


def test_nothing_found_is_an_error(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match="no record that can be used"):
        bring(server, tmp_path, elements=("Xe",))


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, server: Server) -> None:

    server.records, server.page = 4000, 4000
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);" + KILLED
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), server.address],
        input="\n" * 99, capture_output=True, text=True,
    )  # fmt: skip
    assert "cannot write the file: File too large" in done.stderr
    names = [path.name for path in (tmp_path / PAGES).iterdir()]
    assert names == ["query.json"]


def test_a_damaged_download_says_to_delete_it(tmp_path: Path, server: Server) -> None:
    server.matbench = {"columns": ["structure", "gap exp"], "index": [], "data": [[{}, 1]]}
    with pytest.raises(AgdError, match="its last column is 'gap exp', not 'gap pbe'"):
        bring(server, tmp_path, "matbench")
