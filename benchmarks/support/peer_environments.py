"""The environments that other projects run in: one each, made once, outside this project's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parents[1] / "peers"


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, build/peers/NAME/.venv, made from its `requirements.txt` if absent."""
    folder = ROOT / "build" / "peers" / peer / ".venv"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {peer}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*install, "-r", str(PEERS / peer / "requirements.txt")], check=True)
        (folder / "complete").touch()
    return python
