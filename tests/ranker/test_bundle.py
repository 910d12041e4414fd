"""A bundle scores as training did, and is refused when anything about it was changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from ranker.bundle import Bundle, Manifest
from ranker.calibration import Calibration
from ranker.encoding import Encoder
from ranker.errors import BundleError, DataError
from ranker.fusion import FusionPolicy, Term
from ranker.manifest import file_digest
from ranker.schema import Schema

TOP_LEVEL = {
    "model.pt",
    "encoder",
    "schema.json",
    "calibration.json",
    "fusion.json",
    "metrics.json",
    "golden.parquet",
    "manifest.json",
}
FILES = (
    "model.pt",
    "schema.json",
    "calibration.json",
    "fusion.json",
    "metrics.json",
    "golden.parquet",
    "encoder/numeric.json",
    "encoder/vocabularies/city.parquet",
    "encoder/vocabularies/tags.parquet",
)


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    """A bundle of one's own to spoil."""
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def _reseal(folder: Path, **changes: Any) -> None:
    """Make the manifest match the files as they are now: what only someone who means it would do."""
    manifest = Manifest.load(folder)
    files = {name: file_digest(folder / name) for name in manifest.files}
    manifest.model_copy(update={"files": files, **changes}).save(folder)


# ------------------------------------------------------------------------------------------------------------ reading


def test_holds_exactly_the_files_of_the_format(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == TOP_LEVEL
    assert set(Manifest.load(written).files) == set(FILES)


def test_reads_back_what_was_written(written: Path, parts: Any) -> None:
    bundle = Bundle.load(written)
    assert bundle.schema == parts.schema
    assert bundle.calibration == parts.calibration
    assert bundle.fusion == parts.fusion
    assert bundle.metrics == parts.metrics
    assert bundle.encoder.fingerprint == parts.encoder.fingerprint
    assert (bundle.manifest.version, bundle.manifest.data) == (parts.version, parts.data)
    assert bundle.manifest.torch_version == str(torch.__version__)
    assert not bundle.model.training


def test_scores_raw_rows_as_training_did(written: Path, parts: Any, impressions: pa.Table) -> None:
    scores = Bundle.load(written).score_rows(impressions)
    assert list(scores) == ["ctr", "cvr", "dwell", "ctcvr"]
    for output, expected in parts.golden_outputs.items():
        np.testing.assert_allclose(scores[output], expected, atol=1e-6)


def test_one_request_scores_as_many_rows_of_it(written: Path, impressions: pa.Table) -> None:
    bundle = Bundle.load(written)
    num_items = impressions.num_rows
    one = impressions.slice(4, 1)
    request, item = bundle.encoder.encode_side(one, "request"), bundle.encoder.encode_side(impressions, "item")
    repeated = bundle.encoder.encode_side(one.take([0] * num_items), "request")
    together = bundle.score(request, item)
    for output, expected in bundle.score(repeated, item).items():
        np.testing.assert_allclose(together[output], expected, atol=1e-6)


def test_request_index_assigns_candidates_to_requests(written: Path, impressions: pa.Table) -> None:
    bundle = Bundle.load(written)
    two = bundle.encoder.encode_side(impressions.slice(1, 2), "request")
    item = bundle.encoder.encode_side(impressions.slice(0, 5), "item")
    mixed = bundle.score(two, item, torch.tensor([0, 1, 1, 0, 1]))["ctr"]
    for position, request_row in enumerate([1, 2, 2, 1, 2]):
        alone = bundle.score(bundle.encoder.encode_side(impressions.slice(request_row, 1), "request"), item)["ctr"]
        assert mixed[position] == pytest.approx(alone[position], abs=1e-6)
    with pytest.raises(DataError, match="2 requests with 5 candidates"):
        bundle.score(two, item)


def test_no_candidates_score_to_nothing(written: Path, impressions: pa.Table) -> None:
    bundle = Bundle.load(written)
    request = bundle.encoder.encode_side(impressions.slice(0, 1), "request")
    item = bundle.encoder.encode_side(impressions.slice(0, 0), "item")
    assert {len(values) for values in bundle.score(request, item).values()} == {0}


def test_golden_rows_verify(written: Path, impressions: pa.Table) -> None:
    bundle = Bundle.load(written)
    golden = bundle.golden()
    assert golden.num_rows == impressions.num_rows
    assert golden.column_names == [
        *("city", "hour", "brand", "tags", "price"),
        *("score.ctr", "score.cvr", "score.dwell", "score.ctcvr"),
    ]
    assert 0 <= bundle.verify_golden() <= 1e-6


def test_a_fresh_process_scores_the_same_without_training_or_torchrec(written: Path) -> None:
    code = (
        "import sys; from ranker.bundle import Bundle;"
        f"difference = Bundle.load({str(written)!r}).verify_golden();"
        "assert difference < 1e-6, difference;"
        "loaded = {'training', 'torchrec', 'fbgemm_gpu', 'sklearn', 'ranker.models'} & set(sys.modules);"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------------------------------------------------- tampering


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("where", [0.0, 0.37, 0.71, 1.0])
@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_one_changed_byte_is_refused(copy: Path, name: str, where: float, flip: int) -> None:
    path = copy / name
    content = bytearray(path.read_bytes())
    content[int(where * (len(content) - 1))] ^= flip
    path.write_bytes(content)
    with pytest.raises(BundleError, match="publish the bundle again, or roll back") as refused:
        Bundle.load(copy)
    assert name in str(refused.value)


def test_every_byte_of_the_manifest_counts(copy: Path) -> None:
    path = copy / "manifest.json"
    content = path.read_bytes()
    for position in range(0, len(content), 3):
        changed = bytearray(content)
        changed[position] ^= 0x02
        path.write_bytes(changed)
        with pytest.raises(BundleError, match=r"manifest\.json"):
            Manifest.load(copy)


@pytest.mark.parametrize("change", [lambda text: text + b"\n", lambda text: text[:-1], lambda text: b" " + text])
def test_a_manifest_that_grew_or_shrank_is_refused(copy: Path, change: Callable[[bytes], bytes]) -> None:
    path = copy / "manifest.json"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.load(copy)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match="publish the bundle again") as refused:
        Bundle.load(copy)
    assert name in str(refused.value)


@pytest.mark.parametrize("name", ["notes.txt", "encoder/extra.json", ".hidden", "model.pt.bak"])
def test_an_extra_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).write_text("more")
    with pytest.raises(BundleError, match="does not list; remove it") as refused:
        Bundle.load(copy)
    assert name in str(refused.value)


