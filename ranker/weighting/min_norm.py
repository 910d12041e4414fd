"""The shortest vector in a convex set of gradients, exactly: one solver for every min-norm method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

# Shapes: K = tasks that take part, R = K (width of a factor)

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Squared distance, relative to the squared norms, below which two gradients are one: some ten roundings of float64.
_SAME = 1e-14


def factor(gram_KK: Array) -> Array:
    """Vectors whose Gram matrix is the given one, one per row: H = F F^T.

    The eigenvectors are those of the cosines, not of H itself, so that a gradient 1e-8 as long as another keeps its
    direction to full precision. Negative eigenvalues, which only rounding makes, count as zero.

    Args:
        gram_KK: Inner products of gradients; symmetric, positive semi-definite up to rounding.

    Returns:
        F, [K, R].
    """
    norms_K = np.sqrt(np.clip(np.diag(gram_KK), 0, None))
    safe_K = np.where(norms_K > 0, norms_K, 1.0)
    eigenvalues, eigenvectors = np.linalg.eigh(gram_KK / safe_K[:, None] / safe_K)
    factor_KR: Array = norms_K[:, None] * eigenvectors * np.sqrt(np.clip(eigenvalues, 0, None))
    return factor_KR


def min_norm(factor_KR: Array, primary_K: Mask | None = None) -> Array:
    """Weights of the shortest combination: primaries on the simplex, auxiliaries merely non-negative.

    Solves min || sum_k x_k f_k ||^2 subject to x >= 0 and sum over primaries x_k = 1, by one non-negative least squares
    problem (Lawson and Hanson, "Solving Least Squares Problems", 1974): x minimising || sum x_k f_k ||^2 + (sum over
    primaries x_k - 1)^2, rescaled to the simplex. That is exact, not a penalty: with x = t y and y on the simplex, the
    minimum over t is ||u||^2 / (1 + ||u||^2), which grows with ||u||. All primary, this is MGDA's problem (Sener and
    Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, equation 4).

    Identical primaries get equal weights; otherwise, where weights are not unique, any solution may come back. The
    shortest vector itself is unique.

    Args:
        factor_KR: One gradient per row, as `factor` gives them or any others of the same inner products.
        primary_K: Which are primaries, at least one; null: all.

    Returns:
        Weights [K].
    """
    primary_K = np.ones(len(factor_KR), dtype=bool) if primary_K is None else primary_K
    scale = np.linalg.norm(factor_KR) / np.sqrt(len(factor_KR))
    scaled_KR = factor_KR / (scale if scale > 0 else 1.0)
    columns = np.vstack([scaled_KR.T, primary_K.astype(np.float64)])
    target = np.zeros(len(columns))
    target[-1] = 1.0
    x_K, _ = nnls(columns, target, maxiter=100 * len(factor_KR))
    return _even_out(x_K / x_K[primary_K].sum(), scaled_KR, primary_K)


def project_on_dual_cone(factor_KR: Array, vector_R: Array) -> Array:
    """What to add to a vector so that it conflicts with no gradient, and changes as little as possible.

    The projection of v on {u : <u, f_k> >= 0 for all k} is v + sum_k x_k f_k with x = argmin_{x >= 0} ||v + sum_k x_k
    f_k||: one non-negative least squares problem.

    Args:
        factor_KR: One gradient per row, as `factor` gives them or any others of the same inner products.
        vector_R: The vector v, in the same space.

    Returns:
        Weights x [K], non-negative. The projection is unique, they need not be.
    """
    x_K: Array = nnls(factor_KR.T, -vector_R, maxiter=100 * len(factor_KR))[0]
    return x_K


def kkt_gap(gram_KK: Array, weights_K: Array, primary_K: Mask | None = None) -> float:
    """How far weights are from the optimum of `min_norm`: the largest violated optimality condition.

    With u = sum x_k g_k the conditions are <g_i, u> >= ||u||^2 for primaries, <g_j, u> >= 0 for auxiliaries, and
    x_j <g_j, u> = 0. Given x >= 0 and sum 1 they are necessary and sufficient.

    Args:
        gram_KK: Inner products of the gradients.
        weights_K: Candidate weights: feasible, which this function does not check.
        primary_K: Which are primaries; null: all.

    Returns:
        The gap in units of the mean squared gradient norm; at most 1e-6 certifies an optimum.
    """
    primary_K = np.ones(len(gram_KK), dtype=bool) if primary_K is None else primary_K
    inner_K = gram_KK @ weights_K
    gap = weights_K @ inner_K - inner_K[primary_K].min()
    if not primary_K.all():
        gap = max(gap, -inner_K[~primary_K].min(), np.abs(weights_K * inner_K)[~primary_K].max())
    scale = np.trace(gram_KK) / len(gram_KK)
    return float(gap / scale) if scale > 0 else 0.0


def _even_out(x_K: Array, factor_KR: Array, primary_K: Mask) -> Array:
    """Give primaries of the same gradient the mean of their weights, which leaves the combination as it is."""
    squares_K = np.square(factor_KR).sum(axis=1)
    distances_KK = np.square(factor_KR[:, None] - factor_KR).sum(axis=2)
    same_KK = distances_KK <= _SAME * (squares_K[:, None] + squares_K)
    same_KK &= primary_K[:, None] & primary_K
    np.fill_diagonal(same_KK, val=True)
    group_K = same_KK.argmax(axis=1)  # the first task of the same gradient: a partition, though closeness is not
    evened_K: Array = (np.bincount(group_K, x_K) / np.maximum(np.bincount(group_K), 1))[group_K]
    return evened_K
