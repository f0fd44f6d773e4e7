from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structure.crystals.cif_blocks import blocks_of, text_of

TEXT = "data_x\n_publ_author_name 'Müller, J.'\n_cell_length_a 4.2\n"

PRINTED = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=12)


def written(value: str) -> str:
    """Return a value as a CIF may hold it."""
    if "\n" in value or ("'" in value and '"' in value):
        return f"\n;{value}\n;"
    return f'"{value}"' if "'" in value else f"'{value}'"


@given(
    st.lists(PRINTED, min_size=1, max_size=4), st.lists(st.lists(PRINTED, min_size=2, max_size=2))
)
def test_what_is_written_is_read_again(single: list[str], rows: list[list[str]]) -> None:
    lines = ["data_one", *(f"_name_{i} {written(v)}" for i, v in enumerate(single))]
    lines += ["loop_", "_A.left", "_A.right", *(" ".join(map(written, row)) for row in rows)]
    (block,) = blocks_of("\n".join(lines) + "\n")
    assert block.name == "one"
    assert [block.columns[f"_name_{i}"] for i in range(len(single))] == [
        [v.strip()] if "'" in v and '"' in v else [v] for v in single
    ]
    for place, name in enumerate(("_a_left", "_a_right")):
        assert [v.strip() for v in block.columns.get(name, [])] == [r[place].strip() for r in rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_the_code_and_the_line_ends_of_a_file_do_not_matter(encoding: str, ends: str) -> None:
    content = TEXT.replace("\n", ends).encode(encoding)
    for stored in (content, gzip.compress(content)):
        assert text_of(stored) == TEXT


def test_utf_16_without_its_mark_asks_for_utf_8() -> None:
    with pytest.raises(ValueError, match="save it as UTF-8"):
        text_of(TEXT.encode("utf-16-le"))


def test_a_block_named_in_a_text_field_is_none() -> None:
    text = "data_a\n_publ_section_title\n;\ndata_b\nloop_\n;\n_cell_length_a 4\n"
    (block,) = blocks_of(text)
    assert block.first("_cell_length_a") == "4"


def test_names_and_keywords_are_read_in_any_case() -> None:
    (block,) = blocks_of("DATA_x\nLOOP_\n_Atom_Site_LABEL\nNa1 # sodium\nCl1\n_CELL_LENGTH_A 5.6\n")
    assert block.columns == {"_atom_site_label": ["Na1", "Cl1"], "_cell_length_a": ["5.6"]}


def test_a_loop_that_is_cut_short_is_known_as_broken() -> None:
    (block,) = blocks_of("data_x\nloop_\n_atom_site_label\n_atom_site_fract_x\nNa1 0\nCl1\n")
    assert "2 names has 3 values" in block.broken["_atom_site_label"]


def test_a_name_given_twice_counts_only_if_it_says_the_same() -> None:
    (same,) = blocks_of("data_x\n_cell_length_a 4\n_cell_length_a 4\n")
    assert same.first("_cell_length_a") == "4" and not same.broken
    (other,) = blocks_of("data_x\n_cell_length_a 4\n_cell_length_a 5\n")
    assert "_cell_length_a" in other.broken


def test_unknown_and_inapplicable_values_are_none() -> None:
    (block,) = blocks_of("data_x\n_a ?\n_b .\n_c 1\n")
    assert block.first("_a", "_b") is None
    assert block.first("_a", "_c") == "1"
