"""Every figure of the gate, sampled together and judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from training.gate.bootstrap import replicates, simultaneous_intervals
from training.gate.config import Floor, GateConfig
from training.gate.contest import Contest, Match
from training.gate.decision import Comparison, FloorCheck
from training.gate.quality import Quality, goodness
from training.gate.verdicts import check, compare
from training.metrics.arrays import Floats

# Shapes: R = resamples, S = figures


class _Sample(NamedTuple):
    """A metric of one model: its value, and its values on the resamples."""

    value: float
    replicates_R: Floats


@dataclass(frozen=True, slots=True)
class _SampledMatch:
    match: Match
    challenger: _Sample
    champion: _Sample | None

    def gain(self) -> _Sample:
        """What the challenger gains, higher is better."""
        assert self.champion is not None  # asked before
        metric = self.match.challenger.metric
        value, replicates_R = (
            goodness(metric, np.asarray(mine)) - goodness(metric, np.asarray(theirs))
            for mine, theirs in zip(self.challenger, self.champion, strict=True)
        )
        return _Sample(float(value), replicates_R)


@dataclass(frozen=True, slots=True)
class Figures:
    """All comparisons and floors, with intervals that hold at once."""

    comparisons: tuple[Comparison, ...]
    floors: tuple[FloorCheck, ...]

    @classmethod
    def of(cls, contest: Contest, config: GateConfig) -> Figures:
        """Sample and judge."""
        sampled = _sample(contest, config)
        compared = [
            found
            for found in sampled
            if found.champion and config.allowed(found.match.seen.output, found.match.challenger.metric) is not None
        ]
        floored = [(found, floor) for found in sampled if (floor := _floor(found.match, config)) is not None]
        samples = [found.gain() for found in compared] + [found.challenger for found, _ in floored]
        if not samples:
            return cls((), ())
        values_S = np.array([sample.value for sample in samples])
        replicates_RS = np.stack([sample.replicates_R for sample in samples], axis=1)
        ends = simultaneous_intervals(values_S, replicates_RS, config.confidence)
        intervals = list(zip(*(end_S.tolist() for end_S in ends), strict=True))
        comparisons = []
        for found, sample, interval in zip(compared, samples, intervals, strict=False):
            assert found.champion is not None  # those that are compared have one
            values = (found.challenger.value, found.champion.value)
            comparisons.append(compare(found.match, *values, sample.value, interval, config))
        floors = [
            check(found.match, floor, found.challenger.value, interval)
            for (found, floor), interval in zip(floored, intervals[len(compared) :], strict=True)
        ]
        return cls(tuple(comparisons), tuple(floors))


def _sample(contest: Contest, config: GateConfig) -> list[_SampledMatch]:
    """Every metric of both models, on the same resamples."""
    qualities = [quality for match in contest.matches for quality in _both(match)]
    statistics = [quality.statistic for quality in qualities]
    num_clusters = contest.clusters.count
    as_is_C = np.ones(num_clusters)
    replicates_RS = replicates(statistics, num_clusters, config.resamples, config.seed)
    samples = iter([_Sample(statistic(as_is_C), replicates_RS[:, place]) for place, statistic in enumerate(statistics)])
    return [
        _SampledMatch(match, next(samples), None if match.champion is None else next(samples))
        for match in contest.matches
    ]


def _both(match: Match) -> list[Quality]:
    return [match.challenger] if match.champion is None else [match.challenger, match.champion]


def _floor(match: Match, config: GateConfig) -> Floor | None:
    return config.floor(match.seen.output, match.challenger.metric)
