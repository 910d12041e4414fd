"""Limits: own ones before those of all outputs before the defaults; null takes a limit away; mistakes are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from ranker.errors import SchemaError
from ranker.schema import Schema
from training.errors import ConfigError
from training.gate import Floor, GateConfig, Limits
from training.gate.config import ALLOWED_LOSS, METRICS

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_nearest_limit_counts() -> None:
    config = GateConfig.model_validate(
        {
            "allowed_loss": {"auc": 0.002, "ndcg": None},
            "floors": {"auc": {"at_least": 0.6}, "predicted_over_observed": None},
            "outputs": {
                "cvr": {"allowed_loss": {"auc": 0.02, "ndcg": 0.03}, "floors": {"auc": None, "ece": {"at_most": 0.1}}}
            },
        }
    )
    assert [config.allowed(output, "auc") for output in ("ctr", "cvr")] == [0.002, 0.02]
    assert [config.allowed(output, "ndcg") for output in ("ctr", "cvr")] == [None, 0.03]
    assert [config.allowed(output, "gauc") for output in ("ctr", "cvr")] == [ALLOWED_LOSS["gauc"]] * 2
    assert config.floor("ctr", "auc") == Floor(at_least=0.6)
    assert config.floor("cvr", "auc") is None
    assert config.floor("cvr", "ece") == Floor(at_most=0.1)
    assert config.floor("ctr", "predicted_over_observed") is None
    assert config.floor("ctr", "log_loss") is None


def test_every_metric_has_an_allowed_loss() -> None:
    assert set(ALLOWED_LOSS) == set(METRICS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"allowed_loss": {"auc": -0.1}}, "greater than or equal to 0"),
        ({"allowed_loss": {"acu": 0.1}}, "'auc', 'gauc'"),
        ({"floors": {"auc": {"at_least": 0.9, "at_most": 0.8}}}, "`at_least` must not exceed `at_most`, got 0.9 and"),
        ({"confidence": 1.0}, "less than 1"),
        ({"resample": 10}, "Extra inputs"),
    ],
)
def test_mistakes_are_refused(content: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GateConfig.model_validate(content)


def test_limits_of_unknown_outputs_are_refused() -> None:
    schema = {
        "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        "tasks": [{"name": "ctr", "label": "click"}],
    }
    config = GateConfig(outputs={"crt": Limits()})
    with pytest.raises(SchemaError, match=r"`gate.outputs` names \['crt'\], which are no outputs; outputs: \('ctr',\)"):
        config.validate_outputs(Schema.model_validate(schema))


def test_an_experiment_with_limits_of_unknown_outputs_is_refused(repository: Path) -> None:
    from training.config import load_config

    with pytest.raises(ConfigError, match=r"`gate.outputs` names \['ctrr'\]"):
        load_config(repository / "configs" / "simulated.yaml", ("gate.outputs={ctrr: {}}",))


def test_the_pages_give_every_option_and_every_allowed_loss() -> None:
    table = (DOCS / "config.md").read_text(encoding="utf-8").split("<!-- GateConfig -->")[1].split("\n#")[0]
    options = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", table, flags=re.MULTILINE))
    assert options.keys() == GateConfig.model_fields.keys()
    for name, default in options.items():
        value = GateConfig.model_fields[name].default
        if isinstance(value, (bool, int, float)):
            assert default == f"`{str(value).lower()}`", name
    page = (DOCS / "gate.md").read_text(encoding="utf-8")
    for metric, loss in ALLOWED_LOSS.items():
        assert f"| `{metric}` | {loss:g} " in page, metric


def test_the_example_of_the_page_is_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "gate.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    config = GateConfig.model_validate(yaml.safe_load(example)["gate"])
    assert config.allowed("cvr", "auc") == 0.01
    assert config.allowed("cvr", "ece") is None
