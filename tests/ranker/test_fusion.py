"""Fusion is linear, explains itself exactly, keeps its bounds, and orders as a stable sort would."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pydantic import ValidationError

from ranker.errors import FusionError
from ranker.fusion import FusionPolicy, Term, top_k
from ranker.schema import Schema

SCHEMA = Schema.model_validate(
    {
        "features": [{"name": "price", "side": "item", "kind": "numeric"}],
        "tasks": [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "buy"}],
        "outputs": {"ctcvr": "ctr * cvr"},
    }
)
POLICY = FusionPolicy(
    terms=(
        Term(output="ctr", weight=0.3),
        Term(output="cvr", weight=-0.5, min_weight=-1.0, max_weight=2.0),
        Term(output="ctcvr", weight=0.0),
    )
)

finite = st.floats(-1e3, 1e3)
outputs = st.integers(0, 23).flatmap(
    lambda num: st.fixed_dictionaries(
        {name: hnp.arrays(np.float64, num, elements=finite) for name in SCHEMA.output_names}
    )
)


@given(outputs)
def test_score_is_the_weighted_sum(values: dict[str, NDArray[np.float64]]) -> None:
    expected = 0.3 * values["ctr"] - 0.5 * values["cvr"]
    np.testing.assert_allclose(POLICY.score(values), expected, rtol=1e-12, atol=1e-12)


@given(outputs)
def test_contributions_add_up_to_the_score_exactly(values: dict[str, NDArray[np.float64]]) -> None:
    explained = POLICY.explain(values)
    total = explained[0].contribution
    for term in explained[1:]:
        np.testing.assert_array_equal(term.contribution, term.weight * term.value)
        total = total + term.contribution
    assert [(term.output, term.weight) for term in explained] == [("ctr", 0.3), ("cvr", -0.5), ("ctcvr", 0.0)]
    np.testing.assert_array_equal(total, POLICY.score(values))


def test_score_is_float64_of_float32_outputs() -> None:
    values = {name: np.full(3, 0.1, np.float32) for name in SCHEMA.output_names}
    assert POLICY.score(values).dtype == np.float64


def test_score_ignores_outputs_without_a_term() -> None:
    policy = FusionPolicy(terms=(Term(output="ctr", weight=0.5),))
    np.testing.assert_array_equal(policy.score({"ctr": np.array([1.0, 2.0]), "other": np.zeros(5)}), [0.5, 1.0])


@pytest.mark.parametrize(
    "lengths", [{"ctr": 2, "cvr": 3, "ctcvr": 2}, {"ctr": 4, "cvr": 4, "ctcvr": 1}], ids=["differ", "would broadcast"]
)
def test_score_refuses_outputs_of_different_length(lengths: dict[str, int]) -> None:
    with pytest.raises(FusionError, match="one value per candidate"):
        POLICY.score({name: np.zeros(length) for name, length in lengths.items()})


def test_score_refuses_anything_but_one_dimension() -> None:
    with pytest.raises(FusionError, match=r"one value per candidate.*\(2, 3\)"):
        POLICY.score({name: np.zeros((2, 3)) for name in SCHEMA.output_names})


def test_unknown_outputs_are_named_with_the_valid_ones() -> None:
    with pytest.raises(FusionError, match=r"\['ctcvr'\].*\['ctr', 'cvr'\]"):
        POLICY.validate_outputs(("ctr", "cvr"))
    with pytest.raises(FusionError, match="ctcvr"):
        POLICY.score({"ctr": np.zeros(2), "cvr": np.zeros(2)})
    POLICY.validate_outputs(SCHEMA.output_names)


def test_default_weighs_every_output_one() -> None:
    policy = FusionPolicy.default(SCHEMA)
    assert {term.output: term.weight for term in policy.terms} == {"ctr": 1.0, "cvr": 1.0, "ctcvr": 1.0}


def test_json_round_trips() -> None:
    assert FusionPolicy.model_validate_json(POLICY.model_dump_json(), strict=True) == POLICY


@pytest.mark.parametrize("field", ["weight", "min_weight", "max_weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_weights_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=f"{field}\n.*finite number"):
        Term.model_validate({"output": "ctr", "weight": 0.5, field: value})


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_non_finite_weights_are_refused_in_json(text: str) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        FusionPolicy.model_validate_json(f'{{"terms": [{{"output": "ctr", "weight": {text}}}]}}')


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "at least 1 item"),
        ([{"output": "ctr", "weight": 0}, {"output": "cvr", "weight": 0}], "must not all weigh 0"),
        ([{"output": "ctr", "weight": 1}, {"output": "ctr", "weight": 0.5}], r"\['ctr'\] more than once"),
        ([{"output": "ctr", "weight": 1.5}], r"`weight` of term 'ctr' must lie within \[0, 1\], got 1.5"),
        ([{"output": "ctr", "weight": -0.1}], r"must lie within \[0, 1\]"),
        (
            [{"output": "ctr", "weight": 1, "min_weight": 3, "max_weight": 2}],
            "`min_weight` of term 'ctr' must be at most",
        ),
        ([{"output": "ctr", "weight": 1, "wieght": 1}], "Extra inputs"),
    ],
)
def test_senseless_policies_are_refused(terms: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FusionPolicy.model_validate({"terms": terms})


def test_with_weights_replaces_some_and_keeps_the_rest() -> None:
    changed = POLICY.with_weights({"cvr": 2, "ctcvr": 0.25})
    assert [(term.output, term.weight) for term in changed.terms] == [("ctr", 0.3), ("cvr", 2.0), ("ctcvr", 0.25)]
    assert [(term.min_weight, term.max_weight) for term in changed.terms] == [(0, 1), (-1, 2), (0, 1)]
    assert POLICY.terms[1].weight == -0.5
    assert POLICY.with_weights({}) == POLICY


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"watch": 0.5}, r"\['watch'\].*no terms.*\['ctcvr', 'ctr', 'cvr'\]"),
        ({"cvr": 2.5}, r"'cvr' must lie within \[-1, 2\], got 2.5"),
        ({"ctr": float("nan")}, "term 'ctr'.*finite"),
        ({"ctr": float("inf")}, "term 'ctr'.*finite"),
        ({"ctr": "0.5"}, "'0.5' for term 'ctr'.*valid number"),
        ({"ctr": True}, "True for term 'ctr'.*valid number"),
        ({"ctr": None}, "None for term 'ctr'.*valid number"),
        ({"ctr": 0, "cvr": 0}, "must not all weigh 0"),
    ],
)
def test_with_weights_refuses(weights: dict[str, Any], message: str) -> None:
    with pytest.raises(FusionError, match=message):
        POLICY.with_weights(weights)


def _by_full_sort(scores: NDArray[Any], k: int | None) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: -float(scores[index]))[: len(scores) if k is None else k]


few_values = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 0.5000000000000001, float("inf"), float("-inf")])
tied = hnp.arrays(np.float64, st.integers(0, 60), elements=few_values)
any_scores = hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats(allow_nan=False))


@given(st.one_of(tied, any_scores), st.one_of(st.none(), st.integers(1, 70)))
def test_top_k_is_a_stable_full_sort_cut_off(scores: NDArray[np.float64], k: int | None) -> None:
    assert top_k(scores, k).tolist() == _by_full_sort(scores, k)


@pytest.mark.parametrize("num_values", [1, 7, 1000, 10**9])
@pytest.mark.parametrize("k", [1, 50, 99_999])
def test_top_k_of_many_candidates(num_values: int, k: int) -> None:
    scores = np.random.default_rng(3).integers(0, num_values, size=100_000) / num_values
    np.testing.assert_array_equal(top_k(scores, k), np.argsort(-scores, kind="stable")[:k])


def test_top_k_takes_other_number_types() -> None:
    assert top_k(np.array([1, 3, 2], np.uint8), 2).tolist() == [1, 2]
    assert top_k(np.array([1, 3, 2], np.float32), 2).tolist() == [1, 2]


@pytest.mark.parametrize("k", [0, -4])
def test_top_k_refuses_k_below_one(k: int) -> None:
    with pytest.raises(FusionError, match=f"`k` must be at least 1, got {k}"):
        top_k(np.zeros(3), k)


def test_top_k_refuses_nan_and_names_the_candidate() -> None:
    with pytest.raises(FusionError, match="NaN for candidate 2"):
        top_k(np.array([1.0, 0.0, np.nan]), 1)


def test_top_k_refuses_two_dimensions() -> None:
    with pytest.raises(FusionError, match=r"one-dimensional, got shape \(2, 3\)"):
        top_k(np.zeros((2, 3)), 1)
