"""Scores agree where rounding of a raw output explains their difference, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from ranker.calibration import Calibration, Isotonic
from ranker.golden import Disagreement, compare
from ranker.schema import Schema

SCHEMA = Schema.model_validate(
    {
        "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        "tasks": [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "buy"}],
        "outputs": {"ctcvr": "ctr * cvr"},
    }
)
PLAIN = Calibration.identity(SCHEMA)
_STEEP_CTR = PLAIN.tasks["ctr"].model_copy(update={"map": Isotonic(x=(0, 1e-3), y=(0.2, 0.7))})
STEEP = PLAIN.model_copy(update={"tasks": PLAIN.tasks | {"ctr": _STEEP_CTR}})
RAW = {"ctr": np.array([-0.5, 5e-4, 2.0]), "cvr": np.array([0.3, -0.2, 1.0])}


def differing(calibration: Calibration, by: float) -> tuple[float, Disagreement | None]:
    """What `compare` finds where the middle raw output of `ctr` was another in training."""
    trained = {**RAW, "ctr": RAW["ctr"] + [0, by, 0]}
    return compare(calibration, RAW, calibration.apply(trained), 1e-5)


@pytest.mark.parametrize("calibration", [PLAIN, STEEP], ids=["plain", "steep"])
def test_the_same_raw_outputs_agree(calibration: Calibration) -> None:
    assert differing(calibration, 0.0) == (0.0, None)


def test_a_steep_calibration_may_make_much_of_rounding() -> None:
    largest, wrong = differing(STEEP, 8e-6)
    assert largest == pytest.approx(8e-6 * 500, rel=1e-6)
    assert wrong is None


def test_and_not_more_than_that() -> None:
    _, wrong = differing(STEEP, 3e-5)
    assert wrong is not None
    assert (wrong.output, wrong.row) == ("ctr", 1)
    assert wrong.expected == pytest.approx(0.45 + 3e-5 * 500)
    assert wrong.found == pytest.approx(0.45)


def test_products_are_held_too() -> None:
    expected = PLAIN.apply(RAW)
    expected["ctcvr"] = expected["ctcvr"] + [0, 0, 1e-4]
    _, wrong = compare(PLAIN, RAW, expected, 1e-5)
    assert wrong is not None
    assert (wrong.output, wrong.row) == ("ctcvr", 2)


def test_what_is_no_number_disagrees() -> None:
    raw = {**RAW, "cvr": np.array([0.3, np.nan, 1.0])}
    _, wrong = compare(PLAIN, raw, PLAIN.apply(RAW), 1e-5)
    assert wrong is not None
    assert (wrong.output, wrong.row) == ("cvr", 1)
