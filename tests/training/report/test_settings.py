"""Settings of two nights are told apart one by one, and entries by their names."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, strategies as st

from training.config import ExperimentConfig, dump_config
from training.report.settings import changed_settings, flat_settings

names = st.sampled_from(("a", "b", "c"))
values = st.integers(0, 3) | st.none() | st.lists(st.integers(0, 2), max_size=2)
sections = st.dictionaries(names, values | st.dictionaries(names, values, max_size=3), max_size=3)


@given(sections)
def test_nothing_changed_since_itself(content: object) -> None:
    flat = flat_settings(content)
    assert changed_settings(flat, flat) == []


@given(sections, sections)
def test_changes_turn_one_into_the_other(before: object, after: object) -> None:
    old, new = flat_settings(before), flat_settings(after)
    for key, was, becomes in changed_settings(old, new):
        assert old.pop(key, None) == was
        if becomes is not None:
            old[key] = becomes
    assert old == new


def test_an_entry_that_moves_does_not_change() -> None:
    one, other = {"name": "age", "side": "user"}, {"name": "city", "side": "item"}
    assert flat_settings({"features": [one, other]}) == {"features.age.side": "user", "features.city.side": "item"}
    before, after = flat_settings({"features": [one, other]}), flat_settings({"features": [other, one]})
    assert changed_settings(before, after) == []


@pytest.mark.parametrize("empty", [[], {}, None])
def test_what_is_empty_is_a_setting_too(empty: object) -> None:
    assert list(flat_settings({"tasks": empty})) == ["tasks"]


def test_of_an_experiment_every_default_is_there(config: ExperimentConfig) -> None:
    found = flat_settings(yaml.safe_load(dump_config(config)))
    assert found["model.name"] == "mmoe"
    assert found["schema.tasks.cvr.space.where.click"] == "1"
    assert found["gate.confidence"] == "0.95"
