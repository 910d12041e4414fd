"""The night as it is documented: the examples of docs/operating parse, start real commands and know the exit codes."""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from prometheus_client.parser import text_string_to_metric_families

from training.cli import app
from training.config import load_config
from training.nightly import Outcome, Paths, RunRecord, nightly
from training.nightly.log import LOG, NightLog
from training.nightly.stages import STAGES
from training.simulation import SimulationConfig, simulate

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "operating"
PAGE = (ROOT / "docs" / "nightly.md").read_text(encoding="utf-8")
PROGRAM = "ranker-train"
CODES = {outcome: outcome.exit_code for outcome in Outcome}


def unit(name: str) -> configparser.ConfigParser:
    """A systemd unit; of a key that may be repeated the last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parser.read_string((FOLDER / name).read_text())
    return parser


def cron_lines() -> tuple[dict[str, str], str, str]:
    """Environment, schedule and command of the crontab."""
    lines = [line for line in (FOLDER / "ranker-nightly.cron").read_text().splitlines() if not line.startswith("#")]
    environment = dict(line.split("=", 1) for line in lines[:-1])
    *schedule, user, command = lines[-1].split(maxsplit=6)
    assert user == "ranker"
    return environment, " ".join(schedule), command


def dag() -> tuple[dict[str, Any], dict[str, ast.expr]]:
    """Constants of the DAG's module, and the keywords of all its calls."""
    tree = ast.parse((FOLDER / "airflow_dag.py").read_text())
    compile(tree, "airflow_dag.py", "exec")
    constants = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return constants, {keyword.arg: keyword.value for call in calls for keyword in call.keywords if keyword.arg}


def cronjob() -> dict[str, Any]:
    """The Kubernetes manifest."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "cronjob.yaml").read_text())
    return loaded


def pod(job: Mapping[str, Any]) -> dict[str, Any]:
    """What the CronJob's pods are."""
    spec: dict[str, Any] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def environments() -> dict[str, Mapping[str, str]]:
    """Environment of each example's command."""
    service = (FOLDER / "ranker-nightly.service").read_text()
    (container,) = pod(cronjob())["containers"]
    return {
        "cron": cron_lines()[0],
        "systemd": dict(line.split("=", 1) for line in re.findall(r"^Environment=(.+)$", service, re.MULTILINE)),
        "airflow": ast.literal_eval(dag()[1]["env"]),
        "kubernetes": {entry["name"]: entry["value"] for entry in container["env"]},
    }


def commands() -> dict[str, str]:
    """Command line of each example, and those of the page."""
    (container,) = pod(cronjob())["containers"]
    (line,) = (line for line in container["args"][0].splitlines() if line.startswith(PROGRAM))
    found = {
        "cron": cron_lines()[2],
        "systemd": unit("ranker-nightly.service")["Service"]["ExecStart"],
        "airflow": re.sub(r"{{.*?}}", "2026-01-07", dag()[0]["NIGHTLY"]),
        "kubernetes": line.removesuffix("&"),
    }
    shown = re.findall(r"^\$ (ranker-train .+)$", PAGE, re.MULTILINE)
    shown += [f"{PROGRAM} {words}" for words in re.findall(r'^\$ NIGHT="(.+)"$', PAGE, re.MULTILINE)]
    assert len(shown) == 4
    return found | {f"page {place}": command for place, command in enumerate(shown)}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, Path]:
    """A whole night of `configs/nightly.yaml` on a small log; its metrics are in `night.prom` beside its run."""
    folder = tmp_path_factory.mktemp("night")
    simulate(SimulationConfig(num_impressions=24_000, num_users=700, num_items=90, num_days=8), folder / "shop")
    views = [{"view": view, "key": f"{view}_id", "path": f"{folder}/shop/{view}s.parquet"} for view in ("user", "item")]
    settings = (f"nightly.features={json.dumps(views)}", "training.epochs=1", "training.batch_size=512")
    paths = Paths(
        f"{folder}/shop/impressions",
        folder / "runs",
        folder / "registry",
        f"lmdb:{folder}/features",
        folder / "runs" / "night.prom",
    )
    config = load_config(ROOT / "configs" / "nightly.yaml", settings)
    record = nightly(config, date(2026, 1, 8), paths, NightLog(quiet=False, as_json=True))
    return record, folder / "runs" / "2026-01-08"