def test_a_dangling_link_is_refused(copy: Path) -> None:
    (copy / "link").symlink_to(copy / "nowhere")
    with pytest.raises(BundleError, match="link"):
        Bundle.load(copy)


@pytest.mark.parametrize("size", [0, 100])
def test_a_truncated_model_is_refused(copy: Path, size: int) -> None:
    os.truncate(copy / "model.pt", size)
    with pytest.raises(BundleError, match=r"model\.pt' was altered"):
        Bundle.load(copy)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle"):
        Bundle.load(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="is no bundle"):
        Bundle.load(tmp_path)


def test_an_unknown_format_is_refused(copy: Path) -> None:
    path = copy / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(BundleError, match=r"`format`.*must be 1, got 2"):
        Bundle.load(copy)


# What follows has a valid seal and valid hashes: the parts themselves must agree.


@pytest.mark.parametrize("field", ["schema_fingerprint", "encoder_fingerprint"])
def test_fingerprints_must_agree(copy: Path, field: str) -> None:
    _reseal(copy, **{field: "0123456789abcdef"})
    with pytest.raises(BundleError, match=r"fingerprint of .* must be 0123456789abcdef"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("fusion.json", '"weight": 1.0', '"weight": NaN', "NaN is no JSON"),
        ("fusion.json", '"weight": 1.0', '"weight": 1e999', "finite number"),
        ("fusion.json", '"weight": 1.0', '"weight": "1.0"', "valid number"),
        ("fusion.json", '"weight": 1.0', '"weight": 1.0, "weight": 0.5', "appears twice"),
        ("fusion.json", '"output": "cvr"', '"output": "watch"', "watch.*does not report"),
        ("fusion.json", "{", "", "no valid JSON"),
        ("calibration.json", '"slope": 0.7', '"slope": -0.7', "greater than 0"),
        ("calibration.json", '"slope": 0.7', '"slope": Infinity', "Infinity is no JSON"),
        ("calibration.json", '"dwell"', '"watch"', "calibration is for tasks"),
        ("metrics.json", "0.7251", "NaN", "NaN is no JSON"),
        ("schema.json", '"embedding_dim": 16', '"embedding_dim": 0', "greater than or equal to 1"),
        ("schema.json", '"embedding_dim": 16', '"embedding_dim": 8', "fingerprint"),
        ("encoder/numeric.json", "{", "", "cannot be read"),
    ],
)
def test_contradictions_are_refused_whatever_the_hashes_say(
    copy: Path, name: str, old: str, new: str, message: str
) -> None:
    path = copy / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    _reseal(copy)
    with pytest.raises(BundleError, match=message) as refused:
        Bundle.load(copy)
    assert name.split("/")[0] in str(refused.value)


def test_a_manifest_that_lists_too_little_is_refused(copy: Path) -> None:
    (copy / "fusion.json").unlink()
    manifest = Manifest.load(copy)
    files = {name: digest for name, digest in manifest.files.items() if name != "fusion.json"}
    manifest.model_copy(update={"files": files}).save(copy)
    with pytest.raises(BundleError, match=r"lacks \['fusion.json'\]"):
        Bundle.load(copy)


def test_a_model_that_is_no_torchscript_is_refused(copy: Path) -> None:
    torch.save({"weights": torch.zeros(2)}, copy / "model.pt")
    _reseal(copy)
    with pytest.raises(BundleError, match=r"model\.pt' is no TorchScript"):
        Bundle.load(copy)


def test_scores_that_differ_from_golden_are_refused(copy: Path) -> None:
    path = copy / "calibration.json"
    path.write_text(path.read_text().replace('"slope": 0.7', '"slope": 0.71'))
    _reseal(copy)
    with pytest.raises(BundleError, match=r"'ctr' of row \d+ .*the model gives"):
        Bundle.load(copy).verify_golden()


# ------------------------------------------------------------------------------------------------------------ writing


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
