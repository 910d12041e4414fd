"""All that the servers of `benchmarks.serve` need: a published bundle, features, and the same network for the peers."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.peers.ranker import LAYOUT, TABLE_ROWS
from benchmarks.support import serving_log as log
from benchmarks.support.naive_network import write_naive_network
from feature_store import parse_store
from ranker.encoding import Encoder
from ranker.models import MMoE
from ranker.registry import Registry
from training.config import load_config
from training.warm_start import TrainedState

ROOT = Path(__file__).parents[2]
_MAP_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class ServingWorld:
    """One folder.

    Attributes:
        folder: Absolute.
    """

    folder: Path

    @property
    def registry(self) -> Path:
        """Folder of published bundles; one, current."""
        return self.folder / "registry"

    @property
    def store(self) -> str:
        """The embedded feature store, as the command line names it."""
        return f"lmdb:{self.folder / 'features'}?map_size_bytes={_MAP_BYTES}"

    @property
    def peers(self) -> Path:
        """What the peers read."""
        return self.folder / "peers"

    @classmethod
    def at(cls, folder: Path, anew: bool) -> ServingWorld:
        """The world in a folder, made there first if it is absent or wanted anew. Takes a minute or two."""
        world = cls(folder.resolve())
        if anew or not (world.folder / "complete").exists():
            shutil.rmtree(world.folder, ignore_errors=True)
            world._build()
            (world.folder / "complete").touch()
        return world

    def fill(self, store: str) -> None:
        """Put all users and items into a feature store."""
        for view in ("user", "item"):
            options = ["--view", view, "--key", f"{view}_id", "--store", store]
            _run("feature_store.cli", "materialize", *options, str(self.folder / f"{view}s.parquet"))

    def _build(self) -> None:
        self.peers.mkdir(parents=True)
        log.write_log(self.folder)
        config = self.folder / "experiment.yaml"
        config.write_text(yaml.safe_dump(log.experiment()), encoding="utf-8")
        run = self.folder / "run"
        data = ["--data", str(self.folder / "log.parquet")]
        _run("training.cli", "train", str(config), *data, "--out", str(run), "--registry", str(self.registry))
        self.fill(self.store)
        bundle = Registry(self.registry).load()
        state = TrainedState.of_run(run, bundle.encoder).network
        model = load_config(config).model
        assert isinstance(model, MMoE.Config)
        write_naive_network(self.peers, bundle.schema, model, state)
        np.save(self.peers / TABLE_ROWS, _table_rows(bundle.encoder))
        (self.peers / LAYOUT).write_text(json.dumps(asyncio.run(self._layout())), encoding="utf-8")

    async def _layout(self) -> dict[str, object]:
        columns = {"context": log.CONTEXT.names}
        async with parse_store(self.store).build() as store:
            for view in ("user", "item"):
                schema = await store.schema(view)
                assert schema is not None
                columns[view] = schema.names
        return {
            "features": str(self.folder / "features"),
            **columns,
            "num_categories": {side: len(of_side.categories) for side, of_side in log.SIDES.items()},
            "weights": log.WEIGHTS,
        }


def _table_rows(encoder: Encoder) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Table row of every value, by feature in the order of the naive network."""
    values = np.array([str(value) for value in range(log.TABLE_ROWS)], dtype=object)
    names = [name for side in ("user", "context", "item") for name in log.SIDES[side].categories]
    return np.stack([encoder.vocabularies[name].rows(values) for name in names])


def _run(module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} {arguments[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
