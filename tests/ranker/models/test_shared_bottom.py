"""Shared-Bottom shares all but the towers."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from ranker.models import SharedBottom, reached_by


def test_bottom_is_shared_and_towers_are_not() -> None:
    model = SharedBottom.Config(bottom_dims=(4, 3)).build(5, ("ctr", "cvr"))
    for parameter, tasks in reached_by(model, torch.randn(7, 5)).items():
        assert tasks == (("ctr", "cvr") if parameter.startswith("bottom.") else (parameter.split(".")[1][5:],))


def test_each_tower_reads_the_bottom() -> None:
    model, x_BD = SharedBottom.Config(bottom_dims=(4, 3)).build(5, ("ctr", "cvr")), torch.randn(7, 5)
    for task, tower in zip(("ctr", "cvr"), model.towers.values(), strict=True):
        torch.testing.assert_close(model(x_BD)[task], tower(model.bottom(x_BD)))


def test_without_a_bottom_nothing_would_be_shared() -> None:
    with pytest.raises(ValidationError, match="bottom_dims"):
        SharedBottom.Config(bottom_dims=())
