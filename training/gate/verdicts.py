"""From figures and their intervals to verdicts: the rule of the gate, metric by metric."""

from __future__ import annotations

import math

from training.gate.config import Floor, GateConfig
from training.gate.contest import Match
from training.gate.decision import Comparison, FloorCheck, FloorVerdict, Interval, Verdict

_ROUNDING = 1e-9


def compare(
    match: Match, challenger: float, champion: float, gain: float, interval: Interval, config: GateConfig
) -> Comparison:
    """Judge one metric of the challenger by the champion's.

    Args:
        match: What is compared; its metric has an allowed loss.
        challenger, champion: The metric of both.
        gain: What the challenger gains, higher is better.
        interval: Of the gain.
        config: The limits.
    """
    metric, output = match.challenger.metric, match.seen.output
    share = config.allowed(output, metric)
    assert share is not None  # asked before
    allowed = share * {"log_loss": champion, "rmse": champion, "ece": match.seen.rate}.get(metric, 1.0)
    verdict = _verdict(interval, allowed)
    believable = config.max_gain is None or metric != "auc" or gain <= config.max_gain * (1 - champion)
    return Comparison(
        output=output,
        metric=match.challenger.name,
        champion=champion,
        challenger=challenger,
        difference=gain,
        interval=interval,
        allowed=allowed,
        verdict="too_good" if verdict == "better" and not believable else verdict,
    )


def check(match: Match, floor: Floor, value: float, interval: Interval) -> FloorCheck:
    """Judge one metric of the challenger by its floor."""
    low, high = interval
    at_least = -math.inf if floor.at_least is None else floor.at_least
    at_most = math.inf if floor.at_most is None else floor.at_most
    verdict: FloorVerdict = "unclear"
    if high < at_least or low > at_most:
        verdict = "broken"
    elif at_least <= low and high <= at_most:
        verdict = "kept"
    return FloorCheck(
        output=match.seen.output,
        metric=match.challenger.name,
        value=value,
        interval=interval,
        at_least=floor.at_least,
        at_most=floor.at_most,
        verdict=verdict,
    )


def _verdict(interval: Interval, allowed: float) -> Verdict:
    low, high = interval
    if high < -allowed - _ROUNDING:
        return "worse"
    if low > 0:
        return "better"
    if low < -allowed - _ROUNDING:
        return "unclear"
    return "tolerated" if high < 0 else "not_worse"