def column(heading: str, number: int = 0) -> set[str]:
    """The names in a column of the table below a heading of the page."""
    table = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([\w./]+)", row[number])}


@pytest.mark.parametrize("name", commands())
def test_commands_have_options_that_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in environments().get(name, {"RANKER_REGISTRY": "registry"}).items():
        monkeypatch.setenv(variable, value)
    first, *arguments = shlex.split(commands()[name])
    assert first.endswith(PROGRAM)
    program = typer.main.get_command(app)
    command = program.commands[arguments.pop(0)]  # type: ignore[attr-defined]
    context = command.make_context(None, arguments)  # what is wrong or missing raises
    assert context.args == []


def test_environment_variables_are_understood() -> None:
    program = typer.main.get_command(app)
    known = {
        variable
        for parameter in program.commands["nightly"].params  # type: ignore[attr-defined]
        for variable in ([parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or [])
    }
    for name, environment in environments().items():
        assert {variable for variable in environment if variable.startswith("RANKER_")} <= known, name


def test_the_exit_codes_of_the_page() -> None:
    table = re.findall(r"^\| (\d) \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert {name: int(code) for code, name in table} == {outcome.value: code for outcome, code in CODES.items()}


def test_the_stages_of_the_page() -> None:
    assert column("Stages") == set(STAGES)


def test_the_events_of_the_page() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "training" / "nightly").rglob("*.py"))
    told = re.findall(r"""(?:\.event|\.warn|\.error|\btell)\(\s*"(\w+)\"""", sources)
    written = re.findall(r"""(?:_tell|_write)\(\s*"info", "(\w+)\"""", sources)
    assert column("Log") == {*told, *written}


def test_the_example_runs_and_leaves_the_files_of_the_page(night: tuple[RunRecord, Path]) -> None:
    record, folder = night
    assert record.outcome is Outcome.PUBLISHED, record.message
    left = {path.name + "/" * path.is_dir() for path in folder.iterdir()}
    assert column("Files of a run") - left == {"checkpoints/"}  # there while it trains
    assert left <= column("Files of a run")
    assert {json.loads(line)["event"] for line in (folder / LOG).read_text().splitlines()} <= column("Log")


def test_the_metrics_of_the_page(night: tuple[RunRecord, Path]) -> None:
    families = text_string_to_metric_families((night[1].parent / "night.prom").read_text())
    found = {family.name: {label for sample in family.samples for label in sample.labels} for family in families}
    table = re.findall(r"^\| `(ranker_\w+)(?:{([\w,]+)})?` \|", PAGE, re.MULTILINE)
    assert {name: set(labels.split(",")) - {""} for name, labels in table} == found


def test_the_example_config_is_valid_and_complete() -> None:
    config = load_config(ROOT / "configs" / "nightly.yaml")
    assert {"data_check", "gate", "nightly", "training", "fusion"} <= config.model_fields_set
    assert config.nightly.features


