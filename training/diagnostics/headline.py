"""The answer in one sentence, and what to do about it; both follow from the figures."""

from __future__ import annotations

from dataclasses import dataclass

from training.diagnostics.affinity import Affinity
from training.diagnostics.findings import DOMINANT, describe
from training.diagnostics.gradients import GradientAgreement
from training.diagnostics.loss_share import LossShare
from training.diagnostics.outcome import TaskDifference, Verdict
from training.page.wording import listed, percent, plural


@dataclass(frozen=True, slots=True)
class Headline:
    """What a slide would say.

    Attributes:
        title: The answer.
        figures: Each task's difference.
        advice: What to do.
    """

    title: str
    figures: str
    advice: str


@dataclass(frozen=True, slots=True)
class Size:
    """What is trained and served.

    Attributes:
        multi: Dense parameters of the multi-task network.
        single: Those of the single-task networks together.
    """

    multi: int
    single: int


def headline(
    verdict: Verdict,
    size: Size,
    gradients: GradientAgreement | None,
    losses: LossShare | None,
    affinity: Affinity | None,
) -> Headline:
    """The answer that the figures give.

    Args:
        verdict: The comparison with single tasks.
        size: Of both sides.
        gradients, losses, affinity: Possible reasons; None where not measured.
    """
    figures = "; ".join(describe(task) for task in verdict.tasks)
    reasons = " ".join([*_reasons(gradients, losses, affinity)])
    return Headline(_title(verdict), f"{figures}.", f"{_advice(verdict, size)} {reasons}".strip())


def _title(verdict: Verdict) -> str:
    up, down = _names(verdict.going("up")), _names(verdict.going("down"))
    match verdict.outcome:
        case "well_done":
            gain = f"it helps {listed(verdict.primaries)}" if verdict.primaries else "every task gains"
            return f"Sharing pays off: {gain}" + (f", at the expense of {down}" if down else "")
        case "pareto":
            return f"Sharing pays off: it helps {up}, and nothing loses"
        case "seesaw":
            return f"Seesaw: sharing helps {up} at the expense of {down}"
        case "negative":
            return f"Sharing does not pay off: it costs {down}, and nothing gains"
        case "neutral":
            return "Sharing makes no difference that these runs can tell"


def _advice(verdict: Verdict, size: Size) -> str:
    down, flat = _names(verdict.going("down")), _names(verdict.going("flat"))
    networks = f"{plural(len(verdict.tasks), 'network')} ({size.single:,} dense parameters)"
    cost = f"one network ({size.multi:,} dense parameters) in place of {networks}"
    match verdict.outcome:
        case "well_done":
            return "Keep the multi-task model."
        case "pareto":
            return f"Keep the multi-task model; for {flat} it is {cost}."
        case "seesaw":
            return (
                f"Decide which counts more. Keep {down} apart, or protect it: weighting primary_auxiliary with {down} "
                "as primary, or experts of its own (model ple)."
            )
        case "negative":
            return f"Keep single-task models, unless {cost} is worth that loss."
        case "neutral":
            return f"Share for cost, not for quality: {cost}."


def _reasons(gradients: GradientAgreement | None, losses: LossShare | None, affinity: Affinity | None) -> list[str]:
    """What was seen that explains a loss or bounds a gain."""
    words = {"apart": "pull apart", "mixed": "often pull apart", "orthogonal": "are nearly orthogonal"}
    reasons = [
        f"The gradients of {listed(pair.tasks)} {words[pair.relation]} ({pair.figures})."
        for pair in (gradients.pairs if gradients is not None else ())
        if pair.relation in words
    ]
    if losses is not None:
        share = losses.mean_gradient_share()
        task = max(share, key=lambda name: share[name])
        if share[task] >= DOMINANT:
            reasons.append(f"{task} makes up {percent(share[task])} of the shared gradient.")
    if affinity is not None:
        size = range(len(affinity.tasks))
        helping = [(i, j) for i in size for j in size if i != j and affinity.certain(i, j) and affinity.mean[i][j] > 0]
        if not helping:
            reasons.append("No task's steps lower another's loss for certain.")
    return reasons


def _names(tasks: tuple[TaskDifference, ...]) -> str:
    return listed([task.task for task in tasks]) if tasks else ""
