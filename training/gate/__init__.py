"""The gate: may tonight's model replace the live one?

`judge` compares both on the same rows, metric by metric, with intervals from a bootstrap of whole users, and says in
words why it refuses. `compare_with_champion` makes the live bundle score those rows first.

    >>> import numpy as np
    >>> from ranker.fusion import FusionPolicy
    >>> from ranker.schema import Schema
    >>> schema = Schema.model_validate({
    ...     "features": [{"name": "age", "side": "user", "kind": "numeric"}],
    ...     "tasks": [{"name": "ctr", "label": "click"}]})
    >>> random = np.random.default_rng(0)
    >>> truth = random.beta(1, 3, 4_000)
    >>> rows = JudgedRows({"click": random.random(4_000) < truth})
    >>> good, shuffled = Scores({"ctr": truth}, "good"), Scores({"ctr": random.permutation(truth)}, "shuffled")
    >>> judge(schema, rows, good, good, GateConfig(), FusionPolicy.default(schema)).passed
    True
    >>> decision = judge(schema, rows, shuffled, good, GateConfig(), FusionPolicy.default(schema))
    >>> decision.passed, len(decision.reasons) > 0
    (False, True)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from training.gate.config import Floor, GateConfig, Limits
from training.gate.decision import Comparison, Decision, FloorCheck, NotJudged
from training.gate.judge import judge
from training.gate.scores import JudgedRows, Scores

if TYPE_CHECKING:
    from training.gate.champion import compare_with_champion

__all__ = [
    # the limits
    "GateConfig",
    "Limits",
    "Floor",
    # what is judged
    "JudgedRows",
    "Scores",
    # the gate
    "judge",
    "compare_with_champion",
    # what it says
    "Decision",
    "Comparison",
    "FloorCheck",
    "NotJudged",
]


def __getattr__(name: str) -> Any:
    # It reads impressions as an experiment says, and an experiment has a gate: imported here, it would import itself.
    if name != "compare_with_champion":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return import_module("training.gate.champion").compare_with_champion
