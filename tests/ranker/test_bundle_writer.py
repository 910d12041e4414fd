"""A bundle is written whole and true, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ranker.bundle import Bundle
from ranker.calibration import Calibration
from ranker.encoding import Encoder
from ranker.errors import BundleError
from ranker.fusion import FusionPolicy, Term
from ranker.schema import Schema


def _wrong(outputs: dict[str, Any], output: str, by: float) -> dict[str, Any]:
    changed = outputs[output].copy()
    changed[-1] += by
    return {**outputs, output: changed}


@pytest.mark.parametrize("output", ["ctr", "cvr", "dwell", "ctcvr"])
def test_a_wrong_golden_score_is_refused(parts: Any, tmp_path: Path, output: str) -> None:
    with pytest.raises(BundleError, match=f"'{output}' of row 22"):
        parts.write(tmp_path / "bundle", golden_outputs=_wrong(parts.golden_outputs, output, 1e-3))
    assert list(tmp_path.iterdir()) == []


def test_a_difference_within_the_tolerance_is_accepted(parts: Any, tmp_path: Path) -> None:
    bundle = parts.write(tmp_path / "bundle", golden_outputs=_wrong(parts.golden_outputs, "ctr", 5e-6))
    assert bundle.verify_golden() == pytest.approx(5e-6, rel=0.1)


class _Diverged(nn.Module):
    def forward(
        self,
        request_ids: torch.Tensor,
        request_lengths: torch.Tensor,
        request_numeric_RN: torch.Tensor,
        item_ids: torch.Tensor,
        item_lengths: torch.Tensor,
        item_numeric_LN: torch.Tensor,
        request_index_L: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        nan_L = item_numeric_LN.sum(1) * float("nan")
        return {"ctr": nan_L, "cvr": nan_L, "dwell": nan_L}


class _Failing(_Diverged):
    def forward(
        self,
        request_ids: torch.Tensor,
        request_lengths: torch.Tensor,
        request_numeric_RN: torch.Tensor,
        item_ids: torch.Tensor,
        item_lengths: torch.Tensor,
        item_numeric_LN: torch.Tensor,
        request_index_L: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        if request_ids.numel() > 0:
            raise ValueError("no such table")
        return {"ctr": item_numeric_LN.sum(1)}


@pytest.mark.parametrize(("module", "message"), [(_Diverged, "model gives nan"), (_Failing, "cannot be scored")])
def test_a_graph_that_cannot_score_is_refused(
    parts: Any, tmp_path: Path, module: type[nn.Module], message: str, script: Callable[..., Any]
) -> None:
    with pytest.raises(BundleError, match=message):
        parts.write(tmp_path / "bundle", graph=script(module()))
    assert list(tmp_path.iterdir()) == []


def test_a_graph_in_training_mode_is_refused(parts: Any, tmp_path: Path, script: Callable[..., Any]) -> None:
    graph = script(_Diverged())
    graph.train()
    with pytest.raises(BundleError, match="eval mode"):
        parts.write(tmp_path / "bundle", graph=graph)


def _other_schema(schema: Schema) -> Schema:
    return schema.model_copy(update={"outputs": {"both": "ctr * cvr"}})


def _broken(parts: Any, part: str) -> dict[str, Any]:
    """The named part as it must not be."""
    rows, outputs = parts.golden_rows, parts.golden_outputs
    broken: dict[str, tuple[str, Any]] = {
        "no rows": ("golden_rows", rows.slice(0, 0)),
        "a column less": ("golden_rows", rows.drop_columns(["brand"])),
        "a row less": ("golden_rows", rows.slice(1)),
        "an output less": ("golden_outputs", {"ctr": outputs["ctr"]}),
        "a NaN score": ("golden_outputs", _wrong(outputs, "cvr", np.nan)),
        "a NaN metric": ("metrics", {"auc": float("nan")}),
        "a numpy metric": ("metrics", {"auc": np.float32(1)}),
        "infinite data": ("data", {"rows": float("inf")}),
        "a path as version": ("version", "../up"),
        "an empty version": ("version", ""),
        "a policy of another model": ("fusion", FusionPolicy(terms=(Term(output="watch", weight=1.0),))),
        "another's calibration": ("calibration", Calibration.identity(_other_schema(parts.schema))),
        "another's encoder": ("encoder", Encoder.fit(_other_schema(parts.schema), [rows])),
    }
    name, value = broken[part]
    return {name: value}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("no rows", "at least one row"),
        ("a column less", r"\['brand'\] absent"),
        ("a row less", r"must be 22 finite numbers.*23"),
        ("an output less", "must hold exactly"),
        ("a NaN score", r"'cvr'.*1 not finite"),
        ("a NaN metric", "`metrics` must be plain JSON"),
        ("a numpy metric", "`metrics` must be plain JSON"),
        ("infinite data", "`data` must be plain JSON"),
        ("a path as version", "`version`"),
        ("an empty version", "`version`"),
        ("a policy of another model", r"fusion\.json.*watch"),
        ("another's calibration", r"calibration\.json"),
        ("another's encoder", "fingerprint of .*encoder"),
    ],
)
def test_parts_that_disagree_are_refused_and_leave_nothing(parts: Any, tmp_path: Path, part: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        parts.write(tmp_path / "bundle", **_broken(parts, part))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_path_is_never_overwritten(parts: Any, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine.txt").write_text("keep")
    with pytest.raises(BundleError, match="must not exist"):
        parts.write(tmp_path / "bundle")
    assert (tmp_path / "bundle" / "mine.txt").read_text() == "keep"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    "step",
    [
        "ranker.encoding.Encoder.save",
        "ranker.bundle_writer.pq.write_table",
        "ranker.bundle_writer.save_graph",
        "ranker.bundle_writer.file_digest",
        "ranker.manifest.Manifest.save",
        "ranker.bundle.Bundle.load",
        "ranker.bundle.Bundle.verify_golden",
        "ranker.atomic.os.fsync",
        "ranker.atomic.os.rename",
    ],
)
@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()], ids=["OSError", "KeyboardInterrupt"])
def test_a_failure_at_any_step_leaves_nothing(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise failure

    monkeypatch.setattr(step, fail)
    with pytest.raises(type(failure)):
        parts.write(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_writing_returns_the_bundle_at_its_final_place(parts: Any, tmp_path: Path) -> None:
    bundle = parts.write(tmp_path / "new" / "bundle")
    assert bundle.path == tmp_path / "new" / "bundle"
    assert bundle.verify_golden() <= 1e-6
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bundle"]
    assert json.loads((bundle.path / "metrics.json").read_text()) == parts.metrics


def test_the_seal_is_found_whatever_the_data_says(parts: Any, tmp_path: Path) -> None:
    bundle = parts.write(tmp_path / "bundle", data={"seal": "0" * 64})
    assert Bundle.load(bundle.path).manifest.data == {"seal": "0" * 64}
