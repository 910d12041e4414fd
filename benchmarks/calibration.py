"""What calibration is worth: probabilities before and after it, on real rows and against a known truth.

    python -m benchmarks.calibration --data ../shared/data/hillstrom    # train, judge and keep; then print the tables
    python -m benchmarks.calibration --markdown                         # the tables of the figures that are kept

Hillstrom: the test rows' labels say how true probabilities are. Simulated: the log keeps a share of the impressions
without a click, as large logs do, and all its test rows, whose true probabilities are known; the map is fitted on the
thinned validation rows and the thinning undone after it. A network and a split of chances for each seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from benchmarks.support.results import RESULTS, write_results
from ranker.calibration import Calibration, CalibrationConfig
from training.calibration_report import calibration_report
from training.config import ExperimentConfig, load_config
from training.data import Impressions
from training.distributed import process_group
from training.predictions import Predictions
from training.progress import Progress
from training.run import check_data
from training.simulation import SimulationConfig, simulate, truth_error
from training.trainer import Trainer

# Shapes: N = test rows

CONFIGS = Path(__file__).parent.parent / "configs"
RATE = 0.2
WORLD = SimulationConfig(num_impressions=200_000, num_users=3_000, valid_days=1, test_days=2, base_cvr=0.25)
SETTINGS = (
    "training.split={by: column}",
    "training.batch_size=1024",
    f"calibration.negative_sampling_rate={{ctr: {RATE}}}",
)
NUM_BINS = 20

Splits = tuple[Predictions, Predictions]


def train(config: ExperimentConfig, data: Path) -> Splits:
    """Predictions of a new network for validation and test rows."""
    impressions = Impressions(data, config)
    counts, encoder = check_data(impressions)
    trainer = Trainer(config, impressions, encoder, Progress(quiet=True))
    trainer.fit(counts["train"]["rows"])
    return trainer.predict("valid"), trainer.predict("test")


def hillstrom(data: Path, seed: int) -> dict[str, Any]:
    """By output, its test rows before and after calibration, and the map."""
    config = load_config(CONFIGS / "hillstrom.yaml", (f"training.seed={seed}",))
    valid, test = train(config, data)
    calibration = Calibration.fit(config.data_schema, valid.raw, *valid.masks(), config.calibration)
    found = calibration_report(config.data_schema, valid, test, calibration)
    figures = ("predicted_over_observed", "ece", "log_loss")
    return {
        one.output: {
            "map": one.map,
            "before": {name: getattr(one.test.before, name) for name in figures},
            "after": {name: getattr(one.test.after, name) for name in figures},
        }
        for one in found.outputs
    }


def simulated(seed: int) -> dict[str, Any]:
    """By output, its test rows against the truth: as the network says, thinning undone, and calibrated."""
    config = load_config(CONFIGS / "simulated.yaml", (*SETTINGS, f"training.seed={seed}"))
    schema = config.data_schema
    with tempfile.TemporaryDirectory() as folder:
        table = thinned(WORLD.model_copy(update={"seed": seed}), Path(folder) / "log")
        data = Path(folder) / "thinned.parquet"
        pq.write_table(table, data)
        valid, test = train(config, data)
    table = table.filter(pa.compute.equal(table["split"], "test"))
    assert np.array_equal(test.labels["click"], table["click"].to_numpy()), "the test rows are in another order"
    undone = config.calibration.model_copy(update={"method": "none"})
    ways = {
        "network": Calibration.identity(schema),
        "thinning undone": _fit(config, valid, undone),
        "map, then undone": _fit(config, valid, config.calibration),
    }
    return {
        way: {output: against_truth(output, values_N, table) for output, values_N in maps.apply(test.raw).items()}
        for way, maps in ways.items()
    }


def thinned(world: SimulationConfig, folder: Path) -> pa.Table:
    """A log whose training and validation days keep `RATE` of the impressions without a click."""
    summary = simulate(world, folder)
    random = np.random.default_rng(world.seed)
    parts = []
    for split in ("train", "valid", "test"):
        days = [summary.impressions / f"date={day}" / "part-000.parquet" for day in summary.splits[split].days]
        table = ds.dataset([str(day) for day in days], format="parquet").to_table()
        kept = (table["click"].to_numpy() == 1) | (random.random(len(table)) < RATE)
        table = table if split == "test" else table.filter(pa.array(kept))
        parts.append(table.append_column("split", pa.array([split] * len(table))))
    return pa.concat_tables(parts)


def against_truth(output: str, predicted_N: NDArray[np.float64], table: pa.Table) -> dict[str, float]:
    """Predicted over true, and the calibration error with true probabilities in place of labels."""
    click_N, ctr_N, cvr_N = (table[name].to_numpy() for name in ("click", "true_ctr", "true_cvr"))
    clicked_N = click_N == 1
    rows_N = clicked_N if output == "cvr" else np.ones_like(clicked_N)
    true_N = {"ctr": ctr_N, "cvr": cvr_N, "ctcvr": ctr_N * cvr_N}[output]
    error = truth_error(predicted_N[rows_N], true_N[rows_N], by_N=predicted_N[rows_N], num_groups=NUM_BINS)
    gaps = np.subtract(error.group_predicted, error.group_true)
    return {"predicted_over_true": error.predicted_over_true, "ece": float(np.abs(gaps).mean()), "rmse": error.rmse}


def markdown(figures: Mapping[str, Any]) -> str:
    """The figures as the tables of `docs/gate.md`."""
    lines = _head("Hillstrom, test", "predicted / observed: before", "after", "ECE: before", "after", "maps")
    runs = figures["hillstrom"]
    for output in runs[0]:
        cells = [
            _spread([run[output][when][name] for run in runs])
            for name in ("predicted_over_observed", "ece")
            for when in ("before", "after")
        ]
        maps = sorted({run[output]["map"] for run in runs})
        lines.append(f"| {output} | {' | '.join(cells)} | {', '.join(maps)} |")
    runs = figures["simulated"]
    lines += [
        "",
        *_head("simulated, test", "probabilities", "predicted / true", "ECE to the truth", "RMSE to the truth"),
    ]
    for output in runs[0]["network"]:
        for way in runs[0]:
            found = [run[way][output] for run in runs]
            cells = [_spread([one[name] for one in found]) for name in ("predicted_over_true", "ece", "rmse")]
            lines.append(f"| {output} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run, keep, print."""
    parser = argparse.ArgumentParser(description="Calibration before and after.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/hillstrom"))
    parser.add_argument("--seeds", type=int, default=5, help="networks for each of the two")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the kept figures, train nothing")
    arguments = parser.parse_args()
    if not arguments.markdown:
        torch.set_num_threads(1)
        with process_group():
            figures = {
                "hillstrom": [hillstrom(arguments.data / "hillstrom.parquet", seed) for seed in range(arguments.seeds)],
                "simulated": [simulated(seed) for seed in range(arguments.seeds)],
            }
        write_results("calibration", {"seeds": arguments.seeds, "rate": RATE, **figures})
    print(markdown(json.loads((RESULTS / "calibration.json").read_text(encoding="utf-8"))))


def _fit(config: ExperimentConfig, valid: Predictions, method: CalibrationConfig) -> Calibration:
    return Calibration.fit(config.data_schema, valid.raw, *valid.masks(), method)


def _head(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


if __name__ == "__main__":
    main()
