"""What bfloat16 costs models that were trained: on the census and on simulated logs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from training.config import load_config
from training.progress import Progress
from training.run import train
from training.simulation import SimulationConfig, simulate

ROOT = Path(__file__).parents[2]
CENSUS = ROOT.parent / "shared" / "data" / "census_income_kdd" / "census_income_kdd_cat33.parquet"
MODELS = {"MMoE": "{name: mmoe}", "PLE": "{name: ple}"}
_SETTINGS = ("export.precision=auto", "export.check_rows=100000", "training.precision=fp32")


def costs() -> dict[str, dict[str, Any]]:
    """Figures of `PrecisionCheck` and the choice that follows, by data set and architecture."""
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulated = simulate(SimulationConfig(seed=11), folder / "log").impressions
        logs = {"census": ("census_cat33", CENSUS, 3), "simulated": ("simulated", simulated, 3)}
        for log, (config, data, epochs) in logs.items():
            for model, options in MODELS.items():
                settings = (*_SETTINGS, f"training.epochs={epochs}", f"model={options}")
                experiment = load_config(ROOT / "configs" / f"{config}.yaml", settings)
                bundle = train(experiment, data, folder / f"{log}-{model}", Progress(quiet=True)).bundle
                assert bundle is not None
                assert bundle.manifest.precision_check is not None
                check = bundle.manifest.precision_check.model_dump()
                found[f"{log}, {model}"] = {"chosen": bundle.manifest.precision, **check}
    return found
