"""``agd data``: fetch open data, and look at data before a campaign spends a night on them.

In: a provider, a configuration, or a folder of tables. Out: a folder that campaigns and training
read, what ingest would take in and turn down, or a filter of known formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Fetch open data; check data sources; build the filter of known formulas.")


@app.command()
def check(
    config: Annotated[str, typer.Argument(help="A shipped campaign or the path of a YAML file.")],
    examples: Annotated[int, typer.Option(min=0, help="Rejects to show for each reason.")] = 3,
) -> None:
    """Take the sources of a campaign in without beginning it, and say what becomes of them."""
    import json
    import tempfile

    from flows.config import load_config
    from tasks.campaign.directory import Campaign
    from tasks.campaign.handles import read_table
    from tasks.ingest.stage import ingest

    loaded = load_config(config)
    frozen = loaded.model_dump(mode="json")
    with (
        tempfile.TemporaryDirectory(prefix="agd-data-") as folder,
        Campaign(Path(folder), frozen, loaded.seed) as campaign,
    ):
        taken = ingest(campaign, loaded.ingest)
        manifest = json.loads(taken.manifest.open_in(campaign.root).read_text())
        rejects = read_table(campaign.root, taken.rejects)[0] if taken.rejects else {}
    for line in summary(manifest, rejects, examples):
        typer.echo(line)


def summary(manifest: dict[str, Any], rejects: dict[str, Any], examples: int) -> list[str]:
    """Say in lines what ingest took in.

    Parameters
    ----------
    manifest : dict
        Of ingest.
    rejects : dict of str to ndarray
        Columns of the rejects table.
    examples : int
        How many rejects to show for each reason.
    """
    lines = [
        f"{source['name']}: {source['records']:,} records, "
        f"{source['distinct_formulas']:,} distinct formulas, "
        f"{_values(source)}{source['with_formation_energy']:,} formation energies"
        for source in manifest["sources"]
    ]
    lines += [f"{s['name']}: {note}" for s in manifest["sources"] for note in s["notes"]]
    lines += [
        f"rule {r['rule']}: removed {r['removed']:,} of {r['before']:,}" for r in manifest["rules"]
    ]
    initial = manifest["initial"]
    lines.append(f"labelled compounds: {manifest['labelled']:,}")
    lines.append(
        f"initial set: {initial['count']:,} ({initial['rule']}) from {', '.join(initial['from'])}"
    )
    lines.append(f"known formulas: {manifest['known']['total']:,}")
    lines.append(f"templates: {manifest['templates']['count']:,}")
    for code, number in manifest["rejected"].items():
        lines.append(f"turned down, {code}: {number:,}")
        rows = [i for i, c in enumerate(rejects["code"]) if c == code][:examples]
        lines += [
            f"  {rejects['source'][i]} record {rejects['record'][i]}, {rejects['text'][i]}: "
            f"{rejects['sentence'][i]}"
            for i in rows
        ]
    return lines


@app.command()
def known(
    source: Annotated[
        Path, typer.Option("--from", help="Folder with the tables that the filter's card lists.")
    ],
    out: Annotated[Path, typer.Option("--to", help="Folder to write the filter to.")] = Path(
        "known"
    ),
) -> None:
    """Build the filter of known formulas from a folder of tables."""
    from tasks.ingest.stage import build_known_filter

    counted = build_known_filter(source, out)
    for name, number in counted.items():
        typer.echo(f"{name}: {number:,} distinct formulas")
    typer.echo(f"wrote {out}")


@app.command()
def fetch(
    provider: Annotated[str, typer.Argument(help="materials-project, optimade or matbench.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to fill; one a query.")],
    elements: Annotated[
        str, typer.Option(help="Only compounds with all of these, e.g. Na,Cl.")
    ] = "",
    properties: Annotated[
        list[str] | None,
        typer.Option(
            "--property",
            help="May be repeated: band_gap; of OPTIMADE band_gap=_oqmd_band_gap:eV; of Matbench "
            "the one table, e.g. mp_gap.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most records.")] = None,
    address: Annotated[
        str, typer.Option(help="Of the provider; for OPTIMADE also its id, e.g. oqmd.")
    ] = "",
) -> None:
    """Fetch crystals and properties from a provider; the same command goes on after a cut."""
    from tasks.fetch.providers import provider as named
    from tasks.fetch.source_folder import fetch as fill
    from tasks.fetch.source_folder import lines_for_campaign

    def report(done: int, total: int | None) -> None:
        typer.echo(f"{done:,} records" + (f" of {total:,}" if total else ""), err=True)

    symbols = [symbol.strip() for symbol in elements.split(",") if symbol.strip()]
    with named(
        provider,
        to,
        address=address,
        elements=symbols,
        properties=properties or (),
        limit=limit,
    ) as source:
        found = fill(source, to, report)
    typer.echo(f"{found.title}: {found.rows:,} records in {to}, licence: {found.licence}")
    for code, number in found.refused.items():
        typer.echo(f"turned down, {code}: {number:,}")
    typer.echo("In a campaign's YAML:")
    for line in lines_for_campaign(to, found):
        typer.echo(line)
    if "agd-data.json" in found.files:
        typer.echo(f"To train on it: agd train --data {to}")


def _values(source: Mapping[str, Any]) -> str:
    """Say how many values of what is sought a source has."""
    words = ""
    for key, count in source.items():
        name = key.removeprefix("with_").replace("_", " ")
        if key.startswith("with_") and key != "with_formation_energy":
            words += (
                f"{count:,} values of the {name}, " if name[-1] == "s" else f"{count:,} {name}s, "
            )
    return words
