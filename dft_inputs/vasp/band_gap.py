"""The band gap of one VASP step: serves collect.

In: eigenvalues and occupations as vasprun.xml lists them, and the number of electrons. Out: the
fundamental gap in eV, 0 for a metal. Bands are counted, as `gpaw_worker` does: near the Fermi level
occupations say nothing, because smearing shares electrons out among bands on both sides of a gap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WHOLE_WITHIN = 0.05
"""Electrons that may be missing from a whole number (chosen: occupations have four decimals)."""


def counted_gap(
    channels: Sequence[np.ndarray],
    weights: Sequence[float],
    electrons: float | None,
    spinors: bool = False,
) -> float:
    """Return the gap between the bands that the electrons fill and the next.

    Parameters
    ----------
    channels : sequence of ndarray, shape (k-points, bands, 2)
        Energy in eV and occupation (0 to 1) of every band; one array for each spin.
    weights : sequence of float
        Of the k-points. Points of weight zero, as on the path of a hybrid functional, count for the
        gap and not for the occupations.
    electrons : float or None
        NELECT; None where the file does not say, and the occupations are added up.
    spinors : bool
        Whether a band holds one electron, as with spin-orbit coupling, although there is one array.

    Returns
    -------
    float
        Zero for overlapping bands and for a number of electrons that fills no whole band; infinite
        where no empty band was calculated.

    Raises
    ------
    ValueError
        If there are no eigenvalues, or no electrons.
    """
    if not channels or channels[0].size == 0:
        raise ValueError("there are no eigenvalues")
    filled = filled_bands(channels, weights, electrons, spinors)
    if filled is None:
        return 0.0
    levels = [np.sort(channel[..., 0], axis=1) for channel in channels]
    if max(filled) >= levels[0].shape[1]:
        return float("inf")
    top = max(float(e[:, n - 1].max()) for e, n in zip(levels, filled, strict=True) if n)
    bottom = min(float(e[:, n].min()) for e, n in zip(levels, filled, strict=True))
    return max(0.0, bottom - top)


def filled_bands(
    channels: Sequence[np.ndarray],
    weights: Sequence[float],
    electrons: float | None,
    spinors: bool = False,
) -> tuple[int, ...] | None:
    """Return how many bands the electrons fill in each spin channel; see `counted_gap`.

    With two channels the occupations say how the electrons divide. Rounding cannot make a gap of
    a metal's fractions: of two channels with one Fermi level, the one rounded down keeps the bottom
    of a band below that level, and the one rounded up gets the top of a band above it.

    Returns
    -------
    tuple of int, or None
        None where they cannot fill whole bands: a metal.
    """
    in_channels = [_electrons_in(channel, weights) for channel in channels]
    per_band = 2 if len(channels) == 1 and not spinors else 1
    if electrons is None:
        electrons = per_band * sum(in_channels)
    if not np.isfinite(electrons) or electrons < 1 - WHOLE_WITHIN:
        raise ValueError(f"there are {electrons} electrons")
    whole = round(electrons)
    if abs(electrons - whole) > WHOLE_WITHIN or whole % per_band:
        return None
    if len(channels) == 1:
        return (whole // per_band,)
    moment = in_channels[0] - in_channels[1]
    up = min(whole, max(0, round((whole + moment) / 2)))
    return up, whole - up


def _electrons_in(channel: np.ndarray, weights: Sequence[float]) -> float:
    """Return the occupations of a channel, added up over bands and averaged over k-points."""
    shares = np.asarray(weights, dtype=np.float64)
    if shares.shape != channel.shape[:1] or shares.sum() <= 0:
        shares = np.ones(len(channel))
    return float((shares / shares.sum()) @ channel[..., 1].sum(axis=1))
