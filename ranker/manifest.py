"""The manifest of a bundle: the sha256 of every file, and the reading of JSON that nothing may be wrong with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from ranker.errors import BundleError
from ranker.exporters import CompiledEngine, Machine
from ranker.schema import FrozenConfig

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Precision = Literal["fp32", "bf16"]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]

MANIFEST = "manifest.json"
FIX = "publish the bundle again, or roll back to another version"

_REQUIRED = {"model.pt", "schema.json", "calibration.json", "fusion.json", "metrics.json", "golden.parquet"}
_NO_SEAL = "0" * 64


class PrecisionCheck(FrozenConfig):
    """What lower precision costs, on real rows against training's own scores."""

    rows: int = Field(ge=1, description="Rows that were scored both ways.")
    raw_error: float = Field(
        ge=0, allow_inf_nan=False, description="Largest difference of a logit or prediction; relative beyond 1."
    )
    score_error: float = Field(
        ge=0, allow_inf_nan=False, description="Largest difference of a probability before calibration, or prediction."
    )
    top_k_overlap: float = Field(ge=0, le=1, description="Share of the best 20 of 500 rows that stay; worst task.")
    auc_loss: float | None = Field(
        allow_inf_nan=False, description="AUC lost; worst task. Null: no task has both labels among the rows."
    )


class Manifest(FrozenConfig):
    """What a bundle is made of and where it comes from."""

    format: Literal[1] = 1
    version: Version
    created_at: AwareDatetime
    schema_fingerprint: str
    encoder_fingerprint: str
    files: dict[str, Sha256] = Field(description="sha256 of every file but the manifest, by path within the bundle.")
    data: dict[str, Any] = Field(description="Where the training rows came from: rows, first and last timestamp.")
    code_version: str
    torch_version: str
    golden_tolerance: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="Largest difference of a raw output from training's, or of a golden score.",
    )
    precision: Precision = Field("fp32", description="Of the large products in model.pt.")
    precision_check: PrecisionCheck | None = Field(None, description="What bf16 costs; null: it was not tried.")
    compiled: dict[CompiledEngine, Machine] = Field(
        {}, description="Engines beside TorchScript that the bundle has, and the machine each was compiled for."
    )
    seal: Sha256 = Field(_NO_SEAL, description="sha256 of this file with the seal itself written as zeros.")

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of the bundle in `folder` and verify its seal; the other files are not looked at.

        Raises:
            BundleError: It is absent, unreadable, altered, or of a format that this code does not know.
        """
        path = folder / MANIFEST
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BundleError(f"'{folder}' is no bundle: {MANIFEST} cannot be read ({error}); {FIX}") from error
        found = parse_json(path, content)
        if isinstance(found, dict) and (number := found.get("format")) != 1:
            raise BundleError(f"`format` in '{path}' must be 1, got {number!r}; it needs other code, or {FIX}")
        manifest = _validate(path, content, cls)
        if _digest(_with_seal(content, manifest.seal, _NO_SEAL)) != manifest.seal:
            raise BundleError(f"'{path}' was altered: its sha256 is not its seal; {FIX}")
        return manifest

    def save(self, folder: Path) -> None:
        """Write the manifest, sealed, to `folder`."""
        content = self.model_copy(update={"seal": _NO_SEAL}).model_dump_json(indent=2).encode()
        (folder / MANIFEST).write_bytes(_with_seal(content, _NO_SEAL, _digest(content)))


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Refuse a bundle in which any file is missing, altered, or not listed in its manifest.

    Raises:
        BundleError: Names the file.
    """
    present = set(file_names(folder)) - {MANIFEST}
    if missing := sorted((_REQUIRED | set(manifest.files)) - present):
        raise BundleError(f"'{folder}' lacks {missing}; {FIX}")
    if extra := sorted(present - set(manifest.files)):
        raise BundleError(f"'{folder}' holds {extra}, which its {MANIFEST} does not list; remove it, or {FIX}")
    for name, expected in manifest.files.items():
        if (found := file_digest(folder / name)) != expected:
            raise BundleError(
                f"'{folder / name}' was altered: its sha256 must be {expected[:12]}…, got {found[:12]}…; {FIX}"
            )


def file_names(folder: Path) -> list[str]:
    """Paths of all files within `folder`, sorted. Whatever else there is counts as a file, and so gets refused."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    )


def file_digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"'{path}' cannot be read ({error}); {FIX}") from error


def reasons(error: ValidationError) -> str:
    """What pydantic found wrong, on one line."""
    return "; ".join(
        f"`{'.'.join(map(str, detail['loc']))}`: {detail['msg']}, got {detail['input']!r:.80}"
        for detail in error.errors()
    )


_Part = TypeVar("_Part", bound=BaseModel)


def load_json(path: Path, kind: type[_Part]) -> _Part:
    """Read a file of a bundle as a model of its kind, strictly.

    Raises:
        BundleError: Names the file, the field and the rule.
    """
    content = path.read_bytes()
    parse_json(path, content)
    return _validate(path, content, kind)


def _validate(path: Path, content: bytes, kind: type[_Part]) -> _Part:
    try:
        return kind.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise BundleError(f"'{path}' is not as expected: {reasons(error)}; {FIX}") from error


def parse_json(path: Path, content: bytes) -> Any:
    """JSON as the standard has it: no NaN, no infinity, no key twice.

    Raises:
        BundleError: Names the file.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise ValueError(f"a key appears twice among {[key for key, _ in pairs]}")
        return found

    try:
        return json.loads(content, parse_constant=refuse, object_pairs_hook=unique)
    except ValueError as error:
        raise BundleError(f"'{path}' is no valid JSON: {error}; {FIX}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _with_seal(content: bytes, seal: str, other: str) -> bytes:
    # The seal is the last field, so its value is the last such text.
    before, _, after = content.rpartition(seal.encode())
    return before + other.encode() + after
