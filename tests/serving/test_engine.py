"""An engine exists only if it reproduces the golden rows, the way that requests are scored."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ranker.bundle import Bundle
from ranker.encoding import Encoder, ModelSide, SideTensors
from ranker.errors import BundleError
from ranker.exporters import Machine
from ranker.schema import Schema
from ranker.serving_graph import bucket_sizes
from serving.engine import Engine, EngineName, Outputs
from serving.feature_plan import Columns
from tests.serving.conftest import CANDIDATES, CONTEXT, features_of, make_bundle, offline


@pytest.mark.parametrize("num_candidates", [1, 2, 17])
def test_one_request_row_serves_all_candidates(bundle: Bundle, num_candidates: int) -> None:
    items = CANDIDATES[:num_candidates]
    columns = features_of("u1", CONTEXT, items)
    request = {name: values[0] for name, values in columns.items()}
    scored = Engine(bundle).score(request, columns)
    for name, expected in offline(bundle, "u1", CONTEXT, items).items():
        np.testing.assert_allclose(scored.outputs[name], expected, atol=1e-6)
    assert scored.encode_seconds > 0
    assert scored.score_seconds > 0


def test_a_model_that_disagrees_with_its_golden_rows_is_refused(bundle: Bundle) -> None:
    with torch.no_grad():
        for parameter in bundle.model.parameters():
            parameter.add_(0.5)
    with pytest.raises(BundleError, match=r"must be .* within"):
        Engine(bundle)


class Forgetful(Encoder):
    """Reads tables as it should, and forgets the items of plain columns: only requests are encoded wrongly."""

    def encode_side(self, data: Any, side: ModelSide) -> SideTensors:
        """Tensors of one side."""
        if isinstance(data, dict) and side == "item":
            data = {name: [None] * len(values) for name, values in data.items()}
        return super().encode_side(data, side)


def test_a_server_that_encodes_requests_differently_refuses_the_bundle(bundle: Bundle) -> None:
    encoder = Forgetful(bundle.schema, bundle.encoder.vocabularies, bundle.encoder.numeric_maps)
    wrong = dataclasses.replace(bundle, encoder=encoder)
    assert wrong.verify_golden() < 1e-6
    with pytest.raises(BundleError, match="this server gives"):
        Engine(wrong)


@pytest.mark.parametrize("side", ["item", "context"])
def test_a_model_may_have_features_on_one_side_only(tmp_path: Path, side: str) -> None:
    features = [{"name": "price", "side": side, "kind": "numeric"}]
    schema = Schema.model_validate(
        {"features": features, "tasks": [{"name": name, "label": f"{name}_label"} for name in ("ctr", "cvr", "dwell")],
         "outputs": {"ctcvr": "ctr * cvr"}}
    )  # fmt: skip
    engine = Engine(make_bundle(tmp_path / "bundle", "one-sided", schema=schema))
    nothing: Columns = {"": [None]}
    scored = engine.score({}, {"price": [2.5]}) if side == "item" else engine.score({"price": 2.5}, nothing)
    assert scored.outputs["ctr"].shape == (1,)


def test_every_bucket_is_warm_before_the_first_request(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    score = Engine.run

    def counted(engine: Engine, request: SideTensors, items: SideTensors) -> Outputs:
        sizes.append(len(items.numeric_BN))
        return score(engine, request, items)

    monkeypatch.setattr(Engine, "run", counted)
    Engine(bundle, max_candidates=1300)
    assert set(bucket_sizes(1300)) <= set(sizes)


@pytest.mark.parametrize(("name", "level"), [("auto", logging.INFO), ("aotinductor", logging.WARNING)])
def test_without_a_compiled_network_torchscript_scores(
    bundle: Bundle, name: EngineName, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert Engine(bundle, name).name == "torchscript"
    told = next(record for record in caplog.records if record.message == "scoring by TorchScript")
    assert told.levelno == level
    assert "exported without it" in str(vars(told)["reason"])


@pytest.mark.parametrize("name", ["auto", "aotinductor"])
def test_a_compiled_network_that_cannot_be_loaded_stops_nobody(
    bundle: Bundle, name: EngineName, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = bundle.manifest.model_copy(update={"compiled": {"aotinductor": Machine.here()}})
    (bundle.path / "network.so").write_bytes(b"no shared object")
    engine = Engine(dataclasses.replace(bundle, manifest=manifest), name)
    assert engine.name == "torchscript"
    (told,) = [record for record in caplog.records if record.message == "scoring by TorchScript"]
    assert told.levelno == logging.WARNING
    assert "network.so' cannot be loaded" in str(vars(told)["reason"])


def test_torchscript_is_a_choice(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert Engine(bundle, "torchscript").name == "torchscript"
    assert [record for record in caplog.records if record.message == "scoring by TorchScript"] == []
