"""Each package has a docstring, and its `__all__` is exactly what its `__init__.py` makes public."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("ranker", "feature_store", "training", "serving")
PACKAGES = sorted(
    ".".join(file.relative_to(ROOT).parent.parts) for top in OURS for file in (ROOT / top).rglob("__init__.py")
)


def public_names(nodes: list[ast.stmt]) -> Iterator[str]:
    """Names that a module binds at its top level: definitions, assignments, and imports from our own packages."""
    for node in nodes:
        match node:
            case ast.ImportFrom(module=module, level=level) if level or str(module).split(".")[0] in OURS:
                yield from (alias.asname or alias.name for alias in node.names)
            case ast.Assign():
                yield from (target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.If(body=body, orelse=orelse):
                yield from public_names([*body, *orelse])


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {".".join(file.relative_to(ROOT).parent.parts) for top in OURS for file in (ROOT / top).rglob("*.py")}
    assert folders == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_what_is_public(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text())
    assert ast.get_docstring(tree), f"{name} must say in its docstring what it is"
    exported = list(package.__all__)
    assert len(exported) == len(set(exported))
    public = {found for found in public_names(tree.body) if not found.startswith("_")}
    assert set(exported) == {found for found in public if not isinstance(getattr(package, found, None), ModuleType)}
    assert [found for found in exported if not hasattr(package, found)] == []
