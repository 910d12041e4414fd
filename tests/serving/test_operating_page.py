"""`docs/serving/operating.md` tells the truth: about metrics, settings, reasons and probes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from pydantic_settings import BaseSettings
from typer.main import get_command

from serving.cli import app
from serving.metrics import Metrics
from serving.settings import Settings
from tests.serving.test_openapi import OPERATIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "serving" / "operating.md").read_text(encoding="utf-8")
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "serving").rglob("*.py")}


def rows(heading: str) -> list[list[str]]:
    """Cells of the table below a heading."""
    table = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def variables(model: type[BaseModel | BaseSettings], prefix: str = "RANKER_") -> set[str]:
    """Every environment variable that a settings class reads, nested ones too."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        found.add(variable)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= variables(field.annotation, f"{variable}__")
    return found


def test_the_table_of_metrics_is_complete() -> None:
    told = {name for cells in rows("Metrics") for name in re.findall(r"`(ranker_\w+)`", cells[0])}
    assert told == {family.name for family in Metrics().registry.collect()}


def test_the_table_of_metrics_names_the_labels() -> None:
    told = {label for cells in rows("Metrics") for label in re.findall(r"`(\w+)`", cells[1])}
    assert told == {label for metric in vars(Metrics()).values() for label in getattr(metric, "_labelnames", ())} | {
        "python",
        "torch",
    }


def test_reasons_are_those_of_the_code() -> None:
    told = {reason for cells in rows("Degraded answers") for reason in re.findall(r"`([a-z_]+)`", cells[0])}
    code = "".join(SOURCES.values())
    for reason in told:
        view, _, what = reason.partition("_")
        # Those of features are put together of the view's name and what is wrong.
        assert f'"{reason}"' in code or (view in ("user", "item") and what.split("_")[-1] in code), reason
    assert set(re.findall(r'"(polic\w+_(?:stale|unavailable|incompatible))"', SOURCES["cache.py"])) <= told


def test_settings_exist() -> None:
    options = {option.envvar for option in get_command(app).commands["run"].params if getattr(option, "envvar", None)}  # type: ignore[attr-defined]
    known = variables(Settings) | options
    assert set(re.findall(r"RANKER_[A-Z_]+", PAGE)) <= known


def test_options_exist() -> None:
    program = get_command(app)
    options = {
        option
        for command in program.commands.values()  # type: ignore[attr-defined]
        for parameter in command.params
        for option in parameter.opts
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) <= options


def test_probes_ask_routes_that_exist() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    probes = yaml.safe_load(example)
    paths = {value["httpGet"]["path"] for name, value in probes.items() if name.endswith("Probe")}
    assert {f"{path} get" for path in paths} <= set(OPERATIONS)
    (delay,) = (int(entry["value"]) for entry in probes["env"] if entry["name"] == "RANKER_DRAIN_DELAY_SECONDS")
    drain = next(p.default for p in get_command(app).commands["run"].params if p.name == "drain_seconds")  # type: ignore[attr-defined]
    assert probes["terminationGracePeriodSeconds"] > delay + drain


@pytest.mark.parametrize("file", ["docker-compose.yml"])
def test_the_containers_are_given_time_to_drain(file: str) -> None:
    server = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["services"]["server"]
    environment = server["environment"]
    drain = sum(int(environment[f"RANKER_{name}_SECONDS"]) for name in ("DRAIN_DELAY", "DRAIN"))
    assert int(server["stop_grace_period"].removesuffix("s")) > drain + 5
