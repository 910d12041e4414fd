"""What a person sees of long work: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress as RichProgress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from training.history import Epoch

Advance = Callable[[int], None]


class Progress:
    """Tells people what a run is doing.

    Args:
        console: Where to write; bars are drawn only where it is a terminal.
        quiet: Say nothing, as on all processes but the first.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True, quiet=quiet)

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Advance]:
        """A bar of `total` rows; yields the function that moves it on."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        shown = self.console.is_terminal and not self.console.quiet
        with RichProgress(*columns, console=self.console, transient=True, disable=not shown) as bars:
            task = bars.add_task(title, total=total)
            yield lambda rows: bars.advance(task, rows)

    def epoch(self, epoch: Epoch, best: bool) -> None:
        """One line an epoch."""
        losses = ", ".join(f"{task} {loss:.4f}" for task, loss in epoch.losses.items())
        self.say(
            f"epoch {epoch.number}: loss {losses}; valid {epoch.selection:.4f}{' (best)' if best else ''}; "
            f"{epoch.rows_per_second:,.0f} rows/s"
        )
