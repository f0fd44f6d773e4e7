"""The template library: crystal structures a candidate can borrow, for the template step.

In: Materials Project style JSON lines, pymatgen's AFLOW prototypes, or any structures. Out: one
Parquet file, and a `TemplateLibrary` that answers which structures are nearest to a composition.
Structures are kept as flat arrays and built one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from structure.composition import (
    N_ELEMENTS,
    anonymous_formulas,
    first_of_each,
    formulas_of,
    keys_of,
    reduce,
)
from structure.elements import ELEMENTS
from structure.errors import DataError, Rejection
from structure.files import replacing
from structure.templates.emd import cumulative, distances_to, smallest
from structure.templates.template_sources import Template, read_jsonl, read_prototypes, template_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

LIBRARY_SCHEMA = "templates-1"
"""Name and version of the file format, kept in the file's metadata."""


@dataclass(frozen=True)
class TemplateLibrary:
    """Crystal structures with their compositions.

    Attributes
    ----------
    ids : list of str, length n
    counts : ndarray of int16, shape (n, 103)
        Reduced compositions.
    formation_energies : ndarray of float64, shape (n,)
        eV/atom; NaN where unknown.
    spacegroups : ndarray of int16, shape (n,)
        Numbers; 0 where unknown.
    lattices : ndarray of float64, shape (n, 3, 3)
        Å, rows are cell vectors.
    offsets : ndarray of int64, shape (n + 1,)
        Sites of structure i are ``offsets[i]:offsets[i + 1]``.
    species : ndarray of uint8, shape (sites,)
        Column of each site's element.
    coordinates : ndarray of float64, shape (sites, 3)
        Fractional.
    rejected : tuple of (str, Rejection)
        What a source offered and could not be taken in; not stored in the file.
    """

    ids: list[str]
    counts: np.ndarray
    formation_energies: np.ndarray
    spacegroups: np.ndarray
    lattices: np.ndarray
    offsets: np.ndarray
    species: np.ndarray
    coordinates: np.ndarray
    rejected: tuple[tuple[str, Rejection], ...] = field(default=())

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def anonymous(self) -> list[str]:
        """Anonymous formula of each structure, e.g. ``"ABC5"``."""
        return anonymous_formulas(self.counts)

    @cached_property
    def cumulative(self) -> np.ndarray:
        """Cumulative fractions for distances; float64, shape (n, 103)."""
        return cumulative(self.counts)

    @cached_property
    def _same(self) -> dict[str, np.ndarray]:
        """Rows of each anonymous formula, rising."""
        names, inverse = np.unique(np.array(self.anonymous, dtype=np.str_), return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        starts = np.searchsorted(inverse[order], np.arange(len(names) + 1))
        return {
            str(name): order[a:b] for name, a, b in zip(names, starts[:-1], starts[1:], strict=True)
        }

    @cached_property
    def _preference(self) -> np.ndarray:
        """Rank of each structure among equally near ones: lowest energy, then id."""
        by_id = np.argsort(np.array(self.ids, dtype=np.str_), kind="stable")
        energies = np.where(np.isnan(self.formation_energies), np.inf, self.formation_energies)
        order = by_id[np.argsort(energies[by_id], kind="stable")]
        rank = np.empty(len(self), dtype=np.intp)
        rank[order] = np.arange(len(self))
        return rank

    @property
    def n_sites(self) -> np.ndarray:
        """Sites of each structure's cell; int64, shape (n,)."""
        return np.diff(self.offsets)

    def take(self, keep: np.ndarray) -> TemplateLibrary:
        """Return the structures chosen by a mask of shape (n,)."""
        if keep.all():
            return self
        sites = np.repeat(keep, self.n_sites)
        return TemplateLibrary(
            ids=[id for id, kept in zip(self.ids, keep.tolist(), strict=True) if kept],
            counts=self.counts[keep],
            formation_energies=self.formation_energies[keep],
            spacegroups=self.spacegroups[keep],
            lattices=self.lattices[keep],
            offsets=np.concatenate([[0], np.cumsum(self.n_sites[keep])]).astype(np.int64),
            species=self.species[sites],
            coordinates=self.coordinates[sites],
            rejected=self.rejected,
        )

    def structure(self, i: int) -> Structure:
        """Build one structure.

        Returns
        -------
        pymatgen.core.Structure
        """
        from pymatgen.core import Lattice, Structure

        sites = slice(self.offsets[i], self.offsets[i + 1])
        symbols = [ELEMENTS[s] for s in self.species[sites].tolist()]
        return Structure(Lattice(self.lattices[i]), symbols, self.coordinates[sites])

    def nearest(
        self,
        counts_row: np.ndarray,
        k: int,
        same_stoichiometry: bool = True,
        one_per_formula: bool = False,
    ) -> list[tuple[int, float]]:
        """Find the structures whose compositions are nearest on the modified Pettifor scale.

        Parameters
        ----------
        counts_row : ndarray of int, shape (103,)
        k : int
        same_stoichiometry : bool, default True
            Only structures with the same anonymous formula, which alone can be substituted.
        one_per_formula : bool, default False
            Only the preferred structure of each formula.

        Returns
        -------
        list of (int, float)
            Row and distance, nearest first. Among equally near ones the lowest formation energy
            comes first, then the id.
        """
        rows = self._rows(counts_row, same_stoichiometry)
        if one_per_formula:
            rows = rows[self._is_preferred[rows]]
        if not len(rows) or k < 1:
            return []
        emd = distances_to(counts_row, self._cumulative_of(rows))
        within = smallest(emd, min(k, len(rows)), self._preference[rows])
        return [(int(rows[i]), float(emd[i])) for i in within]

    def _rows(self, counts_row: np.ndarray, same_stoichiometry: bool) -> np.ndarray:
        if not same_stoichiometry:
            return np.arange(len(self))
        name = anonymous_formulas(reduce(counts_row[None]))[0]
        return self._same.get(name, np.empty(0, dtype=np.intp))

    def _cumulative_of(self, rows: np.ndarray) -> np.ndarray:
        return self.cumulative if len(rows) == len(self) else cumulative(self.counts[rows])

    @cached_property
    def preferred(self) -> np.ndarray:
        """Rows of the preferred structure of each formula, rising."""
        order = np.argsort(self._preference)
        return np.sort(order[first_of_each(keys_of(self.counts)[order])])

    @cached_property
    def _is_preferred(self) -> np.ndarray:
        keep = np.zeros(len(self), dtype=bool)
        keep[self.preferred] = True
        return keep

    def save(self, path: Path) -> None:
        """Write the library as one Parquet file, in one step.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        flat = pa.array(np.ascontiguousarray(self.counts, dtype=np.int16).reshape(-1))
        lattices = pa.array(np.ascontiguousarray(self.lattices).reshape(-1))
        columns = {
            "id": pa.array(self.ids, type=pa.string()),
            "formula": pa.array(formulas_of(self.counts), type=pa.string()),
            "spacegroup": pa.array(self.spacegroups),
            "formation_energy_eV_per_atom": pa.array(self.formation_energies),
            "lattice_angstrom": pa.FixedSizeListArray.from_arrays(lattices, 9),
            "species": pa.LargeListArray.from_arrays(self.offsets, pa.array(self.species)),
            "fractional_coordinates": pa.LargeListArray.from_arrays(
                self.offsets * 3, pa.array(self.coordinates.reshape(-1))
            ),
            "counts": pa.FixedSizeListArray.from_arrays(flat, N_ELEMENTS),
        }
        table = pa.table(columns).replace_schema_metadata({"agd_schema": LIBRARY_SCHEMA})
        with replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> TemplateLibrary:
        """Read a library that `save` wrote.

        Raises
        ------
        DataError
            If the file is missing, damaged or of another version.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        fix = "Make it again with `agd data` or restore it."
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError("the template library cannot be read", where=path, fix=fix) from error
        found = (table.schema.metadata or {}).get(b"agd_schema", b"nothing").decode()
        if found != LIBRARY_SCHEMA:
            raise DataError(
                f"the file holds {found}, this release reads {LIBRARY_SCHEMA}", where=path, fix=fix
            )
        column = {name: table.column(name).combine_chunks() for name in table.column_names}

        def numbers(name: str) -> np.ndarray:
            array = column[name]
            while pa.types.is_nested(array.type):
                array = array.flatten()
            result: np.ndarray = array.to_numpy(zero_copy_only=False)
            return result

        return cls(
            ids=column["id"].to_pylist(),
            counts=numbers("counts").reshape(-1, N_ELEMENTS),
            formation_energies=numbers("formation_energy_eV_per_atom"),
            spacegroups=numbers("spacegroup"),
            lattices=numbers("lattice_angstrom").reshape(-1, 3, 3),
            offsets=column["species"].offsets.to_numpy(),
            species=numbers("species"),
            coordinates=numbers("fractional_coordinates").reshape(-1, 3),
        )

    @classmethod
    def from_jsonl(cls, paths: Sequence[Path]) -> TemplateLibrary:
        """Read structures from JSON lines, gzipped or not.

        Parameters
        ----------
        paths : sequence of Path
            One object a line with ``material_id``, ``lattice`` (a, b, c in Å and three angles in
            degrees, or three vectors), ``species``, ``frac_coords``, and if known ``spacegroup``
            and ``formation_energy_per_atom`` (eV/atom).

        Raises
        ------
        DataError
            If a file cannot be read. A bad line becomes a rejection instead.
        """
        return cls._of(item for path in paths for item in read_jsonl(path))

    @classmethod
    def from_prototypes(cls) -> TemplateLibrary:
        """Take the prototypes that pymatgen ships (AFLOW library, Mehl et al. 2017).

        Ids are ``aflow-`` and the AFLOW label, e.g. ``aflow-AB_cF8_225_a_b``.
        """
        return cls._of(read_prototypes())

    @classmethod
    def from_structures(
        cls,
        structures: Iterable[tuple[str, Structure]],
        formation_energies: Mapping[str, float] | None = None,
    ) -> TemplateLibrary:
        """Take any structures, each with an id that is unique among them.

        Parameters
        ----------
        structures : iterable of (str, pymatgen.core.Structure)
        formation_energies : mapping of str to float, optional
            eV/atom by id.

        Notes
        -----
        Space groups are found with spglib (tolerance `template_sources.SYMPREC`). Disordered
        structures are rejected.
        """
        energies = formation_energies or {}
        return cls._of(
            (id, template_of(id, structure, energies.get(id, float("nan"))))
            for id, structure in structures
        )

    @classmethod
    def concat(cls, libraries: Sequence[TemplateLibrary]) -> TemplateLibrary:
        """Join libraries; of structures with the same id the first is kept."""
        items: list[tuple[str, Template | Rejection]] = []
        for library in libraries:
            items += library._templates()
            items += library.rejected
        return cls._of(items)

    def _templates(self) -> Iterator[tuple[str, Template]]:
        for i, id in enumerate(self.ids):
            sites = slice(self.offsets[i], self.offsets[i + 1])
            yield (
                id,
                Template(
                    id,
                    self.lattices[i],
                    self.species[sites],
                    self.coordinates[sites],
                    int(self.spacegroups[i]),
                    float(self.formation_energies[i]),
                ),
            )

    @classmethod
    def _of(cls, items: Iterable[tuple[str, Template | Rejection]]) -> TemplateLibrary:
        """Collect templates, keeping the first of each id."""
        templates: dict[str, Template] = {}
        rejected: list[tuple[str, Rejection]] = []
        for id, item in items:
            if isinstance(item, Rejection):
                rejected.append((id, item))
            elif id not in templates:
                templates[id] = item
        kept = list(templates.values())
        sizes = np.array([len(t.species) for t in kept], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        species = np.concatenate([np.empty(0, np.uint8), *(t.species for t in kept)])
        flat = np.repeat(np.arange(len(kept)), sizes) * N_ELEMENTS + species
        counts = np.bincount(flat, minlength=len(kept) * N_ELEMENTS).reshape(-1, N_ELEMENTS)
        return cls(
            ids=list(templates),
            counts=reduce(counts.astype(np.int16)),
            formation_energies=np.array([t.formation_energy for t in kept], dtype=np.float64),
            spacegroups=np.array([t.spacegroup for t in kept], dtype=np.int16),
            lattices=np.array([t.lattice for t in kept], dtype=np.float64).reshape(-1, 3, 3),
            offsets=offsets,
            species=species.astype(np.uint8),
            coordinates=np.concatenate([np.empty((0, 3)), *(t.coordinates for t in kept)]),
            rejected=tuple(rejected),
        )
