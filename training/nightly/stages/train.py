"""The network, from the live one or from scratch. A killed attempt goes on from its newest checkpoint."""

from __future__ import annotations

from typing import Any

from training.checkpoint import Checkpoints
from training.flat_state import flatten
from training.nightly.first import on_first
from training.nightly.night import Night, remove
from training.nightly.stages.check import COUNTS
from training.run import CHECKPOINTS
from training.warm_start import TRAINED


def train(night: Night) -> dict[str, Any]:
    """Train, and leave the state of the best epoch in `trained/`, its optimizers included.

    Raises:
        DivergenceError: Losses stopped being finite.
        Interrupted: The job was asked to stop; a checkpoint has been saved.
        CheckpointError: The disk is full.
    """
    kept = Checkpoints(night.folder / TRAINED, keep=1)
    facts = on_first(lambda: _facts(kept))
    if facts is None:
        facts = _train(night, kept)
    night.write("history.json", facts["history"])
    remove(night.folder / CHECKPOINTS)  # last: until then a killed attempt finds either these or the result
    summary: dict[str, Any] = facts["summary"]
    return summary


def _facts(kept: Checkpoints) -> dict[str, Any] | None:
    """What an attempt has left that was killed between the end of training and its record."""
    trained = kept.latest()
    return None if trained is None else trained.facts


def _train(night: Night, kept: Checkpoints) -> dict[str, Any]:
    trainer = night.trainer
    warm_start = None
    if night.earlier is not None:
        warm_start = trainer.warm_start(night.earlier).sentence()
        night.log.say(warm_start)
    history = trainer.fit(night.read(COUNTS)["train"]["rows"])
    best = history.epochs[history.best - 1]
    summary = {
        "epochs": len(history.epochs),
        "best_epoch": history.best,
        "steps": trainer.step.num_steps,
        "rows_per_second": best.rows_per_second,
        "warm_start": warm_start,
    }
    facts = {"history": history.to_dict(), "summary": summary}
    state = {**flatten("network", trainer.network.state()), **flatten("step", trainer.step.state_dict())}

    def save() -> None:
        kept.clear()
        kept.save(trainer.step.num_steps, state, facts, {}, "")

    on_first(save)
    return facts
