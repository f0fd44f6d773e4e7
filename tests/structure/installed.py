"""Packages for tests, laid down as an installer does: modules beside a dist-info folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(
    site: Path,
    name: str,
    modules: Mapping[str, str],
    points: Mapping[str, Mapping[str, str]],
    version: str = "1.0",
) -> Path:
    """Lay down a package in a folder that is, or will be, on ``sys.path``.

    Parameters
    ----------
    modules : mapping of str to str
        File name to content.
    points : mapping of str to mapping
        Group to name to ``module:attribute``.
    """
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines: list[str] = []
    for group, entries in points.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for file, content in modules.items():
        (site / file).write_text(content)
    return site
