"""What was trained is what scores: the same to 1e-6, in a process that knows nothing of training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ranker.bundle import Bundle
from ranker.calibration import Calibration
from ranker.encoding import Encoder
from ranker.errors import BundleError
from ranker.exporters import AOTInductor
from training.config import ExperimentConfig
from training.data import Impressions
from training.export import export_bundle, first_test_rows
from training.network import Network
from training.predictions import outputs_of, predict
from training.run import RunResult

FRESH = """
import json, sys
import pyarrow.parquet as pq
from ranker.bundle import Bundle
bundle = Bundle.load(sys.argv[1])
scores = bundle.score_rows(pq.read_table(sys.argv[2]))
found = [name for name in sys.modules if name.split(".")[0] in ("training", "torchrec", "fbgemm_gpu")]
json.dump({"found": found, "scores": {name: values.tolist() for name, values in scores.items()}}, sys.stdout)
"""


def test_fresh_process_without_training_scores_the_same(
    config: ExperimentConfig,
    encoder: Encoder,
    log_file: Path,
    log_table: pa.Table,
    repository: Path,
    tmp_path: Path,
    group: None,
) -> None:
    network = Network(config, encoder, torch.device("cpu"))
    impressions = Impressions(log_file, config)
    with torch.no_grad():
        for parameter in network.architecture.parameters():
            parameter.mul_(3)  # scores that differ much from row to row
    valid = predict(network, impressions, encoder, "valid", 50)
    calibration = Calibration.fit(config.data_schema, valid.raw, *valid.masks(), config.calibration)
    export_bundle(
        tmp_path / "bundle",
        config=config,
        network=network,
        encoder=encoder,
        calibration=calibration,
        impressions=impressions,
        metrics={},
        data={},
        version="20260101T000000Z-abcdef",
    )
    rows = log_table.slice(100, 83)
    pq.write_table(rows, tmp_path / "rows.parquet")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FRESH, str(tmp_path / "bundle"), str(tmp_path / "rows.parquet")],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["found"] == []
    expected = calibration.apply(dict(outputs_of(network, encoder, rows)))
    assert set(answer["scores"]) == set(expected) == {"ctr", "cvr", "spend", "ctcvr"}
    for name, values in expected.items():
        assert np.ptp(values) > 1e-3
        np.testing.assert_allclose(answer["scores"][name], values, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("group")
def test_every_architecture_becomes_a_bundle(
    of_each_model: dict[str, Any], log_file: Path, log_table: pa.Table, tmp_path: Path
) -> None:
    config = ExperimentConfig.model_validate(of_each_model)
    impressions = Impressions(log_file, config)
    encoder = Encoder.fit(config.data_schema, impressions.rows("train"))
    network, calibration = Network(config, encoder, torch.device("cpu")), Calibration.identity(config.data_schema)
    bundle = export_bundle(
        tmp_path / "bundle",
        config=config,
        network=network,
        encoder=encoder,
        calibration=calibration,
        impressions=impressions,
        metrics={},
        data={},
        version="20260101T000000Z-abcdef",
    )
    assert bundle is not None
    assert bundle.verify_golden() <= 1e-6
    rows = log_table.slice(100, 83)
    expected = calibration.apply(dict(outputs_of(network, encoder, rows)))
    for name, values in Bundle.load(tmp_path / "bundle").score_rows(rows).items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-6)


def test_bundle_of_a_run(trained: RunResult, config: ExperimentConfig, run_folder: Path) -> None:
    bundle = Bundle.load(run_folder / "bundle")
    assert bundle.verify_golden() <= 1e-6
    assert bundle.schema == config.data_schema
    assert bundle.fusion == config.policy
    assert bundle.golden().num_rows == config.export.golden_rows
    assert bundle.manifest.golden_tolerance == config.export.tolerance
    assert bundle.metrics["test"] == json.loads(json.dumps(trained.report.to_dict()))


def test_golden_rows_are_the_first_of_the_test_split(config: ExperimentConfig, log_file: Path) -> None:
    rows = first_test_rows(Impressions(log_file, config), 23)
    assert rows["time"].to_pylist() == [60 * place for place in range(595, 618)]
    assert first_test_rows(Impressions(log_file, config), 10_000).num_rows == 105


@pytest.mark.usefixtures("group")
def test_disagreement_writes_nothing(
    config: ExperimentConfig, encoder: Encoder, log_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(config, encoder, torch.device("cpu"))
    other = Network(config, encoder, torch.device("cpu"))
    with torch.no_grad():
        next(other.architecture.parameters()).add_(0.1)
    monkeypatch.setattr(network, "scoring_graph", other.scoring_graph)
    with pytest.raises(
        BundleError, match=r"differ by .* on 105 test rows.*export\.tolerance 1e-06; nothing was written"
    ):
        export_bundle(
            tmp_path / "bundle",
            config=config,
            network=network,
            encoder=encoder,
            calibration=Calibration.identity(config.data_schema),
            impressions=Impressions(log_file, config),
            metrics={},
            data={},
            version="20260101T000000Z-abcdef",
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("group")
def test_bfloat16_is_recorded_and_holds_its_own_tolerance(
    settings: dict[str, Any], log_file: Path, log_table: pa.Table, tmp_path: Path
) -> None:
    settings["export"] |= {"precision": "bf16", "max_score_error": 0.1, "min_top_k_overlap": 0.5, "max_auc_loss": 0.05}
    bundle = exported(settings, log_file, tmp_path / "bundle")
    check = bundle.manifest.precision_check
    assert bundle.manifest.precision == "bf16"
    assert check is not None
    assert check.rows == 105
    assert 1e-6 < check.score_error < 0.1
    assert check.raw_error >= check.score_error
    assert bundle.manifest.golden_tolerance == 2 * check.raw_error
    assert 1e-6 < bundle.verify_golden() <= check.raw_error
    low = {tensor.dtype for tensor in bundle.model.network.state_dict().values() if tensor.is_floating_point()}
    assert low == {torch.bfloat16, torch.float32}


@pytest.mark.usefixtures("group")
def test_bfloat16_that_costs_too_much_is_refused_or_left_alone(
    settings: dict[str, Any], log_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings["export"] |= {"precision": "bf16", "max_score_error": 1e-9}
    with pytest.raises(BundleError, match=r"bf16 costs too much on 105 test rows: .*max_score_error is 1e-09; set"):
        exported(settings, log_file, tmp_path / "refused")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("training.export.resolve", lambda *_: "bf16")  # as on a machine that has it
    settings["export"]["precision"] = "auto"
    bundle = exported(settings, log_file, tmp_path / "exact")
    assert bundle.manifest.precision == "fp32"
    assert bundle.manifest.precision_check is not None
    assert bundle.verify_golden() <= 1e-6


@pytest.mark.skipif(AOTInductor().unavailable() is not None, reason=str(AOTInductor().unavailable()))
@pytest.mark.usefixtures("group")
def test_a_compiled_network_scores_single_requests(
    settings: dict[str, Any], log_file: Path, log_table: pa.Table, tmp_path: Path
) -> None:
    settings["export"]["engines"] = ["aotinductor"]
    bundle = exported(settings, log_file, tmp_path / "bundle")
    assert set(bundle.manifest.compiled) == {"aotinductor"}
    assert bundle.misfit("aotinductor") is None
    compiled = bundle.compiled("aotinductor")
    item = bundle.encoder.encode_side(log_table.slice(3, 83), "item")
    for row in (1, 2):
        request = bundle.encoder.encode_side(log_table.slice(row, 1), "request")
        expected = bundle.score(request, item)
        for name, values in compiled.score(request, item).items():
            np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-6)
    assert compiled.verify_golden() <= 1e-6
    nothing = bundle.encoder.encode_side(log_table.slice(0, 0), "item")
    assert {values.shape for values in compiled.score(request, nothing).values()} == {(0,)}


@pytest.mark.usefixtures("group")
def test_without_a_compiler_the_bundle_does_without(
    settings: dict[str, Any], log_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    settings["export"]["engines"] = ["aotinductor"]
    bundle = exported(settings, log_file, tmp_path / "bundle")
    assert bundle.manifest.compiled == {}
    assert "exported without it" in str(bundle.misfit("aotinductor"))
    with pytest.raises(BundleError, match=r"cannot be served by aotinductor: the bundle was exported without it"):
        bundle.compiled("aotinductor")


def exported(settings: dict[str, Any], log_file: Path, path: Path) -> Bundle:
    """An untrained network as a bundle."""
    config = ExperimentConfig.model_validate(settings)
    impressions = Impressions(log_file, config)
    encoder = Encoder.fit(config.data_schema, impressions.rows("train"))
    bundle = export_bundle(
        path,
        config=config,
        network=Network(config, encoder, torch.device("cpu")),
        encoder=encoder,
        calibration=Calibration.identity(config.data_schema),
        impressions=impressions,
        metrics={},
        data={},
        version="20260101T000000Z-abcdef",
    )
    assert bundle is not None
    return bundle
