"""How fast a GPU trains beside the cores of its machine: steps alone, and whole epochs, in float32 and bfloat16.

    python -m benchmarks.gpu               # measures, prints and keeps `benchmarks/results/gpu.json`
    python -m benchmarks.gpu --markdown    # the table of the figures that are kept

MMoE of 4 experts [256, 128] and towers [64], 30 tables of 66,000 rows and 16 columns, two tasks: "big tables" of
`benchmarks.train`. "Steps" are on batches that lie on the device; "epochs" read, encode and copy their rows as a run
does. The devices take turns; medians over the rounds. A GPU's tables are in torch's own kernels (`plain`) or in
fbgemm's (`sharded`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.support.results import RESULTS, write_results
from benchmarks.support.train_data import write_big_tables

ROOT = Path(__file__).parent.parent
KEPT = RESULTS / "gpu.json"
DEVICES = {"CPU": ("", "plain"), "GPU, plain": (None, "plain"), "GPU, sharded": (None, "sharded")}
PRECISIONS, BATCH_SIZES = ("fp32", "bf16"), (4096, 65_536)
RATES = ("steps", "epochs")


def train(data: Path, device: str, threads: int) -> list[dict[str, Any]]:
    """What one device does with every precision and batch size."""
    print(device, file=sys.stderr, flush=True)
    visible, placement = DEVICES[device]
    environment = (
        os.environ | {"OMP_NUM_THREADS": str(threads)} | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    )
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.support.device_step", "--data", str(data)]
    command += ["--placement", placement, "--threads", str(threads), "--precisions", *PRECISIONS]
    command += ["--batch-sizes", *map(str, BATCH_SIZES)]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def summary(rounds: list[dict[str, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Medians over the rounds, and multiples of the same rows per second on the CPU, each of the same round."""
    lines = []
    for device in rounds[0]:
        for place, first in enumerate(rounds[0][device]):
            line = {"device": device, **{key: first[key] for key in ("precision", "batch_size", "waits", "gibibytes")}}
            line["wait_share"] = median(each[device][place]["wait_share"] for each in rounds)
            for rate in RATES:
                line[rate] = median(each[device][place][rate] for each in rounds)
                line[f"{rate}_ratio"] = median(each[device][place][rate] / each["CPU"][place][rate] for each in rounds)
            lines.append(line)
    return lines


def markdown(kept: dict[str, Any]) -> str:
    """The figures as the table of `docs/speed.md`."""
    rows = [
        "| device, tables | precision | rows a step | steps alone, rows/s | ratio | epochs, rows/s | ratio "
        "| of it waiting for rows | peak memory | waits a step |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in kept["summary"]:
        rates = " | ".join(f"{line[rate]:,.0f} | {line[rate + '_ratio']:.2f}" for rate in RATES)
        gpu = line["gibibytes"] is not None
        memory = f"{line['gibibytes']:.2f} GiB | {line['waits']}" if gpu else " | "
        rows.append(
            f"| {line['device']} | {line['precision']} | {line['batch_size']:,} | {rates} | "
            f"{line['wait_share']:.0%} | {memory} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch on the CPU")
    parser.add_argument("--devices", nargs="+", choices=DEVICES, default=list(DEVICES), help="beside the CPU")
    parser.add_argument("--markdown", action="store_true", help="print the figures that are kept, and end")
    asked = parser.parse_args()
    if asked.markdown:
        print(markdown(json.loads(KEPT.read_bytes())))
        return
    if not torch.cuda.is_available():
        parser.error("no GPU is seen; run it on a machine with CUDA")
    libraries = {name: version(name) for name in ("torch", "torchrec", "fbgemm-gpu")}
    known = {"card": torch.cuda.get_device_name(), "libraries": libraries, "threads": asked.threads}
    devices, rounds = list(dict.fromkeys(["CPU", *asked.devices])), []
    with tempfile.TemporaryDirectory() as folder:
        write_big_tables(data := Path(folder) / "big_tables.parquet")
        for _ in range(asked.rounds):
            rounds.append({device: train(data, device, asked.threads) for device in devices})
            path = write_results("gpu", kept := known | {"summary": summary(rounds), "rounds": rounds})
            print(f"{known['card']}\n\n{markdown(kept)}\n\nkept in {path}", flush=True)


if __name__ == "__main__":
    main()
