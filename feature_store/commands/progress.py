"""How far a long command has come: a bar on a terminal, a line per tenth elsewhere, both on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn, TimeRemainingColumn

from feature_store.materialize import Progress


@contextmanager
def shown() -> Iterator[Callable[[Progress], None]]:
    """Shows what the function that it gives is told."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Bar(*columns, console=console) as bar:
        tasks = {phase: bar.add_task(f"{phase} rows", total=None) for phase in ("checking", "writing")}
        yield lambda now: bar.update(tasks[now.phase], completed=now.num_rows, total=now.total_rows)


def _lines() -> Callable[[Progress], None]:
    told: dict[str, int] = {}

    def tell(now: Progress) -> None:
        tenth = 10 * now.num_rows // now.total_rows
        if tenth > told.get(now.phase, 0):
            told[now.phase] = tenth
            typer.echo(f"{now.phase}: {now.num_rows:,} of {now.total_rows:,} rows", err=True)

    return tell
