"""The network, from the live one or from scratch. A killed attempt goes on from its newest checkpoint."""

from __future__ import annotations

from typing import Any

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
    trainer = night.trainer
    warm_start = None
    if night.earlier is not None:
        warm_start = trainer.warm_start(night.earlier).sentence()
        night.log.say(warm_start)
    history = trainer.fit(night.read(COUNTS)["train"]["rows"])
    trainer.save_trained(night.folder / TRAINED)
    night.write("history.json", history.to_dict())
    remove(night.folder / CHECKPOINTS)
    best = history.epochs[history.best - 1]
    return {
        "epochs": len(history.epochs),
        "best_epoch": history.best,
        "steps": trainer.step.num_steps,
        "rows_per_second": best.rows_per_second,
        "warm_start": warm_start,
    }
