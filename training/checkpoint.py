"""Checkpoints: what a run needs to go on as if it had never stopped. Whole or not there, hashed, no pickle.

step-000001234/     one checkpoint each, by the number of steps trained
  state.safetensors   every tensor of now
  best.safetensors    the weights of the best epoch so far; a link to that of the checkpoint before where it is the same
  facts.json          everything that is no tensor
  manifest.json       sha256 of the files above
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ranker.atomic import PARTIAL_SUFFIX, atomic_folder, remove_folder
from ranker.errors import BundleError
from ranker.manifest import file_digest
from training.errors import CheckpointError

_STATE, _BEST, _FACTS, _MANIFEST = "state.safetensors", "best.safetensors", "facts.json", "manifest.json"
_PREFIX = "step-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was saved.

    Attributes:
        path: Its folder.
        state: Tensors by name, on the CPU.
        best: Weights of the best epoch; empty before the first epoch's end.
        facts: JSON values.
    """

    path: Path
    state: dict[str, Tensor]
    best: dict[str, Tensor]
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, the newest few of them.

    Args:
        folder: Where they lie; made by the first `save`.
        keep: How many to keep, at least 1.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"`keep` must be at least 1, got {keep}")
        self.folder, self.keep = folder, keep

    def save(
        self, step: int, state: Mapping[str, Tensor], facts: Mapping[str, Any], best: Mapping[str, Tensor], best_id: str
    ) -> Path:
        """Write a checkpoint and remove those that are too old. Nothing happens if that step has one already.

        Args:
            step: Steps trained so far; orders the checkpoints.
            state: Tensors that share no memory.
            facts: Anything JSON can say.
            best: Weights of the best epoch; may be empty.
            best_id: Names what `best` holds, so that an unchanged one is not written again.

        Raises:
            CheckpointError: The disk is full or the folder cannot be written; earlier checkpoints stay.
        """
        target = self.folder / f"{_PREFIX}{step:09d}"
        if target.exists():
            return target
        previous = self._paths()
        try:
            with atomic_folder(target) as partial:
                _save(state, partial / _STATE)
                if not (previous and _link_best(previous[-1], partial, best_id)):
                    _save(best, partial / _BEST)
                (partial / _FACTS).write_text(json.dumps({**facts, "best_id": best_id}), encoding="utf-8")
                hashes = {name: file_digest(partial / name) for name in (_STATE, _BEST, _FACTS)}
                (partial / _MANIFEST).write_text(json.dumps(hashes, indent=2), encoding="utf-8")
            paths = self._paths()
            place = paths.index(target)
            # Those behind this one are damaged, or the run would have gone on from there.
            for other in [*paths[: max(place + 1 - self.keep, 0)], *paths[place + 1 :]]:
                remove_folder(other)
        except (OSError, SafetensorError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise CheckpointError(
                f"checkpoint '{target}' cannot be written: {reason}; free some space there, or give another folder, "
                "and run again: the run goes on from the checkpoint before"
            ) from error
        return target

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None if there is none. Damaged ones are passed over."""
        for path in reversed(self._paths()):
            try:
                return load_checkpoint(path)
            except CheckpointError:
                continue
        return None

    def clear(self) -> None:
        """Remove all of them, and what a killed process left half-written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        """Oldest first."""
        if not self.folder.is_dir():
            return []
        for leftover in self.folder.glob(f".*{PARTIAL_SUFFIX}"):
            shutil.rmtree(leftover, ignore_errors=True)
        return sorted(path for path in self.folder.iterdir() if path.name.startswith(_PREFIX))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint, after verifying its hashes.

    Raises:
        CheckpointError: It is incomplete or altered; names the file.
    """
    try:
        hashes = json.loads((path / _MANIFEST).read_bytes())
        for name in (_STATE, _BEST, _FACTS):
            if file_digest(path / name) != hashes.get(name):
                raise CheckpointError(f"'{path / name}' was altered; remove '{path}', an older checkpoint is taken")
        facts = json.loads((path / _FACTS).read_bytes())
        return Checkpoint(path, load_file(path / _STATE), load_file(path / _BEST), facts)
    except (OSError, ValueError, BundleError, SafetensorError, AttributeError) as error:
        raise CheckpointError(f"checkpoint '{path}' cannot be read: {error}; remove it") from error


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def _link_best(previous: Path, partial: Path, best_id: str) -> bool:
    """Take over the best weights of the checkpoint before if they are the same; False if they are not."""
    try:
        if json.loads((previous / _FACTS).read_bytes()).get("best_id") != best_id:
            return False
        os.link(previous / _BEST, partial / _BEST)
    except (OSError, ValueError):  # no such file, or a file system without links: written anew
        return False
    return True
