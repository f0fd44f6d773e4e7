"""``agd``: the small command line of the product, for what Prefect's own has no command.

In: words. Out: exit status 0, or the code of the error, whose message goes to stderr. Everything
heavy is imported inside a command, so that ``agd --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from flows.cli.data import app as data_app
from flows.running.shadows import hiding
from structure.errors import AgdError, ConfigError

app = typer.Typer(
    help="Active generative design of inorganic materials.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(data_app, name="data")

STOPPED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_S = 30.0
"""How long stopping may take before SIGTERM is heard again (chosen: server and worker get half)."""

Config = Annotated[
    str, typer.Argument(help="A shipped campaign (flows/configs) or the path of a YAML file.")
]
Directory = Annotated[
    Path | None,
    typer.Option("--campaign", "-c", help="Campaign directory; default campaigns/<name>."),
]


@app.command()
def run(
    config: Config = "agd-bandgap",
    campaign: Directory = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, e.g. --set explore.budget=100; may be repeated."),
    ] = None,
    oracle_calls: Annotated[
        int | None, typer.Option(min=1, help="Labels the search may ask for.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option(min=0, help="Wall time; the next run goes on from there.")
    ] = None,
    nights: Annotated[
        bool,
        typer.Option(help="A series of nights: see docs/guide/schedule.md."),
    ] = False,
    local: Annotated[bool, typer.Option(help="Without Prefect, in this process.")] = False,
) -> None:
    """Run a campaign, or go on with it; the same command resumes a killed one."""
    from flows.config import parse_overrides
    from flows.running.plan import planned

    overrides = parse_overrides(settings or [])
    place = str(campaign) if campaign else None
    plan = planned(config, place, overrides, oracle_calls, nights)
    if local:
        from flows.running.local import run_here

        status = run_here(plan, hours, typer.echo)
    else:
        from flows.running.launch import launch

        parameters: dict[str, Any] = {
            "config": config,
            "campaign": place,
            "overrides": overrides,
            "oracle_calls": oracle_calls,
            "hours": hours,
            "nights": nights,
        }
        status = launch(parameters, plan.root / "campaign.log", typer.echo)
    if status == 0:
        from flows.cli.status import closing_words

        typer.echo(closing_words(plan.root))
    raise typer.Exit(status)


@app.command()
def train(
    data: Annotated[Path, typer.Option("--data", help="Folder of training data.")],
    out: Annotated[Path, typer.Option(help="Gets one folder of weights a model.")] = Path(
        "trained"
    ),
    only: Annotated[
        list[str] | None, typer.Option(help="A model to fit; may be repeated. Default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fit the models that a campaign uses; the same command goes on after a kill."""
    from flows.train import fit_shipped

    for name, metrics in fit_shipped(data, out, only or (), seed).items():
        typer.echo(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in metrics.items()))
    typer.echo(f"the weights and their cards are in {out}")


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="Port of the server and its pages.")] = 4200,
    overnight: Annotated[bool, typer.Option(help="Switch the shipped schedules on.")] = False,
) -> None:
    """Keep a Prefect server with web pages, a worker and all deployments up."""
    from flows.running import launch

    raise typer.Exit(launch.serve(port, overnight, typer.echo))


@app.command()
def config(
    name: Config = "agd-bandgap",
    full: Annotated[
        bool, typer.Option(help="All settings with what each means, not only those set.")
    ] = False,
) -> None:
    """Print a campaign's settings as a YAML file to start from."""
    from flows.config import load_config
    from flows.settings_text import commented_yaml, short_yaml

    found = load_config(name)
    typer.echo(commented_yaml(found) if full else short_yaml(found), nl=False)


@app.command()
def stages() -> None:
    """Print the stages of the pipeline in order."""
    from flows.cli.stages import stage_table

    typer.echo(stage_table())


@app.command()
def status(
    campaign: Annotated[
        Path, typer.Argument(help="Campaign directory, or a folder of them such as nights.")
    ],
) -> None:
    """Print how far a campaign is: finished stages, labels, candidates, jobs."""
    from flows.cli.status import standing
    from tasks.collect import campaigns_under

    typer.echo("\n\n".join(standing(root) for root in campaigns_under(campaign)))


