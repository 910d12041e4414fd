"""Outputs mean the same by label, kind and sample space, or by their factors, whatever they are called."""

from __future__ import annotations

from typing import Any

from ranker.schema import Schema
from training.gate.matching import describe, same_outputs

FEATURES = [{"name": "age", "side": "user", "kind": "numeric"}]
CTR = {"name": "ctr", "label": "click"}
CVR = {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}}


def schema(*tasks: dict[str, Any], **outputs: str) -> Schema:
    return Schema.model_validate({"features": FEATURES, "tasks": tasks, "outputs": outputs})


def test_one_schema_is_like_itself() -> None:
    one = schema(CTR, CVR, ctcvr="ctr * cvr")
    assert same_outputs(one, one) == {"ctr": "ctr", "cvr": "cvr", "ctcvr": "ctcvr"}


def test_names_and_the_order_of_factors_do_not_matter() -> None:
    other = schema(CVR | {"name": "convert"}, CTR | {"name": "click_rate"}, both="convert * click_rate")
    found = same_outputs(schema(CTR, CVR, ctcvr="ctr * cvr"), other)
    assert found == {"ctr": "click_rate", "cvr": "convert", "ctcvr": "both"}


def test_label_kind_and_space_do() -> None:
    other = schema(CTR, CVR | {"space": "everywhere"}, {"name": "like", "label": "like", "kind": "regression"})
    one = schema(CTR, CVR, {"name": "like", "label": "like"}, ctcvr="ctr * cvr")
    assert same_outputs(one, other) == {"ctr": "ctr"}


def test_of_several_the_one_of_the_same_name_is_taken() -> None:
    other = schema(CTR | {"name": "first"}, CTR)
    assert same_outputs(schema(CTR), other) == {"ctr": "ctr"}
    assert same_outputs(schema(CTR | {"name": "second"}), other) == {"second": "first"}


def test_outputs_are_described_by_what_they_mean() -> None:
    one = schema(CTR, CVR, ctcvr="ctr * cvr")
    assert describe(one, "ctr") == "'ctr', binary label 'click'"
    assert describe(one, "cvr") == "'cvr', binary label 'buy' where click = 1"
    assert describe(one, "ctcvr") == "'ctcvr' = ctr * cvr"
