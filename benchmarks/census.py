"""Census-Income, task group 1: test AUC of every architecture at the same budget, over several seeds.

    python -m benchmarks.census --data ../shared/data/census_income_kdd --seeds 3

The budget: one set of training settings per file, not tuned for any architecture in particular, and
networks of about the same number of parameters.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.support.results import write_results
from ranker.calibration import Calibration
from ranker.encoding import Encoder
from training.config import ExperimentConfig, load_config
from training.data import Impressions
from training.distributed import process_group
from training.progress import Progress
from training.trainer import Trainer

CONFIGS = Path(__file__).parent.parent / "configs"
FILES = {"full40": "census_full40", "cat33": "census_cat33"}
_TOWER = {"tower_dims": [32], "dropout": 0.2}
MODELS: dict[str, dict[str, Any]] = {
    "single_task": {"name": "single_task", "bottom_dims": [256], **_TOWER},
    "shared_bottom": {"name": "shared_bottom", "bottom_dims": [512], **_TOWER},
    "mmoe": {"name": "mmoe", "num_experts": 8, "expert_dims": [64], **_TOWER},
    "ple": {"name": "ple", "num_shared_experts": 4, "num_specific_experts": 2, "expert_dims": [[64]], **_TOWER},
}


def test_auc(config: ExperimentConfig, impressions: Impressions, encoder: Encoder) -> tuple[dict[str, float], int]:
    """Train once; return the test AUC of every task, and the number of dense parameters."""
    with process_group():
        trainer = Trainer(config, impressions, encoder, Progress(quiet=True))
        trainer.fit(num_train_rows=impressions.check()["train"]["rows"])
        report = trainer.predict("test").report(Calibration.identity(config.data_schema), config.policy)
        size = sum(parameter.numel() for parameter in trainer.network.architecture.parameters())
    return {task: report[task].auc or float("nan") for task in config.data_schema.task_names}, size


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description="Test AUC on Census-Income, every architecture at the same budget.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/census_income_kdd"))
    parser.add_argument("--files", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    console, table = Console(), Table(title=f"Census-Income, test AUC over {arguments.seeds} seeds")
    for column in ("file", "architecture", "income", "never married", "dense parameters"):
        table.add_column(column, justify="left" if column in ("file", "architecture") else "right")
    for file in arguments.files:
        base = load_config(CONFIGS / f"{FILES[file]}.yaml")
        impressions = Impressions(arguments.data / f"census_income_kdd_{file}.parquet", base)
        encoder = Encoder.fit(base.data_schema, impressions.rows("train"))
        rows = []
        for model in arguments.models:
            configs = [_variant(file, model, seed) for seed in range(arguments.seeds)]
            runs = [test_auc(config, impressions, encoder) for config in configs]
            figures = {task: [auc[task] for auc, _ in runs] for task in base.data_schema.task_names}
            table.add_row(file, model, *(_spread(values) for values in figures.values()), f"{runs[0][1]:,}")
            rows.append({"file": file, "model": model, "auc": figures, "dense_parameters": runs[0][1]})
            console.print(rows[-1])
        write_results(f"census_{file}", {"seeds": arguments.seeds, "rows": rows})
    console.print(table)


def _variant(file: str, model: str, seed: int) -> ExperimentConfig:
    """The file's experiment with this architecture and seed."""
    return load_config(CONFIGS / f"{FILES[file]}.yaml", (f"training.seed={seed}", f"model={json.dumps(MODELS[model])}"))


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.4f}"


if __name__ == "__main__":
    main()
