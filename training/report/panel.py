"""What a section of the page is made of. The template knows these, and nothing of what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

Level = Literal["good", "note", "warning", "error"]
Tone = Literal["", "up", "down"]

UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence that stands out.

    Attributes:
        level: `error`: it stopped the run; `warning`: the reader should do something, or trust less.
        text: One or two sentences.
        about: Feature, task or column that it is about; empty: the section as a whole.
    """

    level: Level
    text: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: In it.
        tone: `up`: certainly good; `down`: certainly bad.
        note: In small print behind the text.
        bar: Length of a bar below the text, in [0, 1]; None: no bar.
    """

    text: str
    tone: Tone = ""
    note: str = ""
    bar: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of figures.

    Attributes:
        columns: Their titles.
        rows: A cell for each column.
        title: Above the table; empty: none.
        words: Places of the columns that hold words, beside the first: they are set to the left.
        folded: Whether the rows show only once the title is clicked.
    """

    kind: ClassVar[str] = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    words: tuple[int, ...] = ()
    folded: bool = False

    @classmethod
    def of(
        cls,
        columns: Sequence[str],
        rows: Sequence[Sequence[Cell | str]],
        title: str = "",
        words: Sequence[int] = (),
        *,
        folded: bool = False,
    ) -> Table:
        """A table whose plain cells are given as their text."""
        cells = tuple(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows)
        return cls(tuple(columns), cells, title, tuple(words), folded)


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing.

    Attributes:
        svg: An SVG element.
        caption: How to read it.
    """

    kind: ClassVar[str] = "plot"
    svg: str
    caption: str = ""


Part: TypeAlias = Plot | Table


@dataclass(frozen=True, slots=True)
class Panel:
    """A section.

    Attributes:
        name: Its id on the page.
        title: A question, as far as it goes.
        lead: Its answer or its setting in a sentence.
        parts: Drawings and tables.
        remarks: Below them.
    """

    name: str
    title: str
    lead: str
    parts: tuple[Part, ...] = ()
    remarks: tuple[Remark, ...] = ()


def shown(value: float | None, digits: int = 4) -> str:
    """A figure, or a dash where there is none."""
    return UNKNOWN if value is None else f"{value:.{digits}f}".replace("-", "−")
