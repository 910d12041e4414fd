"""Simulated log of the default size: test AUC of the default experiment, as a share of the best that can be reached.

python -m benchmarks.simulated --seeds 1
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.support.results import write_results
from training.config import load_config
from training.progress import Progress
from training.run import train
from training.simulation import SimulationConfig, simulate

CONFIG = Path(__file__).parent.parent / "configs" / "simulated.yaml"


def reached(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Simulate and train once; per output the test AUC, the best AUC that any model can reach, and their ratio."""
    summary = simulate(SimulationConfig(seed=seed), folder / "log")
    config = load_config(CONFIG, (f"training.seed={seed}",))
    report = train(config, summary.impressions, folder / "run", Progress(quiet=True)).report
    figures = {}
    for output, best in summary.splits["test"].best_auc.items():
        auc = report[output].auc
        assert auc is not None
        assert best is not None
        figures[output] = {"auc": auc, "best": best, "ratio": auc / best}
    return figures


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="AUC on a simulated log, as a share of the best that can be reached.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9], help="a log and a network for each")
    runs, seeds = [], parser.parse_args().seeds  # the simulator's defaults were chosen on seeds 0 to 2
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(reached(seed, Path(folder)))
        for name, found in runs[-1].items():
            print(
                f"seed {seed}  {name:>6}: {found['auc']:.4f} of {found['best']:.4f} = {found['ratio']:.4f}", flush=True
            )
    write_results("simulated", {"seeds": seeds, "runs": runs})


if __name__ == "__main__":
    main()
