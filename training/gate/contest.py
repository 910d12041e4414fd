"""Everything that is judged: one metric of one output by both models, and what cannot be judged and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranker.fusion import FusionPolicy
from ranker.schema import Schema
from training.gate.config import GateConfig
from training.gate.decision import NotJudged
from training.gate.observed import Clusters, Observed, observe
from training.gate.quality import Quality, probability_qualities, ranking_quality, regression_qualities
from training.gate.scores import JudgedRows, Scores

# Shapes: N = rows


@dataclass(frozen=True, slots=True)
class Match:
    """One metric of one output.

    Attributes:
        seen: What was observed of the output.
        challenger: The metric by the challenger.
        champion: The same metric by the champion; None where there is no champion, or it cannot be compared.
    """

    seen: Observed
    challenger: Quality
    champion: Quality | None


@dataclass(frozen=True, slots=True)
class Contest:
    """All that is judged.

    Attributes:
        clusters: What is resampled.
        matches: In the schema's order of outputs; the fused score after the rest.
        not_judged: What is not, and why.
    """

    clusters: Clusters
    matches: tuple[Match, ...]
    not_judged: tuple[NotJudged, ...]

    @classmethod
    def of(
        cls,
        schema: Schema,
        rows: JudgedRows,
        challenger: Scores,
        champion: Scores | None,
        config: GateConfig,
        policy: FusionPolicy,
    ) -> Contest:
        """Pair both models' metrics.

        Raises:
            DataError: As `training.labels.task_labels`.
            ValueError: Scores or ids are not one per row, or a score is no probability.
        """
        clusters, observed = observe(schema, rows)
        for scores in filter(None, (challenger, champion)):
            _check(scores, len(clusters.codes_N))
        found: list[Match | NotJudged] = []
        judged: dict[str, Observed] = {}
        for output, seen in observed.items():
            if problem := seen.problem(config, clusters):
                found.append(NotJudged(output=output, reason=problem))
                continue
            judged[output] = seen
            found += _output(seen, clusters, challenger, champion, config)
        found += _fused(judged, clusters, challenger, champion, config, policy)
        matches = tuple(one for one in found if isinstance(one, Match))
        return cls(clusters, matches, tuple(one for one in found if isinstance(one, NotJudged)))


def _output(
    seen: Observed, clusters: Clusters, challenger: Scores, champion: Scores | None, config: GateConfig
) -> Iterator[Match | NotJudged]:
    prepare = probability_qualities if seen.binary else regression_qualities
    mine = prepare(challenger.outputs[seen.output], seen, clusters)
    theirs: list[Quality] = []
    if champion is not None and seen.output in champion.outputs:
        theirs = prepare(champion.outputs[seen.output], seen, clusters)
    elif champion is not None:
        yield NotJudged(output=seen.output, reason=f"not compared with the champion: {_why(champion, seen.output)}")
    if seen.binary and clusters.unit != "users":
        yield NotJudged(output=seen.output, metric="gauc", reason="the schema names no `ids.user`")
    for place, quality in enumerate(mine):
        yield _supported(Match(seen, quality, theirs[place] if theirs else None), config)


def _fused(
    judged: Mapping[str, Observed],
    clusters: Clusters,
    challenger: Scores,
    champion: Scores | None,
    config: GateConfig,
    policy: FusionPolicy,
) -> Iterator[Match | NotJudged]:
    ranked_for = [seen for term in policy.terms if (seen := judged.get(term.output)) is not None and seen.binary]
    if ranked_for and ranked_for[0].requests_n is None:
        yield NotJudged(metric="ndcg", reason="the schema names no `ids.request`")
        return
    mine_N = policy.score(challenger.outputs)
    theirs_N: NDArray[Any] | None = None
    if champion is not None:
        absent = [term.output for term in policy.terms if term.output not in champion.outputs]
        if absent:
            why = "; ".join(_why(champion, output) for output in absent)
            yield NotJudged(metric="ndcg", reason=f"fused scores not compared with the champion: {why}")
        else:
            theirs_N = policy.score(champion.outputs)
    for seen in ranked_for:
        for k in config.ndcg_at:
            theirs = None if theirs_N is None else ranking_quality(theirs_N, seen, clusters, k)
            yield _supported(Match(seen, ranking_quality(mine_N, seen, clusters, k), theirs), config)


def _supported(match: Match, config: GateConfig) -> Match | NotJudged:
    """The match, unless it is a mean over too few users or requests."""
    support = match.challenger.support
    if support is None or support >= config.min_users:
        return match
    what = "users with labels of both classes" if match.challenger.metric == "gauc" else "requests with a positive"
    reason = f"{support} {what}; `gate.min_users` asks for {config.min_users}"
    return NotJudged(output=match.seen.output, metric=match.challenger.name, reason=reason)


def _why(champion: Scores, output: str) -> str:
    return champion.absent.get(output, f"it has no output '{output}'")


def _check(scores: Scores, num_rows: int) -> None:
    for output, values_N in scores.outputs.items():
        if len(values_N) != num_rows:
            raise ValueError(
                f"output '{output}' of {scores.version} must have one value per row ({num_rows}), got {len(values_N)}"
            )
        if not np.isfinite(values_N).all():
            row = int((~np.isfinite(values_N)).argmax())
            raise ValueError(f"output '{output}' of {scores.version} must be finite, got {values_N[row]} in row {row}")
