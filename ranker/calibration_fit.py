"""Fitting the map of one binary task. Kept apart from `calibration`, which serving imports, for its heavy imports."""

# Shapes: B = rows

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from ranker.calibration import CalibrationMap, Floats, Identity, Isotonic, Method, Platt, TaskCalibration, sigmoid

_SPLIT_SEED = 20


class Unfittable(Exception):
    """The rows cannot carry the method; the message says why."""


def fit_task(logit_B: Floats, label_B: Floats, method: Literal["platt", "isotonic", "auto"]) -> TaskCalibration:
    """Fit one binary task.

    Args:
        logit_B: Raw logits, finite.
        label_B: Labels, 0 or 1.
        method: `auto` takes the method with the least log loss on a held-out half, the simpler one on a tie, and fits
            it again on all rows.

    Returns:
        The map, or `identity` with a `note` where the rows cannot carry the method.
    """
    num_rows = len(label_B)
    try:
        if method == "auto":
            losses = _held_out_log_loss(logit_B, label_B)
            best = min(losses, key=lambda name: losses[name])
            return TaskCalibration(
                kind="binary", map=_FITS[best](logit_B, label_B), num_rows=num_rows, held_out_log_loss=losses
            )
        return TaskCalibration(kind="binary", map=_FITS[method](logit_B, label_B), num_rows=num_rows)
    except Unfittable as reason:
        return TaskCalibration(kind="binary", num_rows=num_rows, note=f"{method} not fitted: {reason}")


def fit_platt(logit_B: Floats, label_B: Floats) -> Platt:
    """Slope and intercept of `sigmoid(slope * logit + intercept)` with the least log loss.

    Platt, "Probabilistic Outputs for Support Vector Machines", 1999; solved as Lin, Lin and Weng, "A Note on Platt's
    Probabilistic Outputs", Machine Learning 2007, in logits, without forming probabilities near 0 or 1.

    Note:
        There is no penalty on the slope, but the targets are Platt's `1 / (N0 + 2)` and `(N1 + 1) / (N1 + 2)` in place
        of 0 and 1. They differ by one part in the number of rows, and keep the optimum finite on separable rows.

    Raises:
        Unfittable: One class only, logits that do not vary, or a slope that is not positive.
    """
    _require_both_classes(label_B)
    center, scale = float(np.mean(logit_B)), float(np.std(logit_B))
    if not scale > 1e-9 * max(1.0, abs(center)):
        raise Unfittable(f"the model's logits do not vary (all about {center:.6g})")
    x_B = (logit_B - center) / scale
    num_positive = label_B.sum()
    num_negative = len(label_B) - num_positive
    target_B = np.where(label_B == 1, (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2))
    slope, intercept = _logistic_line(x_B, target_B)
    if not slope > 0:
        raise Unfittable(f"the slope must be positive, got {slope / scale:.3g}: higher logits go with fewer positives")
    return Platt(slope=slope / scale, intercept=intercept - slope * center / scale)


def fit_isotonic(logit_B: Floats, label_B: Floats) -> Isotonic:
    """The non-decreasing map with the least squared error: Zadrozny and Elkan, KDD 2002.

    Note:
        Probabilities stay within `[1 / (B + 2), (B + 1) / (B + 2)]`: B rows prove neither never nor always, and a
        probability of exactly 0 would make the log loss infinite.

    Raises:
        Unfittable: One class only, or a map that is constant because higher logits go with fewer positives.
    """
    _require_both_classes(label_B)
    floor = 1.0 / (len(label_B) + 2)
    fitted = IsotonicRegression(y_min=floor, y_max=1.0 - floor, out_of_bounds="clip").fit(logit_B, label_B)
    x, y = fitted.X_thresholds_.astype(np.float64), fitted.y_thresholds_.astype(np.float64)
    if y[0] == y[-1]:
        raise Unfittable(f"the map is constant at {y[0]:.3g}: higher logits do not go with more positives")
    return Isotonic(x=tuple(x.tolist()), y=tuple(y.tolist()))


def log_loss(probability_B: Floats, label_B: Floats) -> float:
    """Mean log loss in nats per row; probabilities within 1e-15 of 0 or 1 count as that far away."""
    p_B = np.clip(probability_B, 1e-15, 1 - 1e-15)
    return float(-np.mean(label_B * np.log(p_B) + (1 - label_B) * np.log1p(-p_B)))


# From the simplest to the most flexible: `min` takes the first of equals.
_FITS: dict[Method, Callable[[Floats, Floats], CalibrationMap]] = {
    "identity": lambda _logit_B, _label_B: Identity(),
    "platt": fit_platt,
    "isotonic": fit_isotonic,
}


def _held_out_log_loss(logit_B: Floats, label_B: Floats) -> dict[Method, float]:
    """Log loss on half of the rows of each map fitted on the other half; maps that cannot be fitted are left out."""
    _require_both_classes(label_B)
    order_B = np.random.default_rng(_SPLIT_SEED).permutation(len(label_B))
    fit, held_out = order_B[::2], order_B[1::2]
    losses: dict[Method, float] = {}
    for name, fit_map in _FITS.items():
        try:
            fitted = fit_map(logit_B[fit], label_B[fit])
        except Unfittable:
            continue
        losses[name] = log_loss(fitted.probability(logit_B[held_out]), label_B[held_out])
    return losses


def _logistic_line(x_B: Floats, target_B: Floats) -> tuple[float, float]:
    """Slope and intercept of the logistic fit to soft targets: convex, so Newton steps in a trust region find it."""

    def loss(line: Floats) -> float:
        z_B = line[0] * x_B + line[1]
        return float(np.mean(np.logaddexp(0.0, z_B) - target_B * z_B))

    def gradient(line: Floats) -> Floats:
        residual_B = sigmoid(line[0] * x_B + line[1]) - target_B
        return np.array([np.mean(residual_B * x_B), np.mean(residual_B)])

    def hessian(line: Floats) -> NDArray[np.float64]:
        p_B = sigmoid(line[0] * x_B + line[1])
        w_B = p_B * (1.0 - p_B)
        cross = np.mean(w_B * x_B)
        return np.array([[np.mean(w_B * x_B * x_B), cross], [cross, np.mean(w_B)]])

    start = np.array([1.0, np.log(target_B.mean() / (1.0 - target_B.mean()))])
    result = minimize(loss, start, jac=gradient, hess=hessian, method="trust-exact", options={"gtol": 1e-10})
    slope, intercept = (float(value) for value in result.x)
    # `success` is no guide here: at the optimum rounding may stop the solver short of its own tolerance.
    if not np.linalg.norm(gradient(result.x)) < 1e-6:
        raise Unfittable(f"the logistic fit did not converge: {result.message}")
    return slope, intercept


def _require_both_classes(label_B: Floats) -> None:
    if len(label_B) == 0:
        raise Unfittable("no row has this task's label")
    if label_B.min() == label_B.max():
        raise Unfittable(f"all {len(label_B)} labels are {label_B[0]:.0f}")
