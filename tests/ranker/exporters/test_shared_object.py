"""A compiled network's shared object scores from any thread, while other threads go on."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import fx, nn

from ranker.exporters import AOTInductor
from ranker.exporters.shared_object import SharedObject

# Sizes are pairwise different: 24 columns of the item, 40 request products, 3 outputs.
COLUMNS, PRODUCTS = 24, 40
HANDED_OVER = 100  # times that another thread gets the interpreter, far more than between calls of C


class ThreeOutputs(nn.Module):
    """Long enough to be watched: some layers on item and request."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(COLUMNS, PRODUCTS), nn.ReLU(), nn.Linear(PRODUCTS, PRODUCTS))

    def forward(self, item_KV: torch.Tensor, request_1P: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Three outputs [K], of which one is not dense."""
        h_KP = torch.tanh(self.layers(item_KV) + request_1P)
        return h_KP[:, 1], h_KP.sum(dim=1), torch.sigmoid(h_KP).mean(dim=1)


NETWORK = ThreeOutputs().eval()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as a shared object."""
    if problem := AOTInductor().unavailable():
        pytest.skip(problem)
    path = tmp_path_factory.mktemp("compiled") / "network.so"
    graph = fx.symbolic_trace(NETWORK)
    AOTInductor().export(graph, torch.zeros(128, COLUMNS), torch.zeros(1, PRODUCTS), path)
    return path


def assert_scores(network: SharedObject, num_rows: int) -> None:
    item_KV, request_1P = torch.randn(num_rows, COLUMNS), torch.randn(1, PRODUCTS)
    with torch.inference_mode():
        outputs = network(item_KV, request_1P)
        for output_K, expected_K in zip(outputs, NETWORK(item_KV, request_1P), strict=True):
            torch.testing.assert_close(output_K, expected_K)


def test_it_scores_any_number_of_rows(path: Path) -> None:
    network = SharedObject(path)
    for num_rows in (2, 64, 1000):
        assert_scores(network, num_rows)


def test_inputs_need_not_be_dense(path: Path) -> None:
    item_KV, request_1P = torch.randn(COLUMNS, 70).t(), torch.randn(1, 2 * PRODUCTS)[:, ::2]
    with torch.inference_mode():
        outputs = SharedObject(path)(item_KV, request_1P)
        for output_K, expected_K in zip(outputs, NETWORK(item_KV, request_1P), strict=True):
            torch.testing.assert_close(output_K, expected_K)


def test_threads_share_it(path: Path) -> None:
    network = SharedObject(path)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(assert_scores, network, 64 + number) for number in range(40)]:
            done.result()


def test_other_threads_go_on_while_it_runs(path: Path) -> None:
    network = SharedObject(path)
    item_KV, request_1P = torch.randn(2**18, COLUMNS), torch.randn(1, PRODUCTS)
    handed_over, over = [0], threading.Event()

    def take_turns() -> None:
        while not over.is_set():
            time.sleep(0)  # gives the interpreter away, and asks for it again
            handed_over[0] += 1

    other = threading.Thread(target=take_turns)
    other.start()
    try:
        most = 0
        for _ in range(20):
            before = handed_over[0]
            network(item_KV, request_1P)
            most = max(most, handed_over[0] - before)
            if most > HANDED_OVER:
                break
    finally:
        over.set()
        other.join()
    assert most > HANDED_OVER


def test_what_is_no_shared_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "network.so").write_bytes(b"no code")
    with pytest.raises(RuntimeError, match=r"network\.so"):
        SharedObject(tmp_path / "network.so")
