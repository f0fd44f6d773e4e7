"""Axes and SVG text of a figure in the house's style: serves the report and collect.

In: a matplotlib figure. Out: one ``<svg>`` element; equal input gives equal text.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, GRID = "#1d2733", "#66727f", "#e3e7eb"


def axes_of(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a new figure of that size in inches, and its only axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(colors=QUIET, labelsize=8.5, length=3)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    return figure, axes


def svg_text(figure: Figure, title: str) -> str:
    """Return a figure as one ``<svg>`` element that can stand inside a page.

    Parameters
    ----------
    figure : Figure
    title : str
        What a screen reader says; figures of one page must differ in it.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    salt = re.sub(r"\W+", "-", title)
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "sans-serif"}
    ):
        text = io.StringIO()
        figure.tight_layout()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    body = text.getvalue()
    body = body[body.index("<svg") :]
    # Matplotlib numbers its definitions afresh in every figure; on one page they must differ.
    body = re.sub(r'id="', f'id="{salt}-', body)
    body = re.sub(r'(href="|url\()#', rf"\1#{salt}-", body)
    return body.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
