"""TorchServe as its performance guide advises for one worker; packs the handler, then becomes `torchserve`.

One worker; batches of one request, which is a batch of 500 rows already; one thread for torch; a queue that holds every
waiting request; logs of warnings only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent


def settings(port: int, archives: Path) -> str:
    """The configuration file."""
    lines = {
        "inference_address": f"http://127.0.0.1:{port}",
        "management_address": f"http://127.0.0.1:{port + 1}",
        "metrics_address": f"http://127.0.0.1:{port + 2}",
        "grpc_inference_port": port + 3,
        "grpc_management_port": port + 4,
        "model_store": archives,
        "load_models": "rank.mar",
        "default_workers_per_model": 1,
        "job_queue_size": 1000,
        "default_response_timeout": 120,
        "disable_system_metrics": "true",
        "enable_envvars_config": "false",
        "max_request_size": 2**25,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def main(folder: str, port: int) -> None:
    """Start it."""
    archives = Path(tempfile.mkdtemp(prefix="torchserve-"))
    (archives / "folder.txt").write_text(folder, encoding="utf-8")
    programs = Path(sys.executable).parent
    names = ["--model-name", "rank", "--version", "1", "--archive-format", "zip-store"]
    files = ["--handler", str(_HERE / "handler.py"), "--extra-files", str(archives / "folder.txt")]
    archiver = str(programs / "torch-model-archiver")
    subprocess.run([archiver, *names, *files, "--export-path", str(archives)], check=True)
    (archives / "config.properties").write_text(settings(port, archives), encoding="utf-8")
    options = ["--start", "--foreground", "--no-config-snapshots", "--disable-token-auth"]
    options += ["--ts-config", str(archives / "config.properties"), "--log-config", str(_HERE / "log4j2.xml")]
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "LOG_LOCATION": str(archives)}
    os.chdir(archives)
    os.execve(str(programs / "torchserve"), ["torchserve", *options], environment)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
