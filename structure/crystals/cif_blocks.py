"""The text of a CIF, taken apart: serves the reading of crystal structures.

In: the bytes of a file. Out: its text, and the data blocks in it with the values of each name.
Names are those of the core dictionary in lower case, dots of the newer ones as underscores.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(r"""'(.*?)'(?=\s|$)|"(.*?)"(?=\s|$)|(\#.*)|(\S+)""")

_WIDE_MARKS = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32"} | {
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""Byte order marks, the longer ones first."""

_GZIP_MARK = b"\x1f\x8b"


def text_of(content: bytes) -> str:
    """Return text from a file's bytes, whether UTF-8, UTF-16 or a one-byte code, also gzipped.

    CIFs are ASCII where they count; of a one-byte code only authors' names go through Latin-1.

    Raises
    ------
    ValueError
        If the file is no text.
    """
    if content.startswith(_GZIP_MARK):
        content = gzip.decompress(content)
    for mark, encoding in _WIDE_MARKS.items():
        if content.startswith(mark):
            return _plain_ends(content.decode(encoding))
    if b"\x00" in content:
        raise ValueError("it is no text, or UTF-16 without its mark: save it as UTF-8")
    try:
        return _plain_ends(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _plain_ends(content.decode("latin-1"))


def _plain_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@dataclass
class Block:
    """One data block.

    Attributes
    ----------
    name : str
        As it follows ``data_``.
    columns : dict of str to list of str
        Values of each name; a list of one where the name stands outside a loop.
    broken : dict of str to str
        Names whose values cannot be told apart, and why.
    """

    name: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def first(self, *names: str) -> str | None:
        """Return the first value that is given under these names; ``.`` and ``?`` are none."""
        for name in names:
            for value in self.columns.get(name, ())[:1]:
                if is_given(value):
                    return value
        return None

    def column(self, *names: str) -> list[str]:
        """Return the values under the first of these names that has any."""
        for name in names:
            values = self.columns.get(name, [])
            if any(is_given(value) for value in values):
                return values
        return []


def is_given(value: str) -> bool:
    """Return whether a value is one, and neither unknown (``?``) nor inapplicable (``.``)."""
    return value.strip() not in ("", ".", "?")


def blocks_of(text: str) -> list[Block]:
    """Return the data blocks of a CIF, in order."""
    blocks: list[Block] = []
    names: list[str] = []
    values: list[str] = []
    in_loop = False

    def close() -> None:
        nonlocal names, values, in_loop
        if names and blocks:
            _keep(blocks[-1], names, values, in_loop)
        names, values, in_loop = [], [], False

    for token, is_bare in _tokens(text):
        word = token.lower() if is_bare else ""
        if word.startswith("data_"):
            close()
            blocks.append(Block(token[5:]))
        elif word == "loop_":
            close()
            in_loop = True
        elif word.startswith("_"):
            if not in_loop or values:
                close()
            names.append(_canonical(word))
        else:
            values.append(token)
    close()
    return blocks


def _canonical(name: str) -> str:
    return name.replace(".", "_")


def _keep(block: Block, names: list[str], values: list[str], in_loop: bool) -> None:
    """Put the values of a loop or of a single name into the block."""
    if in_loop and len(values) % len(names):
        why = f"a loop of {len(names)} names has {len(values)} values"
        block.broken |= dict.fromkeys(names, why)
        return
    width = len(names) if in_loop else max(1, len(values))
    for place, name in enumerate(names):
        found = values[place::width]
        if block.columns.setdefault(name, found) != found:
            block.broken[name] = f"{name} is given twice, with different values"


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each word and whether it stands bare, neither in quotes nor in a text field."""
    field_lines: list[str] | None = None
    for line in text.split("\n"):
        if field_lines is not None:
            if not line.startswith(";"):
                field_lines.append(line)
                continue
            yield "\n".join(field_lines).strip(), False
            field_lines, line = None, line[1:]
        elif line.startswith(";"):
            field_lines = [line[1:]]
            continue
        for match in _TOKEN.finditer(line):
            single, double, comment, bare = match.groups()
            if comment is None:
                quoted = single if single is not None else double
                yield (bare, True) if quoted is None else (quoted, False)
