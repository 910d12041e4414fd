"""SVD reweighting against an eigendecomposition, on labels with holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ranker.errors import DataError
from ranker.weighting import SVD
from ranker.weighting.min_norm import Array

# Shapes: N = 40 rows, D = 6 columns, T = 3 tasks

TASKS = ("ctr", "cvr", "watch")
LOSSES_T = torch.tensor([0.2, 0.6, 1.5])
Sample = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def sample() -> Sample:
    """Rows, labels that are garbage where they are masked out, and the mask."""
    mask_NT = torch.rand(40, 3) < torch.tensor([1.0, 0.5, 0.8])
    labels_NT = torch.where(mask_NT, (torch.rand(40, 3) < 0.3).float(), torch.nan)
    labels_NT[:, 2] *= 7
    return torch.randn(40, 6), labels_NT, mask_NT


def theta(sample: Sample, centre: bool = False, per_row: bool = False) -> Array:
    """X_i' y_i over the labelled rows of each task, one column per task, by numpy."""
    x_ND, labels_NT, mask_NT = (tensor.numpy() for tensor in sample)
    columns = []
    for task in range(3):
        rows = mask_NT[:, task]
        y = labels_NT[rows, task].astype(np.float64)
        column = x_ND[rows].astype(np.float64).T @ (y - y.mean() if centre else y)
        columns.append(column / rows.sum() if per_row else column)
    found: Array = np.stack(columns, axis=1)
    return found


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("per_row", [False, True])
def test_equals_an_eigendecomposition(rank: int, centre: bool, per_row: bool, sample: Sample) -> None:
    """U_r' theta = D_r V_r', and V and D^2 are the eigenvectors and eigenvalues of theta' theta: no SVD needed."""
    theta_DT = theta(sample, centre, per_row)
    values_T, vectors_TT = np.linalg.eigh(theta_DT.T @ theta_DT)
    expected_T = np.sqrt(vectors_TT[:, -rank:] ** 2 @ values_T[-rank:])
    method = SVD.Config(rank=rank, centre=centre, per_row=per_row).build(TASKS)
    method.observe_data(*sample)
    np.testing.assert_allclose(method.weights(LOSSES_T), expected_T, rtol=1e-9)
    if rank == 3:
        np.testing.assert_allclose(expected_T, np.linalg.norm(theta_DT, axis=0), rtol=1e-9)


def test_the_sign_of_labels_and_the_axes_of_x_do_not_matter(sample: Sample) -> None:
    x_ND, labels_NT, mask_NT = sample
    rotation_DD = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    found = []
    for x, labels in ((x_ND, labels_NT), (x_ND.double() @ rotation_DD, -labels_NT)):
        method = SVD.Config(rank=2).build(TASKS)
        method.observe_data(x, labels, mask_NT)
        found.append(method.weights(LOSSES_T))
    torch.testing.assert_close(*found)


def test_a_task_off_the_common_direction_weighs_little() -> None:
    x_ND = torch.eye(4)
    labels_NT = torch.tensor([[3.0, 3.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    method = SVD.Config(rank=1).build(TASKS)
    method.observe_data(x_ND, labels_NT, torch.ones(4, 3, dtype=torch.bool))
    weights = method.weights(LOSSES_T).tolist()
    assert weights[0] == pytest.approx(3, rel=0.02)
    assert weights[1] == pytest.approx(np.hypot(3, 0.5), rel=0.02)
    assert weights[2] == pytest.approx(0, abs=1e-12)


def test_weights_are_constant_and_survive_without_the_data(sample: Sample) -> None:
    method = SVD.Config(rank=2, sum_k=True).build(TASKS)
    assert method.weights(LOSSES_T).tolist() == [1, 1, 1]
    method.observe_data(*sample)
    first_T = method.weights(LOSSES_T)
    assert first_T.sum().item() == pytest.approx(3)
    assert first_T.std() > 0.1
    resumed = SVD.Config(rank=2, sum_k=True).build(TASKS)
    resumed.load_state_dict(method.state_dict())
    assert torch.equal(resumed.weights(5 * LOSSES_T), first_T)
    alone_T = resumed.weights(LOSSES_T, active_T=torch.tensor([False, False, True]))
    assert alone_T.tolist() == [0, 0, first_T[2].item()]


@pytest.mark.parametrize(("centre", "label"), [(False, 0.0), (True, 1.0), (False, None)])
def test_a_task_that_the_sample_says_nothing_of_is_named(centre: bool, label: float | None, sample: Sample) -> None:
    x_ND, labels_NT, mask_NT = sample
    if label is None:
        mask_NT[:, 1] = False
    else:
        labels_NT[:, 1] = label
    method = SVD.Config(centre=centre).build(TASKS)
    with pytest.raises(DataError, match=r"got none of \['cvr'\] in a sample of 40 training rows; raise"):
        method.observe_data(x_ND, labels_NT, mask_NT)
    assert method.weights(LOSSES_T).tolist() == [1, 1, 1]


def test_the_rank_is_at_most_the_number_of_tasks() -> None:
    with pytest.raises(ValueError, match="`rank` must be at most the number of tasks, 3, got 4"):
        SVD.Config(rank=4).build(TASKS)
