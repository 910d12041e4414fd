"""The gate: how often it refuses a challenger that is no worse, how often it catches a planted loss, what it costs.

    python -m benchmarks.gate               # simulate, train, judge and keep; then print the tables
    python -m benchmarks.gate --cost        # only what a decision costs, into the figures that are kept
    python -m benchmarks.gate --markdown    # the tables of the figures that are kept

Equal pairs: two networks that differ in nothing but the seed of their training, on a simulated world of their own for
each pair, so that pairs are independent. Each is the challenger once. Two seeds are not quite equal, and the world
knows by how much: a refusal is a false alarm if no expected loss, free of the chance in the labels of the test rows,
is larger than allowed.

Planted losses: a network against itself with its click output spoilt: noise on the log odds (order), odds multiplied
(calibration on average), log odds stretched (calibration at both ends). All with the default limits.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import beta

from benchmarks.support.results import RESULTS, write_results
from benchmarks.support.simulated_log import SimulatedLog
from ranker.calibration import Calibration
from ranker.fusion import FusionPolicy
from ranker.schema import Schema
from training.config import ExperimentConfig, load_config
from training.distributed import process_group
from training.gate import Decision, GateConfig, JudgedRows, Scores, judge
from training.gate.config import ALLOWED_LOSS, Metric
from training.gate.quality import goodness
from training.simulation import SimulationConfig, expected_auc

# Shapes: N = rows

CONFIG = Path(__file__).parent.parent / "configs" / "simulated.yaml"
WORLD = SimulationConfig(
    num_impressions=100_000, num_users=2_000, num_items=500, valid_days=1, test_days=2, base_cvr=0.25
)
SETTINGS = (
    "training.split={by: time, valid_fraction: 0.1, test_fraction: 0.2}",
    "training.batch_size=1024",
    "model={name: shared_bottom, bottom_dims: [32], tower_dims: [16]}",
    "weighting={name: static}",
)
SPOILT = "ctr"
COST_ROWS, COST_USERS, CANDIDATES = 200_000, 20_000, 10

Floats = NDArray[np.float64]


def _noise(share: float, z_N: Floats, random: np.random.Generator) -> Floats:
    return z_N + random.normal(0.0, share * float(z_N.std()), len(z_N))


def _shift(factor: float, z_N: Floats, _random: np.random.Generator) -> Floats:
    return z_N + math.log(factor)


def _stretch(slope: float, z_N: Floats, _random: np.random.Generator) -> Floats:
    mean = float(z_N.mean())
    return mean + slope * (z_N - mean)


PLANTED: dict[str, Callable[[Floats, np.random.Generator], Floats]] = {
    **{f"noise of {share:g} standard deviations": partial(_noise, share) for share in (0.2, 0.3, 0.5)},
    **{f"odds times {factor:g}": partial(_shift, factor) for factor in (1.1, 1.3, 1.5)},
    **{f"log odds times {slope:g}": partial(_stretch, slope) for slope in (0.5, 2.0)},
}


class Pair(NamedTuple):
    """Two networks of one world, on its test rows.

    Attributes:
        config: The experiment of one of them.
        rows: The test rows.
        scores: What both say of them.
        truth: By output, the true probability [N] of a positive, and how likely the row is one on which it is defined.
    """

    config: ExperimentConfig
    rows: JudgedRows
    scores: tuple[Scores, Scores]
    truth: Mapping[str, tuple[Floats, Floats]]

    def judge(self, challenger: Scores, champion: Scores) -> Decision:
        """The decision with default limits."""
        return judge(self.config.data_schema, self.rows, challenger, champion, GateConfig(), self.config.policy)

    def truly_worse(self, challenger: Scores, champion: Scores) -> bool:
        """Whether an expected AUC, log loss or predicted over observed is worse by more than allowed."""
        for output, (true_N, defined_N) in self.truth.items():
            mine, theirs = (expected(np.asarray(s.outputs[output]), true_N, defined_N) for s in (challenger, champion))
            for metric, value in mine.items():
                scale = theirs[metric] if metric == "log_loss" else 1.0
                loss = float(goodness(metric, np.array(theirs[metric])) - goodness(metric, np.array(value)))
                if loss > ALLOWED_LOSS[metric] * scale:
                    return True
        return False


def expected(p_N: Floats, true_N: Floats, defined_N: Floats) -> dict[Metric, float]:
    """Metrics in expectation over labels, and over which rows the output is defined on."""
    auc = expected_auc(p_N, true_N, defined_N)
    assert auc is not None
    loss_N = -(true_N * np.log(p_N) + (1 - true_N) * np.log1p(-p_N))
    return {
        "auc": auc,
        "log_loss": float(np.average(loss_N, weights=defined_N)),
        "predicted_over_observed": float(p_N @ defined_N / (true_N @ defined_N)),
    }


def train_pair(world: int) -> Pair:
    """Simulate a world and train two networks that differ in their seeds."""
    scores: list[Scores] = []
    with tempfile.TemporaryDirectory() as folder:
        log = SimulatedLog.write(WORLD.model_copy(update={"seed": world}), Path(folder) / "log")
        for seed in (2 * world, 2 * world + 1):
            config = load_config(CONFIG, (*SETTINGS, f"training.seed={seed}"))
            trained = log.train(config)
            calibration = Calibration.fit(
                config.data_schema, trained.valid.raw, *trained.valid.masks(), config.calibration
            )
            scores.append(Scores.of(trained.test, calibration, f"seed {seed}"))
    ctr_N, cvr_N = log.column("true_ctr"), log.column("true_cvr")
    everywhere_N = np.ones_like(ctr_N)
    truth = {"ctr": (ctr_N, everywhere_N), "cvr": (cvr_N, ctr_N), "ctcvr": (ctr_N * cvr_N, everywhere_N)}
    return Pair(config, JudgedRows.of(trained.test, calibration), (scores[0], scores[1]), truth)


def spoil(scores: Scores, schema: Schema, planted: str, random: np.random.Generator) -> Scores:
    """The same scores with a loss planted in the click output, and in what is derived from it."""
    outputs = {name: np.asarray(scores.outputs[name]) for name in schema.task_names}
    outputs[SPOILT] = expit(PLANTED[planted](logit(outputs[SPOILT]), random))
    for output in schema.outputs:
        outputs[output] = np.multiply.reduce([outputs[factor] for factor in schema.factors(output)])
    return Scores(outputs, planted)


def measure(world: int, with_losses: bool) -> dict[str, Any]:
    """The decisions on one world."""
    pair = train_pair(world)
    one, other = pair.scores
    equal = [
        _kept(pair.judge(*ordered)) | {"truly_worse": pair.truly_worse(*ordered)}
        for ordered in ((one, other), (other, one))
    ]
    random = np.random.default_rng(world)
    spoilt = {name: spoil(one, pair.config.data_schema, name, random) for name in (PLANTED if with_losses else ())}
    return {
        "equal": equal,
        "planted": {name: _kept(pair.judge(scores, one)) for name, scores in spoilt.items()},
    }


def cost() -> dict[str, Any]:
    """Processor seconds of one decision on `COST_ROWS` rows with three tasks and a product."""
    random = np.random.default_rng(0)
    tasks = {"ctr": ("click", -2.3), "cvr": ("buy", -1.5), "like": ("like", -3.0)}
    schema = Schema.model_validate(
        {
            "ids": {"user": "user", "request": "request"},
            "features": [{"name": "age", "side": "user", "kind": "numeric"}],
            "tasks": [{"name": task, "label": label} for task, (label, _) in tasks.items()],
            "outputs": {"ctcvr": "ctr * cvr"},
        }
    )
    logits = {task: random.normal(size=COST_ROWS) + mean for task, (_, mean) in tasks.items()}
    labels = {label: random.random(COST_ROWS) < expit(logits[task]) for task, (label, _) in tasks.items()}
    request_N = np.arange(COST_ROWS) // CANDIDATES
    user_N = random.integers(0, COST_USERS, COST_ROWS // CANDIDATES)[request_N]
    noisy = [{task: expit(z_N + 0.1 * random.normal(size=COST_ROWS)) for task, z_N in logits.items()} for _ in range(2)]
    one, other = (Scores({**p, "ctcvr": p["ctr"] * p["cvr"]}, "noisy") for p in noisy)
    started = time.process_time()  # others may share the machine
    decision = judge(
        schema, JudgedRows(labels, user_N, request_N), one, other, GateConfig(), FusionPolicy.default(schema)
    )
    seconds = time.process_time() - started
    figures = {"rows": COST_ROWS, "users": COST_USERS, "resamples": decision.resamples}
    return figures | {"comparisons": len(decision.comparisons), "seconds": seconds}


def markdown(figures: Mapping[str, Any]) -> str:
    """The figures as the tables of `docs/gate.md`."""
    decisions = [found for world in figures["worlds"] for found in world["equal"]]
    no_worse = [found for found in decisions if not found["truly_worse"]]
    causes = Counter(cause for found in decisions for cause in found["causes"])
    lines = [
        f"{len(figures['worlds'])} pairs, each judged both ways.",
        "",
        "| challenger | decisions | refused | share, 95 % interval |",
        "|---|---|---|---|",
    ]
    for name, found in (("the same but for its seed", decisions), ("of these, expected losses as allowed", no_worse)):
        refused = sum(not decision["passed"] for decision in found)
        low, high = exact_interval(refused, len(found))
        lines.append(f"| {name} | {len(found)} | {refused} | {refused / len(found):.1%}, {low:.1%} to {high:.1%} |")
    lines += [
        "",
        f"Refused for: {', '.join(f'{cause} ({count})' for cause, count in causes.most_common()) or 'nothing'}.",
        "",
        "| planted in `ctr` | AUC lost | predicted / observed | refused |",
        "|---|---|---|---|",
    ]
    for name, found in planted(figures):
        auc = np.mean([one["auc_lost"] for one in found])
        ratio = np.mean([one["predicted_over_observed"] for one in found])
        share = np.mean([not one["passed"] for one in found])
        lines.append(f"| {name} | {auc:.4f} | {ratio:.2f} | {share:.0%} of {len(found)} |")
    spent = figures["cost"]
    lines += [
        "",
        f"{spent['rows']:,} rows, {spent['users']:,} users, {spent['comparisons']} comparisons, "
        f"{spent['resamples']:,} resamples: {spent['seconds']:.1f} processor seconds.",
    ]
    return "\n".join(lines)


def planted(figures: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """By planted loss, what became of it in every world that has it."""
    worlds = [world["planted"] for world in figures["worlds"] if world["planted"]]
    for name in worlds[0]:
        yield name, [world[name] for world in worlds]


def exact_interval(count: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share of independent trials by Clopper and Pearson, Biometrika 26, 1934."""
    rest = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(beta.ppf(rest, count, trials - count + 1))
    high = 1.0 if count == trials else float(beta.ppf(1 - rest, count + 1, trials - count))
    return low, high