@app.command()
def collect(
    campaign: Annotated[
        Path, typer.Argument(help="Campaign directory, or a folder of campaigns.")
    ] = Path("campaigns"),
    sources: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Folder with job directories that came back elsewhere."),
    ] = None,
    stale_hours: Annotated[
        float, typer.Option(min=0.01, help="Silence after which a running job is called stale.")
    ] = 12.0,
    rebuild: Annotated[
        bool, typer.Option(help="First give the ledger what lies in the folders.")
    ] = False,
    restore: Annotated[
        bool, typer.Option(help="First put jobs back that were moved to quarantine by mistake.")
    ] = False,
) -> None:
    """Take finished DFT job directories in; may be repeated, also while a campaign runs."""
    from tasks.collect import CollectConfig, campaigns_under, collect_campaign

    config = CollectConfig(stale_after_h=stale_hours)
    for root in campaigns_under(campaign):
        typer.echo(f"campaign     {root}")
        for line in collect_campaign(root, config, sources or (), rebuild, restore).lines():
            typer.echo(line)


@app.command()
def why(
    formula: Annotated[str, typer.Argument(help="For example SrYF5.")],
    campaign: Annotated[Path, typer.Option("--campaign", "-c", help="Campaign directory.")],
) -> None:
    """Print the story of one composition through every stage of a campaign."""
    from tasks.report.story import story_of

    for line in story_of(campaign, formula):
        typer.echo(line)


@app.command()
def report(
    campaign: Annotated[Path, typer.Argument(help="Campaign directory.")],
) -> None:
    """Write the report of a finished campaign again."""
    from flows.running.local import rewrite_report

    typer.echo(f"wrote {rewrite_report(campaign)}")


@app.command()
def export(
    campaign: Annotated[Path, typer.Argument(help="Campaign directory.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to make.")],
    licence: Annotated[
        str, typer.Option(help="Address of the licence that the results are given under.")
    ] = "",
) -> None:
    """Write a campaign as a Workflow Run RO-Crate, with its candidates for OPTIMADE."""
    from tasks.export.campaign_export import export as write

    number = write(campaign, to, licence)
    typer.echo(f"wrote {to} with {number:,} candidates")


@app.command()
def doctor(
    about: Annotated[
        str | None,
        typer.Argument(help="A campaign directory or a configuration, to open its ledger too."),
    ] = None,
) -> None:
    """Check this environment and say what to do about what is missing."""
    from flows.cli.doctor import diagnose

    raise typer.Exit(diagnose(typer.echo, about))


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(help="Show tracebacks and debug messages.")] = False,
) -> None:
    """Take what holds for every command."""
    context.obj = debug
    if debug:
        logging.basicConfig(level=logging.DEBUG)


def main() -> None:
    """Run the command line."""
    with _told_to_stop():
        try:
            _share_the_machine()
            app()
        except KeyboardInterrupt:
            _stopped()
        except SystemExit as end:  # with this status typer ends a command that was interrupted
            if end.code == STOPPED:
                _stopped()
            raise
        except Exception as error:
            if "--debug" in sys.argv:
                raise
            sys.exit(_explained(error))


def _share_the_machine() -> None:
    """Settle threads, before anything that reads the settings of them is imported."""
    from tasks.campaign.surroundings import settings

    os.environ.update(settings(os.environ))


def _explained(error: Exception) -> int:
    """Print what went wrong; return the exit status."""
    if isinstance(error, AgdError):
        typer.echo(f"agd: {error}", err=True)
        return error.exit_code
    if isinstance(error, ImportError) and (found := hiding([])):
        typer.echo(f"agd: Python takes {found[0]} for a package of the product", err=True)
        typer.echo("  next:  Rename it, or take its folder out of PYTHONPATH.", err=True)
        return ConfigError.exit_code
    typer.echo(f"agd: unforeseen error: {type(error).__name__}: {error}", err=True)
    typer.echo("  next:  `agd --debug ...` shows where; please report it.", err=True)
    return 70


def _stopped() -> NoReturn:
    """Say how to go on, and end; no further signal cuts that short."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # the terminal may be what is gone
        typer.echo("agd: stopped; the same command goes on from here", err=True)
    sys.exit(STOPPED)


@contextlib.contextmanager
def _told_to_stop() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that every `finally` runs.

    One that comes again while we stop changes nothing. A signal that our caller has us ignore, as
    ``nohup`` does, stays ignored.
    """
    told: list[float] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if told and number != signal.SIGINT and time.monotonic() - told[-1] < PATIENCE_S:
            return
        told.append(time.monotonic())
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
