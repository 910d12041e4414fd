"""A network compiled ahead of time scores as the one it was compiled from, and runs only where it may."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ranker.exporters import AOTInductor, Machine
from ranker.manifest import Precision
from ranker.models import NetworkConfig
from ranker.serving_graph import Served, for_compilers, serve
from tests.ranker.models.test_contract import SETTINGS

# Sizes are pairwise different: 4 columns of the request, 7 of the item, 64 and 192 rows.
REQUEST, ITEM = [3, 8, 2, 0], [10, 4, 5, 7, 6, 1, 9]
DEFAULTS = [config for config in SETTINGS if type(config)() == config]

needs_compiler = pytest.mark.skipif(AOTInductor().unavailable() is not None, reason=str(AOTInductor().unavailable()))


def compiled_outputs(found: Served, folder: Path, columns: int) -> None:
    """Holds the compiled network against the traced one, for several numbers of rows."""
    exporter = AOTInductor()
    path = folder / exporter.file
    request_1P = found.request_products(torch.randn(1, len(found.weight_PU[0])))
    exporter.export(for_compilers(found.network), torch.zeros(128, columns), torch.zeros_like(request_1P), path)
    network = exporter.load(path)
    for num_rows in (64, 192):
        item_KV = torch.randn(num_rows, columns)
        with torch.inference_mode():
            expected: tuple[Tensor, ...] = found.network(item_KV, request_1P)
            for output_K, expected_K in zip(network(item_KV, request_1P), expected, strict=True):
                torch.testing.assert_close(output_K, expected_K, rtol=0, atol=1e-2)
            item_KV = item_KV[:1].expand(num_rows, -1).contiguous()
            for output_K in network(item_KV, request_1P):
                assert bool((output_K == output_K[0]).all())


@needs_compiler
@pytest.mark.slow
def test_compiled_scores_the_same(tmp_path: Path) -> None:
    config = next(config for config in SETTINGS if config.tower_dims == (8, 9))  # an MMoE of three experts
    architecture = config.build(11, ("ctr", "cvr")).eval()
    compiled_outputs(serve(architecture, REQUEST, ITEM, "bf16"), tmp_path, len(ITEM))


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("config", DEFAULTS, ids=repr)
def test_every_architecture_compiles(config: NetworkConfig, precision: Precision, tmp_path: Path) -> None:
    num_sets = config.num_embedding_sets(("ctr", "cvr"))
    request, item = ([n * 11 + column for n in range(num_sets) for column in side] for side in (REQUEST, ITEM))
    architecture = config.build(11, ("ctr", "cvr")).eval()
    compiled_outputs(serve(architecture, request, item, precision, num_sets), tmp_path, len(item))


def test_a_machine_fits_itself() -> None:
    here = Machine.here()
    assert here.misfit(here) is None
    assert Machine.model_validate_json(here.model_dump_json()) == here


def test_another_torch_or_processor_does_not_fit() -> None:
    here = Machine.here()
    assert "torch 1.0" in str(here.model_copy(update={"torch_version": "1.0"}).misfit(here))
    assert "riscv64" in str(here.model_copy(update={"processor": "riscv64"}).misfit(here))


def test_more_instructions_fit_and_fewer_do_not() -> None:
    small = Machine(torch_version="2.0", processor="x86_64", instructions=("avx2",))
    large = small.model_copy(update={"instructions": ("avx2", "avx512_bf16")})
    assert small.misfit(large) is None
    assert "['avx512_bf16'], which this one lacks" in str(large.misfit(small))


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "there is no C++ compiler" in str(AOTInductor().unavailable())
