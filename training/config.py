"""One YAML is one experiment: the schema, the model, how it is trained, and how its outputs are fused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from ranker.calibration import CalibrationConfig
from ranker.exporters import CompiledEngine
from ranker.fusion import FusionPolicy
from ranker.losses import CleanRowsObjective, Objective
from ranker.models import MMoE, ModelConfig
from ranker.schema import FrozenConfig, Schema, embedded, embedding_dim, table_name
from ranker.weighting import CleanConstraint, GramConfig, GramOptions, Static, Weighting, WeightingConfig
from training.data_check.config import DataCheckConfig
from training.errors import ConfigError
from training.gate.config import GateConfig
from training.nightly.config import NightlyConfig
from training.precision import Precision

_WIDTH_STEP = 4  # fbgemm's kernels work on four columns at a time


class ColumnSplit(FrozenConfig):
    """Rows say themselves where they belong."""

    by: Literal["column"] = "column"
    column: str = "split"
    train: str = "train"
    valid: str = "valid"
    test: str = "test"


class TimeSplit(FrozenConfig):
    """The last rows by time are for testing, those before them for validation. Needs `ids.timestamp`."""

    by: Literal["time"] = "time"
    valid_fraction: float = Field(0.1, gt=0, lt=1)
    test_fraction: float = Field(0.1, gt=0, lt=1)


class UserSplit(FrozenConfig):
    """Whole users are held out, chosen by a hash of their id. Needs `ids.user`."""

    by: Literal["user"] = "user"
    valid_fraction: float = Field(0.1, gt=0, lt=1)
    test_fraction: float = Field(0.1, gt=0, lt=1)


SplitConfig = Annotated[ColumnSplit | TimeSplit | UserSplit, Field(discriminator="by")]


class TableOptimizer(FrozenConfig):
    """The optimizer fused into the embedding tables: applied to touched rows only, during the backward pass."""

    name: Literal["rowwise_adagrad", "sgd"] = "rowwise_adagrad"
    learning_rate: float = Field(0.05, gt=0)
    init_std: float = Field(0.05, gt=0, description="Standard deviation of a new row's values.")
    placement: Literal["auto", "sharded", "plain"] = Field(
        "auto",
        description="sharded: torchrec places the tables on all processes, with fbgemm's kernels; plain: torch's own "
        "kernels, in one process; auto: plain where one process trains on a CPU, which is faster, else sharded.",
    )


class DenseOptimizer(FrozenConfig):
    """AdamW, for everything that is no embedding table."""

    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    max_gradient_norm: float | None = Field(
        10.0, gt=0, description="Clip the dense gradient to this norm; null: never."
    )
    coefficient_free_l2: bool = Field(
        False, description="Let no step make a weight matrix longer: L2 regularisation with nothing to tune."
    )


class EarlyStopping(FrozenConfig):
    """Stop when the validation rows have seen no better epoch for `patience` epochs; the best epoch's weights win."""

    patience: int = Field(2, ge=1)
    tasks: tuple[str, ...] | None = Field(
        None, description="Tasks whose mean AUC (R2 for regressions) decides; null: all."
    )


class CleanRowsConfig(FrozenConfig):
    """Labels are noisy, but some rows are known to be right: no step may make the losses on those worse."""

    column: str = Field(min_length=1, description="0/1 column that is 1 for training rows with trusted labels.")
    per_step: int = Field(512, ge=1, description="Trusted rows drawn for each step and process.")
    every: int = Field(1, ge=1, description="Steps between two looks at whether trusted and other rows conflict.")


class CheckpointsConfig(FrozenConfig):
    """What a killed run goes on from; the result is the same as without the interruption."""

    every_seconds: float = Field(300, ge=0, description="Time between two checkpoints; every epoch ends with one too.")
    keep: int = Field(2, ge=1, description="Newest checkpoints to keep while training.")


class TrainingConfig(FrozenConfig):
    """How an experiment is trained."""

    split: SplitConfig = ColumnSplit()
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(4096, ge=1, description="Rows per step and process.")
    eval_batch_size: int = Field(16384, ge=1)
    shuffle_rows: int = Field(262_144, ge=1, description="Rows that are shuffled together while streaming.")
    precision: Precision = Field(
        "fp32",
        description="Of the matrix products in training: fp32; bf16, with tables, gates, logits and losses in fp32; "
        "auto: bf16 where the device multiplies it natively, else fp32.",
    )
    dense: DenseOptimizer = DenseOptimizer()
    tables: TableOptimizer = TableOptimizer()
    early_stopping: EarlyStopping = EarlyStopping()
    clean_rows: CleanRowsConfig | None = Field(None, description="Learn from noisy labels; null: trust all alike.")
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    max_bad_steps: int = Field(10, ge=1, description="Consecutive steps with a non-finite loss before training stops.")
    seed: int = 0


class ExportConfig(FrozenConfig):
    """How a trained model becomes a bundle."""

    golden_rows: int = Field(
        256, ge=1, description="Rows kept in the bundle with their scores, as a proof of agreement."
    )
    tolerance: float = Field(1e-5, gt=0, description="Largest difference of an output between training and bundle.")
    precision: Precision = Field(
        "auto",
        description="Of the large matrix products when serving: fp32; bf16, with tables, gates, softmax and logits in "
        "fp32; auto: bf16 where this machine multiplies it natively and it stays within the limits below, else fp32.",
    )
    check_rows: int = Field(10_000, ge=1, description="Test rows on which bf16 is held against fp32.")
    max_score_error: float = Field(0.01, gt=0, description="Largest difference of a probability that bf16 may bring.")
    min_top_k_overlap: float = Field(
        0.95, ge=0, le=1, description="Share of the best 20 of 500 test rows that bf16 must leave among them."
    )
    max_auc_loss: float = Field(0.0005, ge=0, description="AUC that bf16 may lose on any task.")
    engines: tuple[CompiledEngine, ...] = Field(
        (),
        description="Engines for which the bundle is compiled too, for machines like this one: aotinductor. Needs a "
        "C++ compiler; where there is none the bundle does without.",
    )


