"""One number for an epoch, and one per task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from training.config import ExperimentConfig
from training.evaluation import EvaluationReport
from training.predictions import Predictions
from training.selection import kpis, quality, selection


@dataclass
class Output:
    kind: str
    auc: float | None = None
    mse: float | None = None


class Rows:
    """Predictions as far as they matter here."""

    def __init__(self, config: ExperimentConfig, variance: float) -> None:
        self.schema, self.variance = config.data_schema, variance

    def label_variance(self, task: str) -> float:
        return self.variance


def case(config: ExperimentConfig, cvr: float | None, variance: float) -> tuple[EvaluationReport, Predictions]:
    outputs: dict[str, Any] = {
        "ctr": Output("binary", auc=0.75),
        "cvr": Output("binary", auc=cvr),
        "spend": Output("regression", mse=3.0),
    }
    return cast("EvaluationReport", outputs), cast("Predictions", Rows(config, variance))


def test_the_mean_over_the_tasks_that_say_something(config: ExperimentConfig) -> None:
    tasks = config.data_schema.task_names
    assert quality(*case(config, 0.5, 4.0)) == {"ctr": 0.75, "cvr": 0.5, "spend": 0.25}
    assert selection(*case(config, 0.5, 4.0), tasks) == pytest.approx(0.5)
    assert selection(*case(config, None, 4.0), tasks) == pytest.approx(0.5)
    assert selection(*case(config, 0.5, 0.0), tasks) == pytest.approx(0.625)
    assert selection(*case(config, 0.5, 4.0), ["cvr"]) == 0.5
    assert selection(*case(config, None, 4.0), ["cvr"]) == 0.0


def test_what_tasks_have_learnt_is_0_for_nothing_and_1_for_all(config: ExperimentConfig) -> None:
    assert kpis(*case(config, 0.5, 4.0)) == {"ctr": 0.5, "cvr": 0.0, "spend": 0.25}
    assert kpis(*case(config, None, 0.0)) == {"ctr": 0.5}
