"""Holds the floor plan: which package imports which, and who may know of the network, HTTP, drivers and pickles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("ranker", "feature_store", "training", "serving")
MAY_IMPORT = {
    "ranker": {"ranker"},
    "feature_store": {"feature_store"},
    "training": {"training", "ranker", "feature_store"},
    "serving": {"serving", "ranker", "feature_store"},
}
NETWORK = {
    *("aiohttp", "asyncio", "fastapi", "ftplib", "grpc", "http", "httpx", "redis", "requests"),
    *("smtplib", "socket", "socketserver", "ssl", "starlette", "urllib", "urllib3", "uvicorn", "websockets"),
}
DRIVER_HOMES = {  # a driver's types and errors stop at these files
    "redis": {
        *("feature_store/redis/client.py", "feature_store/redis/keys.py", "feature_store/redis/store.py"),
        "serving/policies/redis.py",
    },
    "lmdb": {f"feature_store/embedded/{name}.py" for name in ("change_log", "environment", "store", "sweep")},
    "sqlite3": {"serving/policies/sqlite.py"},
}


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, as absolute dotted names; `from a import b` gives `a` and `a.b`."""
    package = file.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


SOURCES = {
    file.relative_to(ROOT).as_posix(): file for package in OURS for file in sorted((ROOT / package).rglob("*.py"))
}
IMPORTS = {name: set(imported(file)) for name, file in SOURCES.items()}


def within(name: str, module: str) -> bool:
    """True if `name` is the module or something inside it."""
    return name == module or name.startswith(module + ".")


def test_every_package_has_sources() -> None:
    assert {name.split("/")[0] for name in SOURCES} == set(OURS)


@pytest.mark.parametrize("name", SOURCES)
def test_dependencies_point_one_way(name: str) -> None:
    ours = {imported.split(".")[0] for imported in IMPORTS[name]} & set(OURS)
    assert ours <= MAY_IMPORT[name.split("/")[0]]


def test_a_bundle_is_enough_to_serve() -> None:
    forbidden = ("ranker.models", "ranker.weighting", "torchrec", "fbgemm_gpu", "sklearn")
    found = [
        (name, module)
        for name, modules in IMPORTS.items()
        for module in modules
        if name.startswith("serving/") and any(within(module, other) for other in forbidden)
    ]
    assert found == []


def test_ranker_touches_no_network() -> None:
    for name, modules in IMPORTS.items():
        if name.startswith("ranker/"):
            assert not {module.split(".")[0] for module in modules} & NETWORK, name


@pytest.mark.parametrize("driver", DRIVER_HOMES)
def test_drivers_stay_in_their_files(driver: str) -> None:
    users = {name for name, modules in IMPORTS.items() if any(within(module, driver) for module in modules)}
    assert users == DRIVER_HOMES[driver]


def test_only_serving_errors_knows_http_status_codes() -> None:
    offenders = []
    for name, file in SOURCES.items():
        if name == "serving/errors.py":
            continue
        names = {
            module for module in IMPORTS[name] if module in ("http.HTTPStatus", "starlette.status", "fastapi.status")
        }
        numbers = [
            keyword.value.value
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call)
            for keyword in node.keywords
            if keyword.arg in ("status", "status_code") and isinstance(keyword.value, ast.Constant)
        ]
        offenders += [(name, found) for found in [*names, *numbers]]
    assert offenders == []


def test_nothing_unpickles() -> None:
    pickles = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    for name, file in SOURCES.items():
        assert not {module.split(".")[0] for module in IMPORTS[name]} & pickles, name
        loads = [
            node
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
        ]
        if not name.startswith("training/"):
            assert not loads, name
        for call in loads:
            assert "weights_only=True" in ast.unparse(call), name


@pytest.mark.parametrize("module", ["ranker", "ranker.bundle", "ranker.registry", "feature_store", "serving.app"])
def test_serving_side_imports_stay_light(module: str) -> None:
    heavy = "training torchrec fbgemm_gpu sklearn tensorboard matplotlib lightgbm ranker.models ranker.weighting"
    code = f"import sys, {module}; print(*[name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
