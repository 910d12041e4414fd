"""What can go wrong in `training`, beside the errors of `ranker`.

TrainingError (RuntimeError)
├── ConfigError      an experiment's YAML cannot be read or contradicts itself
└── DivergenceError  losses or gradients stopped being finite
"""


class TrainingError(RuntimeError):
    """Base of the errors of the offline side."""


class ConfigError(TrainingError):
    """An experiment's YAML cannot be read or contradicts itself."""


class DivergenceError(TrainingError):
    """Losses or gradients stopped being finite."""
