"""The offline side: from logged impressions to a published bundle.

One YAML file is one experiment. `load_config` reads it, `train` streams the impressions, trains, calibrates, evaluates,
and writes a verified bundle; `evaluate_bundle` judges a bundle as a server would load it. The command `ranker-train`
is the same for people.

    >>> from pathlib import Path
    >>> from training import load_config
    >>> config = load_config(Path("configs/census_cat33.yaml"), overrides=("training.epochs=3",))
    >>> config.training.epochs, config.model.name
    (3, 'mmoe')
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from training.errors import ConfigError, DivergenceError, TrainingError

if TYPE_CHECKING:
    from training.bundle_evaluation import BundleEvaluation, evaluate_bundle
    from training.config import ExperimentConfig, dump_config, load_config
    from training.run import RunResult, train

__all__ = [
    # an experiment
    "ExperimentConfig",
    "load_config",
    "dump_config",
    # from impressions to a bundle
    "train",
    "RunResult",
    # what a bundle is worth
    "evaluate_bundle",
    "BundleEvaluation",
    # what can go wrong
    "TrainingError",
    "ConfigError",
    "DivergenceError",
]

# These need torch, which takes seconds to import: `ranker-train --help` need not wait for it.
_NEEDS_TORCH = {
    "BundleEvaluation": "training.bundle_evaluation",
    "evaluate_bundle": "training.bundle_evaluation",
    "ExperimentConfig": "training.config",
    "dump_config": "training.config",
    "load_config": "training.config",
    "RunResult": "training.run",
    "train": "training.run",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_NEEDS_TORCH[name]), name)
