"""The oracle that is a table: serves explore and the oracle stage with values that are known.

In: a table of formulas and gaps in any format that ingest reads. Out: for each composition asked
for, the table's gap in eV, or a refusal.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from structure.composition import formulas_of, keys_of
from structure.errors import DataError, Rejection
from structure.files import sha256_of
from structure.properties.band_gap import BAND_GAP
from structure.properties.quantity import Property
from structure.sources.quantities import QUANTITIES, ValueColumn
from structure.sources.table_schema import TableSchema, read_by_schema
from tasks.ledger.ledger import Origin
from tasks.oracles.answer import Answer, Asked

logger = logging.getLogger(__name__)


class TableOracle:
    """Labels from known values; refuses compositions that it does not have.

    Parameters
    ----------
    counts : ndarray of int, shape (n, 103)
        Reduced. Of a composition given several times, the median is taken.
    values : ndarray of float, shape (n,)
    source : str
        Name of the table.
    """

    origin: Origin = "table"
    later = False

    def __init__(
        self,
        counts: np.ndarray,
        values: np.ndarray,
        source: str,
        property: str = BAND_GAP.column,
    ):
        self.source, self.property = source, property
        known = np.isfinite(values)
        keys, values = keys_of(counts[known]), np.asarray(values, float)[known]
        order = np.argsort(keys, kind="stable")
        self._keys, starts = np.unique(keys[order], return_index=True)
        groups = np.split(values[order], starts[1:]) if len(starts) else []
        self._values = np.array([np.median(group) for group in groups])

    @classmethod
    def read(
        cls,
        path: Path,
        formula_column: str,
        value_column: str,
        unit: str = "eV",
        sought: Property = BAND_GAP,
    ) -> TableOracle:
        """Read a table of gaps in any format that ingest reads.

        Parameters
        ----------
        path : Path
        formula_column, value_column : str
        unit : str, default "eV"
            Of the values (`structure.sources.units`).

        Raises
        ------
        DataError
            If the file cannot be read, lacks a column or has it twice, has no usable row, or has
            values that cannot be gaps in that unit.
        """
        setting = sought.name if sought.name in QUANTITIES else "value"
        schema = TableSchema(
            formula=formula_column,
            values=(
                ValueColumn(
                    quantity=sought.quantity,
                    column=value_column,
                    unit=unit,
                    setting="'explore.oracle.value_column'",
                    unit_setting=f"'explore.oracle.units.{setting}'",
                ),
            ),
            formula_setting="'explore.oracle.formula_column'",
        )
        found = read_by_schema(path, schema)
        reasons = [r.why for r in found.refused]
        oracle = cls(
            found.counts, found.values[sought.name], f"{path.name}:{sha256_of(path)}", sought.column
        )
        if not len(oracle):
            first = f"; the first: {reasons[0].sentence}" if reasons else ""
            raise DataError(
                f"the oracle's table has no row with a formula and a number{first}",
                where=path,
                fix="Check the columns that `explore.oracle` names.",
            )
        if reasons:
            logger.warning(
                "oracle: %d rows of %s are not used; the first: %s",
                len(reasons),
                path.name,
                reasons[0].sentence,
            )
        return oracle

    def __len__(self) -> int:
        """Return how many compositions have a value."""
        return len(self._keys)

    def accepts(self, counts: np.ndarray) -> np.ndarray:
        """Anything may be looked up."""
        return np.ones(len(counts), dtype=bool)

    def room(self) -> None:
        """Looking up has no limit."""

    def label(self, counts: np.ndarray, asked: Asked | None = None) -> Answer:
        """Label what the table has. See `Oracle`."""
        keys = keys_of(counts)
        at = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        found = self._keys[at] == keys if len(self._keys) else np.zeros(len(keys), bool)
        values = np.full(len(keys), np.nan)
        values[found] = self._values[at[found]]
        refusals = tuple(
            None
            if there
            else Rejection("unlabelled", f"{formula} has no value in the table {self.source}")
            for formula, there in zip(formulas_of(counts), found.tolist(), strict=True)
        )
        return Answer(values, np.full(len(keys), np.nan), (None,) * len(keys), refusals)
