"""What the page says of the options is what they are, and wrong ones are refused by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import ValidationError

from training.config import ExperimentConfig
from training.data_check.config import CheckName, DataCheckConfig, Limits


def test_the_page_gives_every_option_with_its_default(repository: Path) -> None:
    page = (repository / "docs" / "config.md").read_text(encoding="utf-8")
    table = page.split("<!-- DataCheckConfig -->")[1].split("\n#")[0]
    options = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", table, flags=re.MULTILINE))
    assert list(options) == list(DataCheckConfig.model_fields)
    for name, default in options.items():
        value = getattr(DataCheckConfig(), name)
        if value is None or value == {}:
            assert default.startswith("none"), name
        elif isinstance(value, Limits):
            assert yaml.safe_load(default.strip("`")) == value.model_dump(), name
        else:
            assert yaml.safe_load(default.strip("`")) == value, name


def test_every_check_is_an_option() -> None:
    assert set(get_args(CheckName)) <= DataCheckConfig.model_fields.keys()


def test_it_is_a_section_of_the_experiment(experiment: ExperimentConfig) -> None:
    assert experiment.data_check == DataCheckConfig()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timezone": "Madrid"}, "IANA name like Europe/Madrid, got 'Madrid'"),
        ({"drift": {"error": 1.0}}, "drift.warning"),
        ({"leakage_champion": "on"}, "'error', 'warning' or 'off'"),
        ({"exempt": {"drifts": ["price"]}}, "drift_ids"),
        ({"timestamp_unit": "minutes"}, "'s', 'ms', 'us' or 'ns'"),
    ],
)
def test_wrong_options(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DataCheckConfig.model_validate(settings)
