"""From an experiment and its data to a diagnosis: plans the runs, does them, and gathers what they show."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ranker.schema import TaskSpec
from training.config import ExperimentConfig
from training.diagnostics import findings as remarks
from training.diagnostics.affinity import Affinity
from training.diagnostics.capacity import CapacityCurve, CapacitySweep, default_widths
from training.diagnostics.covariance import CovarianceSimilarity
from training.diagnostics.diagnosis import Diagnosis, Section, Setup
from training.diagnostics.findings import Finding
from training.diagnostics.gates import GateReport, gate_use
from training.diagnostics.gradients import GradientAgreement
from training.diagnostics.headline import Size, headline
from training.diagnostics.inputs import input_similarity
from training.diagnostics.loss_share import LossShare
from training.diagnostics.options import Options
from training.diagnostics.outcome import TaskDifference, Verdict, compare_task, judge
from training.diagnostics.quality import metric_name, rows_error
from training.diagnostics.runs import Judged, Runs
from training.diagnostics.variants import alone, matching_dims, num_parameters, on_shared_bottom, with_seed
from training.diagnostics.watched import WatchedTrainer
from training.distributed import process_group
from training.progress import Progress

_WIDTH = 32  # of a task alone, for the sweep, where the experiment has no layer below its towers
_WATCHED: frozenset[Section] = frozenset(("affinity", "gradients", "losses", "covariance", "gates"))


def diagnose(config: ExperimentConfig, data: str | Path, options: Options, progress: Progress) -> Diagnosis:
    """Find out whether sharing pays off, and why.

    Args:
        config: A multi-task experiment.
        data: Impressions: a Parquet file or a folder of them.
        options: How much to do.
        progress: Told of every run.

    Raises:
        ConfigError: The options do not fit the experiment, or a task cannot be judged.
        DataError: The data do not fit the config.
        DivergenceError: A run's losses stopped being finite.
    """
    options.check(config)
    with process_group():
        return _Study(config, Runs(config, data, options.split, progress), options).diagnose()


@dataclass(slots=True)
class _Observed:
    """What one watched run showed."""

    affinity: Affinity | None = None
    gradients: GradientAgreement | None = None
    losses: LossShare | None = None
    covariance: CovarianceSimilarity | None = None
    gates: GateReport | None = None


class _Study:
    """One diagnosis in the making."""

    def __init__(self, config: ExperimentConfig, runs: Runs, options: Options) -> None:
        self.config, self.runs, self.options = config, runs, options
        self.tasks = config.data_schema.task_names
        self.dims = {task: matching_dims(config, task) for task in self.tasks}
        first = config.training.seed
        self.seeds = tuple(range(first, first + options.num_seeds))
        self.sweep_seeds = tuple(range(first, first + options.num_sweep_seeds))
        last_widths = [dims[-1] for dims in self.dims.values() if dims]
        self.widths = tuple(sorted(set(options.widths))) or default_widths(last_widths or [_WIDTH])
        self.multi_epochs: tuple[int, ...] = ()
        self.single_epochs: dict[str, tuple[int, ...]] = {}
        self.observed = _Observed()

    def diagnose(self) -> Diagnosis:
        started = time.perf_counter()
        asked = self.options.sections
        self.runs.num_planned = self._num_runs()
        verdict = self._verdict() if "verdict" in asked else None
        if verdict is None and _WATCHED & set(asked):
            self._multi(self.seeds[0], watch=True)
        capacity = self._capacity() if "capacity" in asked else None
        size = self._size()
        seen, setup = self.observed, self._setup(size, time.perf_counter() - started)
        return Diagnosis(
            setup=setup,
            headline=headline(verdict, size, seen.gradients, seen.losses, seen.affinity) if verdict else None,
            findings=tuple(_findings(asked, setup, verdict, seen, capacity)),
            verdict=verdict,
            capacity=capacity,
            affinity=seen.affinity,
            gradients=seen.gradients,
            losses=seen.losses,
            covariance=seen.covariance,
            gates=seen.gates,
        )

    def _num_runs(self) -> int:
        asked = self.options.sections
        per_seed = 1 + len(self.tasks)
        runs = per_seed * len(self.seeds) if "verdict" in asked else int(bool(_WATCHED & set(asked)))
        return runs + (per_seed * len(self.widths) * len(self.sweep_seeds) if "capacity" in asked else 0)

    def _verdict(self) -> Verdict:
        """The multi-task model and every task alone, seed by seed."""
        multi: list[Judged] = []
        single: dict[str, list[Judged]] = {task: [] for task in self.tasks}
        for seed in self.seeds:
            multi.append(self._multi(seed, watch=seed == self.seeds[0] and bool(_WATCHED & set(self.options.sections))))
            for task in self.tasks:
                single[task].append(self._alone(task, self.dims[task], seed))
        self.multi_epochs = tuple(run.best_epoch for run in multi)
        self.single_epochs = {task: tuple(run.best_epoch for run in runs) for task, runs in single.items()}
        tasks = [self._difference(spec, multi, single[spec.name]) for spec in self.config.data_schema.tasks]
        return judge(tasks, self.options.primaries)

    def _difference(self, spec: TaskSpec, multi: list[Judged], single: list[Judged]) -> TaskDifference:
        task, labels = spec.name, self.runs.labels[spec.name]
        pairs = zip(multi, single, strict=True)
        by_row = np.mean([one.contributions[task] - other.contributions[task] for one, other in pairs], axis=0)
        return compare_task(
            task,
            metric_name(spec.kind),
            single=[run.quality[task] for run in single],
            multi=[run.quality[task] for run in multi],
            rows_error=rows_error(spec.kind, by_row, labels),
            num_rows=len(labels),
            num_positives=int(labels.sum()) if spec.kind == "binary" else None,
        )

    def _capacity(self) -> CapacitySweep:
        """A shared bottom, and each task alone, at every width."""
        shared: list[list[Judged]] = []
        single: dict[str, list[list[Judged]]] = {task: [] for task in self.tasks}
        for width in self.widths:
            config = on_shared_bottom(self.config, width)
            title = f"shared bottom of width {width}"
            shared.append(
                [self.runs.train(f"{title}, seed {seed}", with_seed(config, seed)) for seed in self.sweep_seeds]
            )
            for task in self.tasks:
                single[task].append([self._alone(task, (width,), seed) for seed in self.sweep_seeds])
        curves = tuple(
            CapacityCurve(
                task=spec.name,
                metric=metric_name(spec.kind),
                shared=_qualities(shared, spec.name),
                single=_qualities(single[spec.name], spec.name),
            )
            for spec in self.config.data_schema.tasks
        )
        return CapacitySweep(self.widths, len(self.sweep_seeds), curves)

    def _multi(self, seed: int, watch: bool) -> Judged:
        config, title = with_seed(self.config, seed), f"{self.config.model.name}, seed {seed}"
        if not watch:
            return self.runs.train(title, config)
        judged, trainer = self.runs.train_watched(title, config, "affinity" in self.options.sections)
        self.observed = self._observe(trainer)
        return judged

    def _alone(self, task: str, dims: tuple[int, ...], seed: int) -> Judged:
        widths = "×".join(map(str, dims)) or "no hidden layer"
        return self.runs.train(f"{task} alone ({widths}), seed {seed}", with_seed(alone(self.config, task, dims), seed))

    def _observe(self, trainer: WatchedTrainer) -> _Observed:
        asked, data = self.options.sections, (trainer.network, trainer.encoder, trainer.impressions)
        return _Observed(
            affinity=trainer.affinity() if "affinity" in asked else None,
            gradients=trainer.gradients() if "gradients" in asked else None,
            losses=trainer.loss_share() if "losses" in asked else None,
            covariance=input_similarity(*data, seed=self.seeds[0]) if "covariance" in asked else None,
            gates=gate_use(*data, split=self.options.split) if "gates" in asked else None,
        )

    def _size(self) -> Size:
        single = [alone(self.config, task, dims) for task, dims in self.dims.items()]
        return Size(
            multi=num_parameters(self.config.model, self.config.data_schema),
            single=sum(num_parameters(config.model, config.data_schema) for config in single),
        )

    def _setup(self, size: Size, seconds: float) -> Setup:
        return Setup(
            model=self.config.model.name,
            weighting=self.config.weighting.name,
            tasks=self.tasks,
            split=self.options.split,
            num_train_rows=self.runs.num_train_rows,
            num_judged_rows=self.runs.counts[self.options.split]["rows"],
            seeds=self.seeds,
            single_dims=self.dims,
            multi_parameters=size.multi,
            single_parameters=size.single,
            num_epochs=self.config.training.epochs,
            multi_epochs=self.multi_epochs,
            single_epochs=self.single_epochs,
            num_runs=self.runs.num_done,
            seconds=seconds,
        )


def _qualities(runs: list[list[Judged]], task: str) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(run.quality[task] for run in at_width) for at_width in runs)


def _findings(
    asked: tuple[Section, ...], setup: Setup, verdict: Verdict | None, seen: _Observed, capacity: CapacitySweep | None
) -> Iterator[Finding]:
    """All remarks, in the report's order."""
    if verdict is not None:
        yield from remarks.verdict_findings(verdict)
        yield from remarks.pace_findings(setup.multi_epochs, setup.single_epochs, setup.num_epochs)
    if "affinity" in asked:
        yield from remarks.affinity_findings(seen.affinity)
    if seen.gradients is not None:
        yield from remarks.gradient_findings(seen.gradients)
    if seen.losses is not None:
        yield from remarks.loss_findings(seen.losses)
    if seen.covariance is not None:
        yield from remarks.covariance_findings(seen.covariance)
    if capacity is not None:
        yield from remarks.capacity_findings(capacity)
    if seen.gates is not None:
        yield from remarks.gate_findings(seen.gates)
