"""The gate: refuse what is certainly worse by more than allowed, certainly beyond a floor, or too good to be true."""

from __future__ import annotations

from collections.abc import Iterator

from ranker.fusion import FusionPolicy
from ranker.schema import Schema
from training.gate import wording
from training.gate.config import GateConfig
from training.gate.contest import Contest
from training.gate.decision import Decision
from training.gate.figures import Figures
from training.gate.scores import JudgedRows, Scores


def judge(
    schema: Schema,
    rows: JudgedRows,
    challenger: Scores,
    champion: Scores | None,
    config: GateConfig,
    policy: FusionPolicy,
) -> Decision:
    """Decide whether a challenger may replace the champion, from what both say of the same rows.

    A metric refuses the challenger if it is certainly worse by more than its allowed loss: its whole interval lies
    below minus that loss. The intervals of the gate hold all at once with `config.confidence`, so that a challenger
    whose losses are all within the allowed ones is refused by chance in at most 1 - confidence of the nights, however
    many tasks and metrics there are. Floors are broken by intervals that lie beyond them, in the same family. With
    `config.strict` it is the challenger that has to show that every metric is within its limits.

    Args:
        schema: Names the outputs, their labels and sample spaces.
        rows: What came of the rows, and whose they are.
        challenger: What the new model says of them; every output of the schema.
        champion: What the live model says of them, by the schema's names; None: there is none, floors alone judge.
        config: The limits.
        policy: Makes the fused score of both, so that a changed policy is not mistaken for a better model.

    Raises:
        DataError: As `training.labels.task_labels`.
        SchemaError: `config` has limits for unknown outputs.
        ValueError: An output is missing, not one per row, not finite or no probability.
    """
    config.validate_outputs(schema)
    if missing := [output for output in schema.output_names if output not in challenger.outputs]:
        raise ValueError(f"`challenger` must hold every output of the schema, got none for {missing}")
    contest = Contest.of(schema, rows, challenger, champion, config, policy)
    figures = Figures.of(contest, config)
    reasons = tuple(_reasons(contest, figures, config))
    return Decision(
        passed=not reasons,
        reasons=reasons,
        warnings=() if config.strict else tuple(_unclear(figures, config)),
        challenger_version=challenger.version,
        champion_version=None if champion is None else champion.version,
        policy=" + ".join(f"{term.weight:g} {term.output}" for term in policy.terms),
        num_rows=len(contest.clusters.codes_N),
        num_clusters=contest.clusters.count,
        unit=contest.clusters.unit,
        confidence=config.confidence,
        resamples=config.resamples,
        comparisons=figures.comparisons,
        floors=figures.floors,
        not_compared=contest.not_judged,
    )


def _reasons(contest: Contest, figures: Figures, config: GateConfig) -> Iterator[str]:
    if not contest.matches:
        yield "Nothing could be judged: " + "; ".join(wording.not_judged(found) for found in contest.not_judged) + "."
    for check in figures.floors:
        if check.verdict == "broken":
            yield wording.broken(check, config.confidence)
    for found in figures.comparisons:
        if found.verdict == "worse":
            yield wording.worse(found, config.confidence)
        elif found.verdict == "too_good" and config.max_gain is not None:
            yield wording.too_good(found, config.max_gain)
    if config.strict:
        yield from _unclear(figures, config)


def _unclear(figures: Figures, config: GateConfig) -> Iterator[str]:
    """What these rows cannot tell: a warning, or with `strict` a reason."""
    for check in figures.floors:
        if check.verdict == "unclear":
            yield wording.unclear_floor(check, config.confidence)
    if unclear := [found for found in figures.comparisons if found.verdict == "unclear"]:
        yield wording.unclear(unclear, config.confidence)