def main() -> None:
    """Run, keep, print."""
    parser = argparse.ArgumentParser(description="False alarms and detection of the gate.")
    parser.add_argument("--pairs", type=int, default=50, help="worlds with two networks each")
    parser.add_argument("--planted", type=int, default=12, help="how many of them also get planted losses")
    parser.add_argument("--cost", action="store_true", help="only measure what a decision costs, train nothing")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the kept figures, do nothing else")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.cost:
        write_results("gate", {"worlds": _read()["worlds"], "cost": cost()})
    elif not arguments.markdown:
        spent = cost()
        with process_group():
            worlds = []
            for world in range(arguments.pairs):
                worlds.append(measure(world, with_losses=world < arguments.planted))
                print(world, [found["passed"] for found in worlds[-1]["equal"]], flush=True)
        write_results("gate", {"worlds": worlds, "cost": spent})
    print(markdown(_read()))


def _read() -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((RESULTS / "gate.json").read_text(encoding="utf-8"))
    return figures


def _kept(decision: Decision) -> dict[str, Any]:
    """What is kept of a decision: how it went and why, and how the click output did."""
    causes = [f"{c.metric} of {c.output}" for c in decision.comparisons if c.verdict in ("worse", "too_good")]
    causes += [f"floor of {c.metric} of {c.output}" for c in decision.floors if c.verdict == "broken"]
    by_metric = {c.metric: c for c in decision.comparisons if c.output == SPOILT}
    return {
        "passed": decision.passed,
        "causes": causes,
        "auc_lost": -by_metric["auc"].difference,
        "predicted_over_observed": by_metric["predicted_over_observed"].challenger,
    }


if __name__ == "__main__":
    main()
