"""DeepCTR-Torch's MMOE by its own `fit`.

It imports the bookkeeping of callbacks from TensorFlow, which nothing here needs otherwise: empty ones stand in.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Callbacks:
    """Does nothing at every event."""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        self.history: dict[str, list[float]] = {}

    def set_model(self, model: Any) -> None:
        """Remember the model, which is asked for later."""
        self.model = model

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *_args: None


class Checkpoint(Callbacks):
    """A class of its own, since DeepCTR-Torch derives from it."""


def stand_in() -> None:
    """Make `tensorflow.python.keras.callbacks` importable."""
    for name in ("tensorflow", "tensorflow.python", "tensorflow.python.keras", "tensorflow.python.keras.callbacks"):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)  # torch looks whether there is a TensorFlow
    callbacks = sys.modules["tensorflow.python.keras.callbacks"]
    vars(callbacks).update(
        CallbackList=Callbacks, EarlyStopping=Callbacks, History=Callbacks, ModelCheckpoint=Checkpoint
    )


def main() -> None:
    """Train and report."""
    stand_in()
    import torch
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import MMOE

    from benchmarks.train_peers.contest import EMBEDDING_DIM, EXPERT_DIMS, NUM_EXPERTS, TOWER_DIMS, begin

    contest = begin()
    ids, labels, sizes = contest.rows()
    model = MMOE(
        [SparseFeat(name, vocabulary_size=size, embedding_dim=EMBEDDING_DIM) for name, size in sizes.items()],
        num_experts=NUM_EXPERTS,
        expert_dnn_hidden_units=EXPERT_DIMS,
        gate_dnn_hidden_units=(),
        tower_dnn_hidden_units=TOWER_DIMS,
        task_types=["binary"] * len(contest.labels),
        task_names=list(contest.labels),
        seed=contest.seed,
    )
    optimizer = torch.optim.Adam(model.parameters(), contest.learning_rate)  # as its "adam", which has the default rate
    model.compile(optimizer, loss=["binary_crossentropy"] * len(contest.labels), metrics=[])
    contest.run(
        model,
        lambda: model.fit(ids["train"], labels["train"], batch_size=contest.batch_size, epochs=1, verbose=0),
        lambda split: model.predict(ids[split], contest.batch_size),
        labels,
    )


if __name__ == "__main__":
    main()
