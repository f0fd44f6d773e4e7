"""Lets ``prefect deployment run agd-bandgap`` find ``agd/agd-bandgap``: serves Prefect's own CLI.

In: a deployment name without a slash. Out: the one deployment of that name, whatever its flow.
Prefect loads this module as a plugin where plugins are enabled, as in this project's
``pyproject.toml``; elsewhere set ``PREFECT_PLUGINS_ENABLED=1`` or write ``agd/agd-bandgap``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from prefect.plugins import register_hook


@register_hook
def setup_environment(*, ctx: Any) -> None:
    """Teach Prefect's command line bare deployment names; other processes are left alone."""
    program = Path(sys.argv[0]) if sys.argv else Path()
    if program.stem == "prefect" or program.parts[-2:] == ("prefect", "__main__.py"):
        accept_bare_names()


def accept_bare_names() -> None:
    """Wrap the look-up by name of Prefect's client; a client without that look-up is left alone."""
    from prefect.client.orchestration._deployments.client import DeploymentAsyncClient

    original = getattr(DeploymentAsyncClient, "read_deployment_by_name", None)
    if original is not None and not hasattr(original, "__wrapped__"):
        DeploymentAsyncClient.read_deployment_by_name = _with_bare_names(original)  # type: ignore[method-assign, assignment]


def _with_bare_names(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return a look-up that tries a bare name first among all deployments.

    With several of that name, Prefect's own answer (it wants ``flow/deployment``) stands.
    """

    async def among_all(client: Any, name: str) -> Any:
        from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
        from prefect.exceptions import ObjectNotFound

        named = DeploymentFilter(name=DeploymentFilterName(any_=[name]))
        found = await client.read_deployments(deployment_filter=named, limit=2)
        if not found:
            raise ObjectNotFound(http_exc=LookupError(f"no deployment is named {name!r}"))
        return found[0] if len(found) == 1 else await original(client, name)

    @functools.wraps(original)
    async def read_deployment_by_name(self: Any, name: str) -> Any:
        from httpx import ConnectError

        try:
            return await (original(self, name) if "/" in name else among_all(self, name))
        except ConnectError:
            # Prefect prints a long traceback here; this is the first thing a newcomer meets.
            raise SystemExit(
                f"no Prefect server answers at {self.api_url}\n"
                "  next:  keep one up with `make serve` in another terminal, "
                "or run a campaign with its own server: `make campaign`"
            ) from None

    return read_deployment_by_name
