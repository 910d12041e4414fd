"""Colours and type of the plots: one palette that colour-blind readers can tell apart, for light and dark pages.

Plots are drawn in stand-in colours, which the page replaces by CSS variables: so one drawing serves both.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#010203", "#040506", "#070809", "#0a0b0c"
WIDTH = 9.0  # inches of a full-width plot; the page scales it
# Okabe and Ito's palette, in an order that keeps neighbours apart.
TASKS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
HELPS, HURTS = TASKS[0], TASKS[1]

_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    **{colour: f"c{place}" for place, colour in enumerate(TASKS)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched and copied
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.parse_math": False,  # a name with dollar signs is no formula
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlepad": 10,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def task_colour(place: int) -> str:
    """The colour of the task at that place; colours come again after six tasks, labels do not."""
    return TASKS[place % len(TASKS)]


@contextmanager
def styled() -> Iterator[None]:
    """Inside, figures take the house's look."""
    with mpl.rc_context(_STYLE):
        yield


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """A figure as an SVG element for a page: scalable, with CSS variables for colours, the same on every run.

    Args:
        figure: Drawn in this module's colours.
        name: Of the figure, unique on the page: ids inside start from it.
        description: For readers who do not see it.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*|DejaVu Sans[^;\"]*", "var(--sans)", svg)
    svg = re.sub(r' id="(?=[a-z]+_\d+")', f' id="{name}-', svg)  # groups that nothing refers to
    size = re.search(r'viewBox="[^"]*"', svg)
    assert size is not None
    label = html.escape(description)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" {size[0]}'
    return re.sub(r"<svg[^>]*>", lambda _found: f'{head} aria-label="{label}">', svg, count=1)
