"""Model cards: every part stands where a reader looks for it, and nothing is escaped or lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from models.fitting.cards import DataSource, ModelCard

GOLDEN = Path(__file__).parent / "golden" / "card.md"

CARD = ModelCard(
    title="Band gaps <of> salts & oxides",
    purpose="Predicts 'gaps' in eV; {{ not a template }}.",
    sources=(DataSource("Salts, all (2024)", "CC BY 4.0", 12_345), DataSource("Own", "none", 7)),
    data_note="12,000 distinct compositions.",
    data_sha256="ab" * 32,
    method="Two models.\nThe second learns the errors.",
    tables={
        "By composition:": (("measure", "value"), [("R²", "0.912"), ("error", "0.301 eV")]),
        "Sign, in %:": (("told right", "base rate", "n"), [("**98.1 %**", "91 %", "3")]),
    },
    limits=("PBE gaps: 30 to 50 % below experiment.", "No structure."),
    command="agd train --data DIR --only oracle",
)


def test_a_card_is_written_as_it_always_was():
    assert CARD.text() == GOLDEN.read_text()


def test_a_card_without_sources_or_tables_leaves_no_empty_table_behind():
    text = replace(CARD, sources=(), tables={}).text()
    assert "|" not in text and "\n\n\n" not in text
    assert "## Data\n\n12,000 distinct" in text
    assert "## Results\n\n## Limits" in text
