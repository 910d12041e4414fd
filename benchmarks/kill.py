"""Nights killed by `kill -9` at 20 random points and started again: is the model the same, is anything lost or twice?

    python -m benchmarks.kill               # about ten minutes; prints each point as it comes, keeps the figures
    python -m benchmarks.kill --markdown    # the table of the figures that are kept

Each point starts from the same shop after its first night and kills the second, a real process of `ranker-train`; every
third one is killed once more before it may end. Then it is held against a second night that nothing disturbed: every
tensor, the encoder, the calibration and the golden scores bit by bit, what is live after each kill, how often it was
published, and that no stage that was done is done again.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.support.bundle_content import bundle_content
from benchmarks.support.kill_points import KillPoint, attempt_begins, draw, log_of, stage_begins
from benchmarks.support.results import RESULTS, write_results
from ranker.registry import Registry
from training.nightly import RunRecord
from training.simulation import SimulationConfig, simulate

CONFIG = Path(__file__).parent.parent / "configs" / "nightly.yaml"
WORLD = SimulationConfig(num_impressions=60_000, num_users=800, num_items=200, num_days=4, base_cvr=0.3, seed=5)
FIRST, SECOND = "2026-01-03", "2026-01-04"
SETTINGS = (
    "training.epochs=2",
    "training.batch_size=512",
    "training.checkpoints={every_seconds: 0.1}",
    "nightly.window_days=3",
    "nightly.warm_epochs=null",
    "gate.floors={auc: null, predicted_over_observed: null}",
    "gate.resamples=100",
)
SEED = 20
AGAIN_EVERY = 3  # points after which the second run is killed too
RETRIES = 4
_SHARE_OF_NIGHT = 0.2  # after the second attempt has begun: at most so much later it is killed again


@dataclass
class Shop:
    """Where nights read and write."""

    root: Path
    data: Path

    @property
    def run(self) -> Path:
        return self.root / "runs" / SECOND

    @property
    def registry(self) -> Registry:
        return Registry(self.root / "registry")

    def start(self, day: str) -> subprocess.Popen[bytes]:
        """A night as a process of its own."""
        features = f"[{{view: users, key: user_id, path: {self.data.parent / 'users.parquet'}}}]"
        settings = [f"--set={setting}" for setting in (*SETTINGS, f"nightly.features={features}")]
        places = ["--data", self.data, "--registry", self.registry.root, "--runs", self.root / "runs"]
        command = ["nightly", "--config", CONFIG, *places, "--store", f"lmdb:{self.root / 'features'}", "--date", day]
        with (self.root / "printed.txt").open("ab") as printed:
            return subprocess.Popen(
                [sys.executable, "-m", "training.cli", *map(str, command), *settings], stdout=printed, stderr=printed
            )

    def copy(self, root: Path) -> Shop:
        shutil.copytree(self.root, root)
        return Shop(root, self.data)

    def record(self) -> RunRecord | None:
        return RunRecord.load(self.run)


@dataclass
class Outcome:
    """What came of one point."""

    point: str
    stages: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def kill(shop: Shop, point: KillPoint, outcome: Outcome) -> bool:
    """Start the night and kill it at the point; False if it ended before."""
    before = shop.record()
    process = shop.start(SECOND)
    if not point.reached(shop.run, shop.registry.root, lambda: process.poll() is None):
        process.wait()
        return False
    process.kill()
    if process.wait() != -signal.SIGKILL:
        return False
    shop.registry.load().verify_golden()  # what is live is whole, whatever the moment
    record = shop.record()
    outcome.stages.append(_stage(shop, record))
    left = [path for folder in (shop.run.parent, shop.registry.root) for path in folder.rglob(".*.partial")]
    outcome.left += sorted({path.name.rsplit(".", 2)[0].lstrip(".") for path in left})
    if before is not None and (record is None or record.stages[: len(before.stages)] != before.stages):
        outcome.problems.append("a stage that was done was done again")
    return True


def _stage(shop: Shop, record: RunRecord | None) -> str:
    """The stage that a kill fell into."""
    if record is None:
        return "before the first"
    done = [stage.name for stage in record.stages]
    if record.outcome is not None or "materialize" in done:
        return "after the last"
    log = log_of(shop.run)
    following = next((name for name in _ORDER[len(done) :] if stage_begins(name) in log), None)
    return following or f"after {done[-1]}" if done else following or "before the first"


_ORDER = ("check", "train", "calibrate", "evaluate", "gate", "export", "publish", "materialize")


def finish(shop: Shop, undisturbed: Shop, outcome: Outcome) -> None:
    """Start the night once more, and hold what it leaves against the undisturbed one."""
    before, code = shop.record(), shop.start(SECOND).wait()
    record, expected = shop.record(), undisturbed.record()
    assert expected is not None
    if code or record is None:
        outcome.problems.append(f"exit code {code}")
        return
    pointer = json.loads((shop.registry.root / "current.json").read_bytes())
    checks = {
        "another version is live": pointer["version"] == expected.version,
        "published more than once": len(pointer["history"]) == 1 and len(shop.registry.versions()) == 2,
        "another model": bundle_content(shop.registry.load()) == bundle_content(undisturbed.registry.load()),
        "other stages": [stage.name for stage in record.stages] == list(_ORDER),
        "other features": record.stages[-1].summary == expected.stages[-1].summary,
        "a stage that was done was done again": before is None or record.stages[: len(before.stages)] == before.stages,
        "something half-written stayed": not list(shop.root.rglob(".*.partial")),
        "no report": (shop.run / "report.html").exists(),
    }
    outcome.problems += [name for name, holds in checks.items() if not holds]


def measure(folder: Path) -> list[Outcome]:
    """Every point in turn."""
    data = simulate(WORLD, folder / "log").impressions
    base = Shop(folder / "base", data)
    base.root.mkdir()
    if base.start(FIRST).wait():
        raise SystemExit((base.root / "printed.txt").read_text(encoding="utf-8"))
    undisturbed = base.copy(folder / "undisturbed")
    began = time.monotonic()
    undisturbed.start(SECOND).wait()
    seconds = time.monotonic() - began
    record = undisturbed.record()
    if record is None or record.outcome != "published":
        raise SystemExit((undisturbed.root / "printed.txt").read_text(encoding="utf-8"))
    chance, outcomes = random.Random(SEED), []
    points = draw(record, seconds, SEED)
    for number, point in enumerate(points):
        outcome, shop = Outcome(point.name), base.copy(folder / str(number))
        for _ in range(RETRIES):
            if kill(shop, point, outcome):
                break
            shutil.rmtree(shop.root)
            shop, point, outcome = base.copy(folder / str(number)), point.sooner(), Outcome(point.name)
        else:
            outcome.problems.append("ended before the point came")
        if number % AGAIN_EVERY == 0 and shop.record() is not None:
            delay = chance.uniform(0, _SHARE_OF_NIGHT) * seconds
            kill(shop, KillPoint("again", logged=attempt_begins(2), delay_seconds=delay), outcome)
        finish(shop, undisturbed, outcome)
        outcomes.append(outcome)
        print(f"{number + 1:2} of {len(points)}: {row(asdict(outcome))}", flush=True)
        shutil.rmtree(shop.root)
    return outcomes


def row(outcome: dict[str, Any]) -> str:
    """One line of the table."""
    result = "; ".join(outcome["problems"]) or "the same to the last bit, published once"
    return (
        f"| {outcome['point']} | {', then '.join(outcome['stages'])} | {', '.join(outcome['left']) or '-'} | {result} |"
    )


def table(outcomes: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = "| point | killed in stage | half-written files left | after the next run |\n|---|---|---|---|"
    return "\n".join([head, *map(row, outcomes)])


def main() -> None:
    """Measure and keep, or print what is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="print the table that is kept")
    if not parser.parse_args().markdown:
        with tempfile.TemporaryDirectory() as folder:
            outcomes = [asdict(outcome) for outcome in measure(Path(folder))]
        write_results("kill", {"points": outcomes})
    kept = json.loads((RESULTS / "kill.json").read_bytes())["points"]
    print(table(kept))
    if any(outcome["problems"] for outcome in kept):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
