"""Makes plain ``prefect deployment run agd-bandgap`` work: serves Prefect's own command line.

In: a deployment name without a slash, in the directory of a project whose `agd serve` is up. Out:
the one deployment of that name, whatever its flow, asked for with the project's secret. It also
has ``prefect deploy`` say how to make a work pool that is missing on another server. Prefect
loads this module as a plugin where plugins are enabled, as in this project's ``pyproject.toml``;
elsewhere set ``PREFECT_PLUGINS_ENABLED=1`` or write ``agd/agd-bandgap``.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from prefect.plugins import SetupResult, register_hook

from flows.running import secret, services
from tasks.campaign.surroundings import settings

Request = Callable[..., Awaitable[Any]]


@register_hook
def setup_environment(*, ctx: Any) -> SetupResult | None:
    """Give Prefect's command line the secret, and teach it bare deployment names.

    Its other processes get how many threads they may use, and no more: a worker that somebody else
    started, and the runs of it, are among them.
    """
    env = settings(os.environ)
    program = Path(sys.argv[0]) if sys.argv else Path()
    if program.stem == "prefect" or program.parts[-2:] == ("prefect", "__main__.py"):
        accept_bare_names()
        if "deploy" in sys.argv:
            name_missing_pool()
        env |= credentials(Path.cwd() / ".prefect", ctx.api_url)
    return SetupResult(env=env) if env else None


def credentials(home: Path, url: str | None) -> dict[str, str]:
    """Return what lets a client command the server at `url`, if that is the project's own.

    Parameters
    ----------
    home : Path
        The project's folder ``.prefect``.
    url : str or None
        Address of the API the client is about to call. Another server is told nothing.

    Raises
    ------
    CampaignError
        If the server is the project's own and the file of its secret cannot be used.
    """
    if url is None or os.environ.get("PREFECT_HOME") == str(home):  # ours, and was given it
        return {}
    if services.address(home) != url.rstrip("/") or secret.foreign(url):
        return {}
    return {"PREFECT_API_AUTH_STRING": secret.known(home), **secret.without_proxy(os.environ)}


def accept_bare_names() -> None:
    """Wrap the look-up by name of Prefect's client; a client without that look-up is left alone."""
    from prefect.client.orchestration._deployments.client import DeploymentAsyncClient

    _wrap(DeploymentAsyncClient, "read_deployment_by_name", _with_bare_names)


def name_missing_pool() -> None:
    """Have ``prefect deploy`` say how a work pool that a server lacks is made."""
    from prefect.client.orchestration._work_pools.client import WorkPoolAsyncClient

    _wrap(WorkPoolAsyncClient, "read_work_pool", _with_advice)


def _wrap(client: type, name: str, wrapper: Callable[[Request], Request]) -> None:
    original = getattr(client, name, None)
    if original is not None and not hasattr(original, "__wrapped__"):
        setattr(client, name, wrapper(original))


def _with_advice(original: Request) -> Request:
    """Return a look-up of a pool that says, when there is none, which command makes it."""

    @functools.wraps(original)
    async def read_work_pool(self: Any, work_pool_name: str) -> Any:
        from prefect.exceptions import ObjectNotFound

        try:
            return await original(self, work_pool_name)
        except ObjectNotFound:
            sys.stderr.write(
                f"{self.api_url} has no work pool {work_pool_name!r}\n"
                f"  next:  prefect work-pool create {work_pool_name} --type process\n"
            )
            raise

    return read_work_pool


def _with_bare_names(original: Request) -> Request:
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
        from prefect.exceptions import PrefectHTTPStatusError

        # Prefect prints a long traceback here; this is the first thing a newcomer meets.
        try:
            return await (original(self, name) if "/" in name else among_all(self, name))
        except ConnectError:
            raise SystemExit(
                f"no Prefect server answers at {self.api_url}\n"
                "  next:  keep one up with `make serve` in another terminal, "
                "or run a campaign with its own server: `make campaign`"
            ) from None
        except PrefectHTTPStatusError as error:
            if error.response.status_code != 401:
                raise
            raise SystemExit(
                f"the Prefect server at {self.api_url} wants its secret\n"
                "  next:  call `prefect` in the directory whose `agd serve` is up, or "
                'export PREFECT_API_AUTH_STRING="$(cat .prefect/secret)" of that directory'
            ) from None

    return read_deployment_by_name
