"""How did training go? Losses, quality and weights, and what it went on from."""

from __future__ import annotations

from collections.abc import Iterator

from training.history import Epoch, History
from training.page.wording import capitalised, duration, plural
from training.report.curves import loss_plot, progress_plot
from training.report.panel import Cell, Panel, Part, Plot, Remark, Table, shown
from training.report.run_files import RunFiles


def training_panel(run: RunFiles) -> Iterator[Panel]:
    """The curves; nothing for a run that has not trained."""
    if (history := run.history) is None or not history.epochs:
        return
    plots: list[Part] = []
    if history.curve.steps:
        plots.append(Plot(loss_plot(history.curve), "Training loss; thin: single steps, thick: their running mean."))
        plots.append(
            Plot(
                progress_plot(history.curve, history.epochs, history.best),
                "Ring and dotted line: the epoch that was kept. Weights: how much each task counts in a step, as the "
                "balance sets it.",
            )
        )
    best = history.epochs[history.best - 1]
    yield Panel(
        name="training",
        title="How did training go?",
        lead=f"{plural(len(history.epochs), 'epoch')}, the best was number {history.best}; "
        f"{best.rows_per_second:,.0f} rows a second.",
        parts=(*plots, _epochs(history)),
        remarks=tuple(_remarks(run, history)),
    )


def _remarks(run: RunFiles, history: History) -> Iterator[Remark]:
    train = None if run.record is None else run.record.done("train")
    warm = None if train is None else train.summary.get("warm_start")
    if isinstance(warm, str):
        yield Remark("note", _sentence(warm))  # and the next night goes on from here: no epoch needs to be the last
        return
    if train is not None:
        yield Remark("note", "Started from random weights.")
    if len(history.epochs) > 1 and history.best == len(history.epochs):
        text = "The last epoch was the best: training may not be done; try more epochs (training.epochs)."
        yield Remark("warning", text)


def _sentence(text: str) -> str:
    return f"{capitalised(text)}."


def _epochs(history: History) -> Table:
    tasks = list(history.epochs[0].losses)
    columns = ("epoch", "selected by", *(f"loss of {task}" for task in tasks), "rows a second", "took")
    rows = [_epoch(epoch, kept=epoch.number == history.best) for epoch in history.epochs]
    return Table.of(columns, rows, title="Epochs", folded=True)


def _epoch(epoch: Epoch, *, kept: bool) -> list[Cell | str]:
    number = Cell(str(epoch.number), note="kept" if kept else "")
    losses = [shown(loss) for loss in epoch.losses.values()]
    return [number, shown(epoch.selection), *losses, f"{epoch.rows_per_second:,.0f}", duration(epoch.seconds)]