class ExperimentConfig(FrozenConfig):
    """A whole experiment.

    Example:
        >>> config = load_config(Path("configs/census_cat33.yaml"))
        >>> config.data_schema.task_names
        ('income', 'never_married')
    """

    model_config = ConfigDict(populate_by_name=True)

    data_schema: Schema = Field(alias="schema")
    model: ModelConfig = MMoE.Config()
    weighting: WeightingConfig = Static.Config()
    data_check: DataCheckConfig = DataCheckConfig()
    training: TrainingConfig = TrainingConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    export: ExportConfig = ExportConfig()
    gate: GateConfig = GateConfig()
    nightly: NightlyConfig = NightlyConfig()
    fusion: FusionPolicy | None = None

    @model_validator(mode="after")
    def _check(self) -> ExperimentConfig:
        ids, split = self.data_schema.ids, self.training.split
        if isinstance(split, TimeSplit) and ids.timestamp is None:
            raise ValueError("training.split by time needs `schema.ids.timestamp`; name the timestamp column there")
        if isinstance(split, UserSplit) and ids.user is None:
            raise ValueError("training.split by user needs `schema.ids.user`; name the user column there")
        if not isinstance(split, ColumnSplit) and split.valid_fraction + split.test_fraction >= 1:
            raise ValueError("training.split: valid_fraction + test_fraction must stay below 1")
        for task in self.training.early_stopping.tasks or ():
            if task not in self.data_schema.task_names:
                raise ValueError(
                    f"training.early_stopping.tasks names '{task}', which is no task; "
                    f"tasks: {self.data_schema.task_names}"
                )
        for feature in self.data_schema.features:
            if embedded(feature) and (width := embedding_dim(self.data_schema, feature)) % _WIDTH_STEP:
                raise ValueError(
                    f"the embedding_dim of table '{table_name(feature)}' must be a multiple of {_WIDTH_STEP}, "
                    f"the step of the training kernels, got {width}"
                )
        self.build_objective()  # an architecture that these tasks do not fit fails here
        self.policy.validate_outputs(self.data_schema.output_names)
        self.gate.validate_outputs(self.data_schema)
        self.build_weighting()  # a weight or bound for an unknown task fails here
        if self.gram is not None and self.gram.scope == "last_shared":
            with torch.device("meta"):  # shapes without values: fails here if tasks share no layer
                self.model.build(1, self.data_schema.task_names).last_shared_parameters()
        return self

    @property
    def gram(self) -> GramConfig | None:
        """How the weighting's Gram matrix is measured; None where it needs none."""
        if (clean := self.training.clean_rows) is not None:
            return GramConfig(every=clean.every, decay=0.0)
        return self.weighting.gram if isinstance(self.weighting, GramOptions) else None

    def build_weighting(self) -> Weighting:
        """A new balance of the tasks, under the constraint of trusted rows if there are any.

        Raises:
            ValueError: A setting names an unknown task, or the method cannot be had with trusted rows.
        """
        weighting = self.weighting.build(self.data_schema.task_names)
        return weighting if self.training.clean_rows is None else CleanConstraint(weighting)

    def build_objective(self) -> Objective:
        """What the network is trained on.

        Raises:
            ValueError: The architecture wants other tasks.
        """
        objective = self.model.objective(self.data_schema)
        return objective if self.training.clean_rows is None else CleanRowsObjective(objective)

    @property
    def policy(self) -> FusionPolicy:
        """The default fusion policy: the one of the `fusion` section, or equal weights."""
        return self.fusion or FusionPolicy.default(self.data_schema)


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> ExperimentConfig:
    """Read an experiment.

    Args:
        path: A YAML file.
        overrides: Settings that win over the file, like `training.epochs=3`; values are YAML.

    Raises:
        ConfigError: The file cannot be read, or a setting is wrong; names the file, every key, its value and the fix.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"config '{path}' cannot be read: {exc.strerror}; give a YAML file") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"config '{path}' is not YAML: {exc}") from exc
    if not isinstance(content, dict):
        raise ConfigError(f"config '{path}' must be a mapping with a `schema` section, got {type(content).__name__}")
    for override in overrides:
        _override(content, override)
    try:
        return ExperimentConfig.model_validate(content)
    except ValidationError as exc:
        raise ConfigError(f"config '{path}' is wrong:\n{_explain(exc)}") from exc


def dump_config(config: ExperimentConfig) -> str:
    """The experiment as YAML, every default spelled out."""
    return yaml.safe_dump(config.model_dump(mode="json", by_alias=True), sort_keys=False)


def _override(content: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator:
        raise ConfigError(f"override '{override}' must look like section.key=value")
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise ConfigError(f"override '{override}': '{parent}' is not a section")
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError as exc:
        raise ConfigError(f"override '{override}': '{value}' is not YAML; put text in quotes") from exc


def _explain(error: ValidationError) -> str:
    """One line a mistake: where it is, what is wrong, what was found."""
    lines = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"]) or "the file"
        found = item["input"]
        shown = f" (got {found!r})" if isinstance(found, (str, int, float, bool, type(None))) else ""
        hint = "unknown key; remove it or correct its spelling" if item["type"] == "extra_forbidden" else item["msg"]
        lines.append(f"  {where}: {hint.removeprefix('Value error, ')}{shown}")
    return "\n".join(lines)
