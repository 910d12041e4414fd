"""`ranker-train train` as a child process, on one process or two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ranker.bundle import Bundle
from training.bundle_evaluation import evaluate_bundle
from training.config import load_config
from training.data import Impressions
from training.network import Network
from training.predictions import predict
from training.run import CHECKPOINTS
from training.warm_start import BUNDLE, TrainedState

_TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
_EVALUATED_ROWS = 16_384  # at a time


@dataclass(frozen=True, slots=True)
class Job:
    """One `ranker-train train`.

    Attributes:
        log: Folder of the impressions.
        run: The run's folder.
        config: The experiment's YAML.
        settings: Overrides of it.
    """

    log: Path
    run: Path
    config: Path
    settings: tuple[str, ...]

    def start(self, processes: int, *, pinned_to: int | None = None) -> subprocess.Popen[str]:
        """Start it.

        Args:
            processes: One or two.
            pinned_to: Core of the first process; the second gets the next one. None: any.
        """
        arguments = ["-m", "training.cli", "train", str(self.config), "--data", str(self.log), "--out", str(self.run)]
        arguments += [word for setting in self.settings for word in ("--set", setting)]
        program = [sys.executable, *arguments]
        if pinned_to is not None:
            script = f'exec taskset -c "$(({pinned_to} + ${{LOCAL_RANK:-0}}))" "$0" "$@"'
            program = ["sh", "-c", script, *program]
        if processes == 2:
            program = [sys.executable, *_TORCHRUN, "--no-python", *program]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONWARNINGS": "ignore"}
        return subprocess.Popen(
            program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )

    def finish(self, processes: int) -> None:
        """Run it to its end."""
        wait(self.start(processes))

    def stop_midway(self) -> str:
        """Run it on two processes and end it by a signal once it has saved a checkpoint; what it said in the end."""
        process = self.start(2)
        while process.poll() is None and not any((self.run / CHECKPOINTS).glob("step-*")):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate()
        stopped = [line for line in printed.splitlines() if "stopped in epoch" in line]
        if not stopped:
            raise RuntimeError(f"the run was not stopped:\n{printed}")
        return stopped[0].removeprefix("error: ")

    def metrics(self) -> dict[str, Any]:
        """What the finished run left in `metrics.json`."""
        content: dict[str, Any] = json.loads((self.run / "metrics.json").read_bytes())
        return content

    def best_epoch(self) -> int:
        """Number of the epoch whose weights were exported."""
        return int(self.metrics()["history"]["best_epoch"])

    def auc(self) -> dict[str, float]:
        """Test AUC of every output."""
        return {output: report["auc"] for output, report in self.metrics()["test"]["outputs"].items()}

    def rate(self) -> float:
        """Training rows per second of all processes, median of the epochs; the first, which warms up, left out."""
        return float(np.median([epoch["rows_per_second"] for epoch in self.metrics()["history"]["epochs"][1:]]))

    def export_error(self) -> dict[str, float]:
        """Largest differences of an output: bundle to the state that training left, and to its golden rows."""
        config = load_config(self.config, self.settings)
        bundle = Bundle.load(self.run / BUNDLE)
        exported = evaluate_bundle(self.run / BUNDLE, config, self.log, "test").scores
        network = Network(config, bundle.encoder, torch.device("cpu"))
        network.load_state(TrainedState.load(self.run).network)
        raw = predict(network, Impressions(self.log, config), bundle.encoder, "test", _EVALUATED_ROWS).raw
        trained = bundle.calibration.apply(raw)
        difference = max(float(np.abs(trained[name] - exported[name]).max()) for name in trained)
        return {"to_trained_state": difference, "to_golden_rows": bundle.verify_golden()}


def wait(process: subprocess.Popen[str]) -> None:
    """Wait for a job's end.

    Raises:
        RuntimeError: It failed; quotes what it printed.
    """
    printed, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"training failed:\n{printed}")
