"""A bundle scores as training did, and is refused when anything about it was changed."""

from __future__ import annotations

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

from ranker.bundle import Bundle, Manifest
from ranker.errors import BundleError, DataError
from ranker.manifest import file_digest

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
