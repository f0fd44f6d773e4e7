"""Files of a job folder that came back from elsewhere: serves collect.

In: a file that a cluster, a copy or a stranger left. Out: its content, if it is a plain file of
bounded size that lies in the job folder; otherwise an OSError or ValueError whose text says what it
is. Devices and pipes are not opened, and links that lead out of the folder not followed.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any
from xml.parsers import expat

PLAIN_ENCODINGS = ("ISO-8859-1", "UTF-8", "US-ASCII")
"""In which the characters of XML's own grammar are single bytes."""

LONGEST_TEXT = 1000
"""Characters of a sentence from elsewhere that are passed on (chosen)."""


def check_plain(path: Path, job: Path) -> None:
    """Check that a path is a plain file and that a link does not lead out of the job folder.

    Raises
    ------
    OSError
        If it is not, or is not there.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file")
    inside = os.path.realpath(job)
    if os.path.commonpath([inside, os.path.realpath(path)]) != inside:
        raise OSError(errno.EXDEV, "it is a link that leads out of the job folder")


def small_file(path: Path, job: Path, limit: int) -> bytes:
    """Return the content of a file.

    Parameters
    ----------
    path, job : Path
        The file, and the job folder it belongs to.
    limit : int
        Bytes.

    Raises
    ------
    OSError
        If it is missing, larger, no plain file, or lies elsewhere.
    """
    check_plain(path, job)
    with path.open("rb") as handle:
        content = handle.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, "it is larger than any of ours")
    return content


def json_of(path: Path, job: Path, limit: int) -> Any:
    """Return the JSON document of a file; see `small_file` for its size and errors.

    Raises
    ------
    ValueError
        If it is no JSON. Half characters, which cannot be written again, become question marks.
    """
    return json_text(small_file(path, job, limit))


def json_text(content: bytes) -> Any:
    """Return the document of a JSON text; see `json_of`."""
    try:
        document = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    text = json.dumps(document, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.loads(text.encode(errors="replace"))
    return document


def why(error: Exception) -> str:
    """Return what an error says, without the path in it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return shown(str(error))


def shown(text: str) -> str:
    """Return one printable line of a text from elsewhere, such as the name of a folder."""
    whole = text.encode(errors="surrogateescape" if _escaped(text) else "replace")
    line = whole.decode(errors="replace")
    return "".join(c if c.isprintable() else " " for c in line[:LONGEST_TEXT]).strip()


def _escaped(text: str) -> bool:
    """Return whether all half characters stand for bytes of a file name that is no UTF-8."""
    return all("\udc80" <= c <= "\udcff" for c in text if "\ud800" <= c <= "\udfff")


def check_xml_head(head: bytes, root: str) -> None:
    """Check that XML comes to its root element without declaring anything for a parser to expand.

    Entities can be declared only before the root, whatever comments stand before them; the head is
    therefore given to a parser that stops at a document type.

    Parameters
    ----------
    head : bytes
        The beginning of a document, longer than any before its root.
    root : str

    Raises
    ------
    ValueError
        If there is a document type, an encoding that parsers disagree on, another root, or none.
    """
    begun: list[str] = []

    def declared(*_: object) -> None:
        raise ValueError("declares what VASP never does")

    def encoded(version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.upper() not in PLAIN_ENCODINGS:
            declared()

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = declared
    parser.XmlDeclHandler = encoded
    parser.StartElementHandler = lambda name, attributes: begun.append(name)
    try:
        parser.Parse(head, False)
    except expat.ExpatError as error:
        if not begun:
            raise ValueError(f"is no XML: {error}") from None
    if b"\0" in head[:100] or begun[:1] != [root]:
        raise ValueError("does not begin as VASP's do")
