"""What the gate found, in words for those who own the product."""

from __future__ import annotations

from collections.abc import Sequence

from training.gate.decision import Comparison, FloorCheck, NotJudged

_NAMES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "predicted_over_observed": "predicted over observed",
    "ece": "calibration error (ECE)",
    "rmse": "RMSE",
}


def metric_name(output: str, metric: str) -> str:
    """As `AUC of ctr`."""
    if metric.startswith("ndcg@"):
        return f"NDCG@{metric.removeprefix('ndcg@')} of the fused score on {output}"
    return f"{_NAMES[metric]} of {output}"


def worse(found: Comparison, confidence: float) -> str:
    """Why a certain loss beyond what is allowed refuses the challenger."""
    low, high = found.interval
    return (
        f"{metric_name(found.output, found.metric)} went from {found.champion:.4f} to {found.challenger:.4f}, "
        f"{-found.difference:.4f} worse ({confidence:.0%} interval {-high:.4f} to {-low:.4f}); "
        f"{found.allowed:.4f} is allowed."
    )


def too_good(found: Comparison, max_gain: float) -> str:
    """Why a gain is not believed."""
    share = (found.challenger - found.champion) / (1 - found.champion)
    return (
        f"{metric_name(found.output, found.metric)} is too good to be true: {found.challenger:.4f} after "
        f"{found.champion:.4f} is {share:.0%} of the way to a perfect order, more than the {max_gain:.0%} of "
        "`gate.max_gain`; look for a feature that knows the label."
    )


def unclear(found: Sequence[Comparison], confidence: float) -> str:
    """What the rows cannot tell, at least one comparison."""
    losses = [
        f"{metric_name(one.output, one.metric)} (up to {-one.interval[0]:.4f}, allowed {one.allowed:.4f})"
        for one in found
    ]
    return (
        f"With {confidence:.0%} confidence these rows cannot exclude losses beyond the allowed ones: "
        f"{', '.join(losses)}; judge on more rows to be sure."
    )


def broken(check: FloorCheck, confidence: float) -> str:
    """Why a floor refuses the challenger."""
    knows = check.at_most is not None and check.interval[0] > check.at_most and check.metric in ("auc", "gauc")
    found = f"{metric_name(check.output, check.metric)} is {'too good to be true: ' if knows else ''}"
    hint = "; look for a feature that knows the label" if knows else ""
    return f"{found}{_figure(check, confidence)}; {_rule(check)}{hint}."


def unclear_floor(check: FloorCheck, confidence: float) -> str:
    """Which floor cannot be judged on these rows."""
    name = metric_name(check.output, check.metric)
    return f"{name} is {_figure(check, confidence)}; {_rule(check)}, of which these rows are not sure."


def not_judged(found: NotJudged) -> str:
    """What was not judged and why."""
    name = " ".join(part for part in (found.output, found.metric) if part is not None)
    return f"{name or 'all'}: {found.reason}"


def _figure(check: FloorCheck, confidence: float) -> str:
    low, high = check.interval
    return f"{check.value:.4f} ({confidence:.0%} interval {low:.4f} to {high:.4f})"


def _rule(check: FloorCheck) -> str:
    limits = [f"at least {check.at_least:g}"] if check.at_least is not None else []
    limits += [f"at most {check.at_most:g}"] if check.at_most is not None else []
    return f"it must be {' and '.join(limits)}"
