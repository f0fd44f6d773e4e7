"""What each stage gives to the next: small frozen models made of handles, nothing else.

They stand together here because stage modules never import each other.
"""

from __future__ import annotations

from structure.records import Record
from tasks.campaign.handles import Handle, ModelHandle


class Ingested(Record):
    """Output of ingest.

    Attributes
    ----------
    initial : Handle
        Labelled compositions the search starts from: ``formula``, ``band_gap_eV``,
        ``formation_energy_eV_per_atom`` (NaN where unknown), ``origin``, ``source``, ``counts``.
    known : Handle
        Sorted uint64 keys of known compositions (``.npy``).
    templates : Handle
        Template library (`structure.templates.library.TemplateLibrary`).
    manifest : Handle
        JSON: what every source and filter kept and removed.
    labels : Handle or None
        Every labelled compound the rules kept; columns as `initial`, which is drawn from it.
    rejects : Handle or None
        ``source``, ``record`` (from 1; 0 for a structure), ``text``, ``code``, ``sentence``.
    """

    initial: Handle
    known: Handle
    templates: Handle
    manifest: Handle
    labels: Handle | None = None
    rejects: Handle | None = None


class Trained(Record):
    """Output of train: the weights the campaign uses, by name."""

    models: dict[str, ModelHandle]


class Explored(Record):
    """Output of explore.

    Attributes
    ----------
    visited : Handle
        Every suggestion: ``iteration``, ``source`` (box, around, between, offspring), ``formula``,
        ``status`` (labelled, merged, undecodable, invalid), ``band_gap_eV``,
        ``band_gap_sigma_eV``, ``utility``, ``latent`` (128 float32), ``counts``.
    summary : Handle
        JSON: trace of the best label by oracle call, fractions that decode by source, seconds.
    """

    visited: Handle
    summary: Handle


class Sampled(Record):
    """Output of one sample shard: a table of ``counts`` as drawn, and who drew them."""

    table: Handle
    generator: str


class ScreenedShard(Record):
    """Output of one screen shard.

    The table has the compositions that are unique in the shard: ``key``, ``verdict`` (``passed``
    or a reason code), ``band_gap_eV``, ``band_gap_sigma_eV``, ``counts``. `drawn` counts all rows
    of the sample, `empty` those without atoms.
    """

    table: Handle
    generator: str
    drawn: int
    empty: int


class Screened(Record):
    """Output of screen over all shards.

    Attributes
    ----------
    candidates : Handle
        ``rank``, ``formula``, ``generator`` (matgan, sequence, search), ``band_gap_eV``,
        ``band_gap_sigma_eV``, ``score``, ``counts``.
    funnel : Handle
        JSON: steps with counts by generator, validity beside the random baseline.
    """

    candidates: Handle
    funnel: Handle


class Templated(Record):
    """Output of template.

    Attributes
    ----------
    structures : Handle
        ``rank``, ``formula``, ``generator``, ``band_gap_eV``, ``band_gap_sigma_eV``,
        ``template_id``, ``template_formula``, ``emd``, ``spacegroup``, ``n_sites``,
        ``volume_scale``, ``closest_ratio``, ``structure_json``, ``counts``.
    rejected : Handle
        ``formula``, ``code``, ``sentence``.
    """

    structures: Handle
    rejected: Handle


class Filtered(Record):
    """Output of filter.

    Attributes
    ----------
    survivors : Handle
        The columns of `Templated.structures` with ``formation_energy_eV_per_atom``,
        ``energy_scheme``, ``status`` (selected, reserve) and the final ``rank``.
    rejected : Handle
        ``formula``, ``code``, ``sentence``.
    """

    survivors: Handle
    rejected: Handle


class HandedOff(Record):
    """Output of handoff: the batch, how many jobs it has, and its ``batch.json``."""

    batch: str
    jobs: int
    manifest: Handle


class Upstream(Record):
    """Outputs of all stages before the report, as the last run that reached it left them."""

    ingested: Ingested
    trained: Trained
    explored: Explored
    screened: Screened
    templated: Templated
    filtered: Filtered
    handed_off: HandedOff

    @classmethod
    def of(cls, *outputs: Record) -> Upstream:
        """Put outputs, in the order of the fields, together."""
        return cls.model_validate(dict(zip(cls.model_fields, outputs, strict=True)))

    def in_order(self) -> tuple[Record, ...]:
        """Return the outputs in the order of the fields."""
        return tuple(getattr(self, name) for name in type(self).model_fields)


class Reported(Record):
    """Output of report: the page."""

    page: Handle
