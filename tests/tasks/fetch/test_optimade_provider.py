from __future__ import annotations

import pytest

from structure.errors import ConfigError
from tasks.fetch.optimade_provider import address_of
from tasks.fetch.web import Web
from tests.tasks.fetch.stand_in import Server, serving


def test_a_provider_is_found_by_its_id_through_the_list_of_providers() -> None:
    with serving(Server()) as server:
        found = address_of("exmpl", Web(), f"{server.address}/providers")
        assert found == server.address


def test_an_address_is_taken_as_it_is_with_or_without_its_version() -> None:
    for given in ("http://h/optimade", "http://h/optimade/", "http://h/optimade/v1"):
        assert address_of(given, Web()) == "http://h/optimade"


@pytest.mark.parametrize("id", ["oqmt", "later"])
def test_an_unknown_provider_names_those_that_are_there(id: str) -> None:
    with serving(Server()) as server, pytest.raises(ConfigError, match="or one of: exmpl"):
        address_of(id, Web(), f"{server.address}/providers")