def test_systemd_takes_a_kept_model_for_success_and_restarts_what_can_be_mended() -> None:
    service = unit("ranker-nightly.service")["Service"]
    assert service["Type"] == "oneshot"
    assert set(map(int, service["SuccessExitStatus"].split())) == {
        CODES[Outcome.CHAMPION_KEPT],
        CODES[Outcome.INTERRUPTED],
    }
    never = set(map(int, service["RestartPreventExitStatus"].split()))
    assert never == {CODES[Outcome.BAD_DATA], CODES[Outcome.ALREADY_RUNNING]}
    assert service["Restart"] == "on-failure"
    assert service["KillMode"] == "mixed"  # the second SIGTERM would end it at once


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    names = ("ranker-nightly.service", "ranker-nightly.timer")
    assert [unit(name).sections() for name in names] == [["Unit", "Service"], ["Unit", "Timer", "Install"]]
    for name in names:
        (tmp_path / name).write_text((FOLDER / name).read_text().replace("/opt/ranker/bin/ranker-train", "/bin/true"))
    if (program := shutil.which("systemd-analyze")) is not None:  # not in every container
        verify = [program, "verify", *(str(tmp_path / name) for name in names)]
        done = subprocess.run(verify, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_timer_and_the_crontab_try_at_the_same_hours() -> None:
    assert cron_lines()[1] == "30 2-6 * * *"
    timer = unit("ranker-nightly.timer")["Timer"]
    assert timer["OnCalendar"] == "*-*-* 02..06:30:00 UTC"
    assert timer["Persistent"] == "true"
    assert cronjob()["spec"]["schedule"] == "30 2-6 * * *"


def test_airflow_skips_a_kept_model_and_repeats_the_rest() -> None:
    constants, keywords = dag()
    assert constants["CHAMPION_KEPT"] == CODES[Outcome.CHAMPION_KEPT]
    assert ast.unparse(keywords["skip_on_exit_code"]) == "[CHAMPION_KEPT]"
    assert ast.literal_eval(keywords["retries"]) >= 1
    assert ast.literal_eval(keywords["max_active_runs"]) == 1
    assert ast.literal_eval(keywords["catchup"]) is False


def test_kubernetes_runs_one_at_a_time_and_gives_up_on_bad_data() -> None:
    job = cronjob()
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    spec = job["spec"]["jobTemplate"]["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # a pod failure policy wants it
    rules = [(rule["action"], rule["onExitCodes"]["values"]) for rule in spec["podFailurePolicy"]["rules"][:-1]]
    assert rules == [("FailJob", [CODES[Outcome.BAD_DATA]]), ("Ignore", [CODES[Outcome.INTERRUPTED]])]
    assert spec["podFailurePolicy"]["rules"][-1] == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget"}],
    }
    (container,) = pod(job)["containers"]
    assert {rule["onExitCodes"]["containerName"] for rule in spec["podFailurePolicy"]["rules"][:-1]} == {"nightly"}
    assert container["name"] == "nightly"
    mounted, volumes = ({one["name"] for one in where} for where in (container["volumeMounts"], pod(job)["volumes"]))
    assert mounted == volumes


class TestKubernetesShell:
    """What stands around the command in the CronJob, run for real with a stand-in for the program."""

    @pytest.fixture
    def start(self, tmp_path: Path) -> Any:
        def begin(script: str) -> subprocess.Popen[bytes]:
            program = tmp_path / PROGRAM
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            (container,) = pod(cronjob())["containers"]
            path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
            return subprocess.Popen([*container["command"], *container["args"]], env={"PATH": path})

        return begin

    @pytest.mark.parametrize("outcome", Outcome)
    def test_only_a_kept_model_becomes_success(self, outcome: Outcome, start: Any) -> None:
        code = CODES[outcome]
        assert start(f"exit {code}").wait(timeout=60) == (0 if outcome is Outcome.CHAMPION_KEPT else code)

    def test_sigterm_reaches_the_program(self, start: Any, tmp_path: Path) -> None:
        ready = tmp_path / "ready"
        waits = f"trap 'exit {CODES[Outcome.INTERRUPTED]}' TERM; touch {ready}; while :; do sleep 0.02; done"
        process = start(waits)
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == CODES[Outcome.INTERRUPTED]


def test_alerts_ask_for_metrics_and_outcomes_that_exist() -> None:
    rules = [
        rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
    ]
    named = set(re.findall(r"^\| `(ranker_nightly_\w+)", PAGE, re.MULTILINE))
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        asked = set(re.findall(r"ranker_\w+", rule["expr"]))
        assert asked, rule["alert"]
        assert asked <= named, rule["alert"]
        for outcomes in re.findall(r'outcome=~?"([^"]+)"', rule["expr"]):
            assert set(outcomes.split("|")) <= {outcome.value for outcome in Outcome}, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".")
    assert all(f"`{rule['alert']}`" in (FOLDER / "README.md").read_text() for rule in rules)
