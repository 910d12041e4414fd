"""The compose file and the Dockerfiles: valid, pinned, without root, and fitting the programs that they start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serving.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = {name: ROOT / "docker" / f"{name}.Dockerfile" for name in ("server", "trainer")}
COPIED = {"server": {"ranker", "feature_store", "serving"}, "trainer": {"ranker", "feature_store", "training"}}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads((ROOT / "tests/schemas/compose-spec.json").read_text()))


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """A Dockerfile as (keyword, argument), comments dropped and continued lines joined."""
    lines = [line for line in dockerfile.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(keyword, argument) for keyword, _, argument in (line.partition(" ") for line in joined.splitlines())]


def test_compose_file_is_valid(compose: dict[str, Any], validator: jsonschema.Draft7Validator) -> None:
    assert [error.message for error in validator.iter_errors(compose)] == []


@pytest.mark.parametrize(
    "fault", [{"helthcheck": {}}, {"ports": "8000"}, {"depends_on": {"redis": {"condition": "up"}}}]
)
def test_schema_refuses_faults(
    compose: dict[str, Any], validator: jsonschema.Draft7Validator, fault: dict[str, Any]
) -> None:
    services = {**compose["services"], "server": {**compose["services"]["server"], **fault}}
    assert not validator.is_valid({**compose, "services": services})


def test_whoever_is_waited_for_has_a_health_check(compose: dict[str, Any]) -> None:
    waited_for = {
        name
        for service in compose["services"].values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }
    assert waited_for == {"redis", "server"}
    for name in waited_for:
        service = compose["services"][name]
        assert "healthcheck" in service or "HEALTHCHECK" in dict(instructions(ROOT / service["build"]["dockerfile"]))


def test_only_loopback_ports_are_published(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_admin_token_has_no_default(compose: dict[str, Any]) -> None:
    assert compose["services"]["server"]["environment"]["RANKER_ADMIN_TOKEN"].startswith("${RANKER_ADMIN_TOKEN:?")


def test_server_settings_are_understood(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in compose["services"]["server"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.store.backend == "redis"
    assert settings.policies.backend == "redis"


def test_server_and_trainer_share_the_registry_and_the_store(compose: dict[str, Any]) -> None:
    server, trainer = compose["services"]["server"], compose["services"]["trainer"]
    assert server["volumes"] == trainer["volumes"]
    assert server["environment"]["RANKER_STORE__URL"] == trainer["environment"]["RANKER_FEATURES_STORE"]


def test_prometheus_scrapes_the_server(compose: dict[str, Any]) -> None:
    scrape = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text())["scrape_configs"]
    (target,) = scrape[0]["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in compose["services"]
    assert ("EXPOSE", port) in instructions(DOCKERFILES["server"])


def test_images_of_others_are_pinned(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values() if "build" not in service]
    images += [
        argument.removeprefix("BASE=") for path in DOCKERFILES.values() for _, argument in instructions(path)[:1]
    ]
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), f"{image} must name a version"


@pytest.mark.parametrize("name", DOCKERFILES)
class TestDockerfile:
    def test_has_two_stages_on_one_base(self, name: str) -> None:
        stages = [argument for keyword, argument in instructions(DOCKERFILES[name]) if keyword == "FROM"]
        assert stages == ["${BASE} AS build", "${BASE}"]

    def test_the_last_stage_takes_only_what_was_built(self, name: str) -> None:
        steps = instructions(DOCKERFILES[name])
        last = steps[max(index for index, (keyword, _) in enumerate(steps) if keyword == "FROM") :]
        assert not any("pip" in argument for keyword, argument in last if keyword == "RUN")
        assert ("COPY", "--from=build /opt/ranker /opt/ranker") in last

    def test_does_not_run_as_root(self, name: str) -> None:
        steps = instructions(DOCKERFILES[name])
        users = [argument for keyword, argument in steps if keyword == "USER"]
        assert users == ["ranker"]
        assert any("--uid 10001" in argument for keyword, argument in steps if keyword == "RUN")

    def test_has_a_health_check(self, name: str) -> None:
        checks = [argument for keyword, argument in instructions(DOCKERFILES[name]) if keyword == "HEALTHCHECK"]
        assert len(checks) == 1
        assert "CMD" in checks[0]

    def test_installs_from_the_lock_only(self, name: str) -> None:
        steps = " && ".join(argument for keyword, argument in instructions(DOCKERFILES[name]) if keyword == "RUN")
        installs = [step for step in steps.split("&&") if "pip install" in step or "pip wheel" in step]
        assert len(installs) == 3
        assert all("--no-deps" in step for step in installs)

    def test_copies_its_side_and_nothing_of_the_other(self, name: str) -> None:
        copied = {argument.split()[0] for keyword, argument in instructions(DOCKERFILES[name]) if keyword == "COPY"}
        assert copied & {"ranker", "feature_store", "serving", "training"} == COPIED[name]

    def test_build_context_holds_what_is_copied(self, name: str) -> None:
        allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        for keyword, argument in instructions(DOCKERFILES[name]):
            if keyword == "COPY" and not argument.startswith("--from"):
                assert {source.split("/")[0] for source in argument.split()[:-1]} <= allowed
