"""The report's figures, as SVG text that stands inside the page.

In: plain arrays. Out: one ``<svg>`` element a figure; equal input gives equal text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from structure.figure import GRID, INK, QUIET, axes_of, svg_text
from structure.properties.target import Target

COLOURS = {
    "matgan": "#2f6fb0",
    "sequence": "#e08a1e",
    "search": "#2a9d6f",
    "initial": "#8a97a5",
    "box": "#b35c9e",
    "around": "#2a9d6f",
    "between": "#4aa3c7",
    "offspring": "#d1603d",
}
"""One colour for each generator and each source of suggestions, the same in every figure."""


RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
"""Exponents as characters: Matplotlib takes a second to set its first formula."""


def funnel(steps: Sequence[tuple[str, int, Mapping[str, int]]]) -> str:
    """Draw how many compositions are left after each step, on a logarithmic scale.

    Parameters
    ----------
    steps : sequence of (name, count, count by generator)
    """
    figure, axes = axes_of(8.6, 0.42 * len(steps) + 0.7)
    names = [name for name, _, _ in steps]
    top = max([count for _, count, _ in steps] + [1])
    for row, (_, count, by_generator) in enumerate(steps):
        width = np.log10(count + 1)
        left, total = 0.0, sum(by_generator.values())
        for generator, part in by_generator.items():
            if part and total:
                axes.barh(row, width * part / total, left=left, height=0.7,
                          color=COLOURS.get(generator, QUIET))  # fmt: skip
                left += width * part / total
        if not total and count:
            axes.barh(row, width, height=0.7, color=QUIET)
        axes.text(width + 0.04, row, f"{count:,}", va="center", fontsize=9, color=INK)
    shown = list(dict.fromkeys(g for _, _, parts in steps for g, n in parts.items() if n))
    for generator in shown:
        axes.barh(0, 0, color=COLOURS.get(generator, QUIET), label=generator)
    if shown:
        axes.legend(fontsize=8.5, frameon=False, loc="lower right")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelsize=9.5, labelcolor=INK)
    axes.invert_yaxis()
    ticks = np.arange(0, int(np.log10(top)) + 2)
    axes.set_xticks(
        ticks, [f"10{str(t).translate(RAISED)}" if t > 1 else str(10**t) for t in ticks]
    )
    axes.set_xlim(0, np.log10(top + 1) + 0.7)
    axes.set_xlabel("compositions (logarithmic; colours share each bar by source)", fontsize=9)
    return svg_text(figure, "Funnel of the campaign")


SHADE = {"color": "#f4d35e", "alpha": 0.22, "lw": 0}
"""How the target window is drawn."""


def distributions(sets: Sequence[tuple[str, np.ndarray, str]], target: Target) -> str:
    """Draw histograms of a property, each normalised to its own size, one above the other.

    Parameters
    ----------
    sets : sequence of (name, values of shape (n,), colour)
    target : Target
        Its window is shaded.
    """
    sought = target.sought
    shown = [(n, g[np.isfinite(g)], c) for n, g, c in sets]
    shown = [(n, g, c) for n, g, c in shown if len(g)]
    figure, axes = axes_of(8.6, 0.85 * max(len(shown), 1) + 0.7)
    ends = [end for end in target.window if np.isfinite(end)]
    top = max([float(g.max()) for _, g, _ in shown] + [e + 4 * sought.tolerance for e in ends])
    low = min([float(g.min()) for _, g, _ in shown] + [e - 4 * sought.tolerance for e in ends])
    low = sought.lowest if np.isfinite(sought.lowest) else float(np.floor(low))
    edges = np.linspace(low, max(np.ceil(top), low + 1.0), 61)
    for row, (name, values, colour) in enumerate(reversed(shown)):
        heights, _ = np.histogram(np.clip(values, low, None), edges)
        scaled = 0.85 * heights / max(heights.max(), 1)
        axes.fill_between(
            edges[:-1], row, row + scaled, step="post", color=colour, alpha=0.85, lw=0
        )
        caption = f"{name}\nn = {len(values):,}, median {sought.amount(float(np.median(values)))}"
        axes.text(1.01, row + 0.4, caption, va="center", fontsize=8.5, color=INK,
                  transform=axes.get_yaxis_transform())  # fmt: skip
    _shade(axes.axvspan, target, (edges[0], edges[-1]))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(edges[0], edges[-1])
    shaded = " (the target window is shaded)" if target.has_window else ""
    axes.set_xlabel(f"{sought.axis}{shaded}", fontsize=9)
    return svg_text(figure, f"Distributions of the {sought.words}")


def search_trace(
    calls: np.ndarray,
    values: np.ndarray,
    sources: np.ndarray,
    initial_best: float,
    target: Target,
) -> str:
    """Draw every label the search asked for, and the best so far.

    Parameters
    ----------
    calls : ndarray of int, shape (n,)
        Number of the oracle call.
    values : ndarray of float, shape (n,)
        Label, in the property's unit.
    sources : ndarray of str, shape (n,)
        Where each suggestion came from.
    initial_best : float
        Best value among the initial labels.
    target : Target
    """
    sought = target.sought
    figure, axes = axes_of(8.6, 3.4)
    margin = 2 * sought.tolerance
    ends = [end for end in target.window if np.isfinite(end)]
    reach = [*values.tolist(), *ends] or [0.0]
    _shade(axes.axhspan, target, (min(reach) - margin, max(reach) + margin))
    for source in sorted(set(sources.tolist())):
        chosen = sources == source
        axes.scatter(
            calls[chosen],
            values[chosen],
            s=9,
            color=COLOURS.get(source, QUIET),
            label=source,
            alpha=0.75,
            lw=0,
        )
    if target.way != "centre" and len(values):
        up = target.way == "up"
        best, word = (np.maximum, sought.most) if up else (np.minimum, sought.least)
        so_far = best.accumulate(best(values, initial_best))
        axes.step(calls, so_far, where="post", color=INK, lw=1.4, label=f"{word} so far")
        axes.axhline(initial_best, color=QUIET, lw=0.9, ls=":", label=f"{word} initial label")
    axes.set_xlabel("oracle call", fontsize=9)
    axes.set_ylabel(f"label: {sought.axis}", fontsize=9)
    axes.grid(axis="y", color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    if len(values):
        axes.legend(
            fontsize=8, frameon=False, ncols=6, loc="upper center", bbox_to_anchor=(0.5, 1.16)
        )
    return svg_text(figure, "Search trace")


def _shade(span: Callable[..., object], target: Target, ends: tuple[float, float]) -> None:
    """Shade the window of a target, whose open ends reach the edge."""
    if target.has_window:
        low, high = target.window
        span(max(low, ends[0]), min(high, ends[1]), **SHADE)


def pareto(
    first: tuple[np.ndarray, Target], other: tuple[np.ndarray, Target], front: np.ndarray
) -> str:
    """Draw two properties of candidates against each other and mark the Pareto front.

    Parameters
    ----------
    first, other : (ndarray of float of shape (n,), Target)
        Values on the horizontal and the vertical axis; the windows are shaded.
    front : ndarray of bool, shape (n,)
        Candidates that no other one beats in every target.
    """
    figure, axes = axes_of(8.6, 4.4)
    (x, x_target), (y, y_target) = first, other
    axes.scatter(x[~front], y[~front], s=14, color=QUIET, lw=0, alpha=0.7,
                 label=f"other candidates ({int((~front).sum()):,})")  # fmt: skip
    order = np.flatnonzero(front)[np.argsort(x[front], kind="stable")]
    axes.plot(x[order], y[order], "-", color=COLOURS["offspring"], lw=0.9, alpha=0.7)
    axes.scatter(x[front], y[front], s=26, marker="D", color=COLOURS["offspring"], lw=0,
                 label=f"on the Pareto front ({int(front.sum()):,})")  # fmt: skip
    for span, values, target in ((axes.axvspan, x, x_target), (axes.axhspan, y, y_target)):
        if len(values):
            margin = 0.05 * max(float(np.ptp(values)), target.sought.tolerance, 1e-9)
            _shade(span, target, (float(values.min()) - margin, float(values.max()) + margin))
    axes.set_xlabel(x_target.sought.axis, fontsize=9)
    axes.set_ylabel(y_target.sought.axis, fontsize=9)
    axes.legend(fontsize=8.5, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.1))
    return svg_text(figure, "Pareto front")


def composition_map(groups: Sequence[tuple[str, np.ndarray, str, str, float]]) -> str:
    """Draw the two-dimensional map of compositions.

    Parameters
    ----------
    groups : sequence of (name, points of shape (n, 2), colour, marker, size)
    """
    figure, axes = axes_of(8.6, 5.6)
    for name, points, colour, marker, size in groups:
        if len(points):
            axes.scatter(
                points[:, 0],
                points[:, 1],
                s=size,
                c=colour,
                marker=marker,
                alpha=0.7,
                lw=0.6 if marker == "+" else 0,
                label=f"{name} ({len(points):,})",
            )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.legend(
        fontsize=8.5,
        frameon=False,
        ncols=3,
        loc="upper center",
        bbox_to_anchor=(0.5, 1.08),
        markerscale=1.6,
    )
    return svg_text(figure, "Map of compositions")
