"""Forward time of one request: naive TorchScript, ours in TorchScript and AOTInductor, and onnxruntime, in turn.

    python -m benchmarks.engine
    python -m benchmarks.engine --accuracy   # what bf16 costs trained models, instead
    ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 python -m benchmarks.engine   # as on a processor without matrix tiles (AMX)

The networks of 30 categories (half of them the item's), 10 numbers, 2 M rows of 16 columns: MMoE of 4 experts
[256, 128], PLE of 2 levels [256], [128] with 2 shared experts and 2 per task, towers [64]. One thread; every forward
pass gets new random ids. The floor is the time of the split network's matrix products alone, in bfloat16. Times are
those of the processor: with one thread they are those of the clock, and hardly change where other programs run.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.support import forward_contest as contest
from benchmarks.support.lowered_models import costs
from benchmarks.support.results import RESULTS, write_results

LENGTHS = (100, 500, 1000)
NAIVE, OURS, COMPILED, ONNX = "naive TorchScript", "our TorchScript", "our AOTInductor", "onnxruntime"
FLOOR = "products alone"
TARGETS = {OURS: 3.5, COMPILED: 4.3}  # times the naive one, MMoE at 500
FLOORS = {"MMoE": 2.1, "PLE": 2.5}  # times the floor
VARIED = "100 to 1000"
_PER_TURN = 12


def contenders(network: str, stack: ExitStack) -> dict[str, contest.Contender]:
    """All forms of a network, by name."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    lowered = contest.ours(network, "bf16")
    return {
        NAIVE: contest.naive(network),
        f"{OURS}, fp32": contest.our_torchscript(contest.ours(network, "fp32")),
        OURS: contest.our_torchscript(lowered),
        COMPILED: contest.our_aotinductor(lowered, folder),
        FLOOR: contest.floor(network),
        ONNX: stack.enter_context(contest.OnnxRuntime(network, folder)),
    }


def forward_times(network: str, turns: int) -> dict[str, dict[str, float]]:
    """Median milliseconds by number of candidates and form; forms take turns."""
    random = np.random.default_rng(0)
    times: dict[str, dict[str, list[float]]] = {str(length): {} for length in (*LENGTHS, VARIED)}
    with ExitStack() as stack:
        forms = contenders(network, stack)
        for turn in range(turns + 1):  # the first warms up
            for length, by_form in times.items():
                varied = random.integers(100, 1001, _PER_TURN).tolist()
                lengths = varied if length == VARIED else [int(length)] * _PER_TURN
                for name, form in forms.items():
                    found = form.seconds(lengths)
                    by_form.setdefault(name, []).extend(found if turn else [])
    return {length: {name: 1e3 * median(found) for name, found in forms.items()} for length, forms in times.items()}


def show(network: str, times: Mapping[str, Mapping[str, float]]) -> None:
    """Print the table of one network."""
    for length, by_form in times.items():
        print(f"\n{network}, {length} candidates")
        for name, milliseconds in by_form.items():
            ratios = f"{by_form[NAIVE] / milliseconds:5.2f}x naive  {milliseconds / by_form[FLOOR]:5.2f} floors"
            print(f"  {name:24} {milliseconds:7.3f} ms  {ratios}")


def verdict(times: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, bool]:
    """Which targets were reached at 500 candidates."""
    at_500 = {network: by_length["500"] for network, by_length in times.items()}
    reached = {
        f"MMoE: {name} {target}x naive": at_500["MMoE"][NAIVE] / at_500["MMoE"][name] >= target
        for name, target in TARGETS.items()
    }
    for network, target in FLOORS.items():
        for name in (OURS, COMPILED):
            ratio = at_500[network][name] / at_500[network][FLOOR]
            reached[f"{network}: {name} within {target} floors"] = ratio <= target
    return reached


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Forward time of one request, against naive forms and the floor.")
    parser.add_argument("--turns", type=int, default=10, help=f"each times every form {_PER_TURN} times per length")
    parser.add_argument("--accuracy", action="store_true", help="train models and tell what bf16 costs them")
    options = parser.parse_args()
    kept: dict[str, Any] = {}
    if (path := RESULTS / "engine.json").exists():
        kept = {key: value for key, value in json.loads(path.read_bytes()).items() if key != "machine"}
    torch.set_num_threads(1)
    if options.accuracy:
        kept["accuracy"] = costs()
        for name, figures in kept["accuracy"].items():
            print(f"{name}: {figures}")
    else:
        found = {network: forward_times(network, options.turns) for network in contest.NETWORKS}
        for network, times in found.items():
            show(network, times)
        for target, reached in verdict(found).items():
            print(f"{'reached' if reached else 'MISSED '}  {target}")
        instructions = os.environ.get("ONEDNN_MAX_CPU_ISA", "all")
        kept.setdefault("instructions", {})[instructions] = {"milliseconds": found, "reached": verdict(found)}
    write_results("engine", kept)


if __name__ == "__main__":
    main()
