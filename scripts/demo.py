"""The whole path on simulated data, told step by step: `make demo`.

Every command is printed before it runs, so that it can be repeated by hand. All files are under `demo/`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.support.server import Client, running_server

CONFIG = Path("configs/demo.yaml")
TOKEN = "demo-token"
_PROGRAMS = {"ranker-train": "training.cli", "ranker-features": "feature_store.cli"}


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="The whole path on simulated data, told step by step.")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where everything is written")
    folder: Path = parser.parse_args().folder
    started = time.monotonic()
    if folder.exists():
        shutil.rmtree(folder)
    log, registry, store = folder / "log", folder / "registry", f"lmdb:{folder / 'features'}"

    step(1, "Simulate a shop's log: users see items, some click, some of those buy. The true probabilities are known.")
    command("ranker-train", "simulate", "--out", log, "--impressions", 200_000)

    step(2, "Check that the experiment's YAML and the data fit each other, before anything expensive.")
    command("ranker-train", "check", CONFIG, "--data", log / "impressions")

    days = [folder.name.partition("=")[2] for folder in sorted((log / "impressions").iterdir())]
    step(3, "Run the job that cron runs every night: check the data, train one network for both tasks, judge, publish.")
    night(folder, days[-2])

    step(4, "Put the features of users and items into the store that the server reads: embedded LMDB files.")
    for view in ("user", "item"):
        command(
            "ranker-features",
            "materialize",
            log / f"{view}s.parquet",
            "--view",
            view,
            "--key",
            f"{view}_id",
            "--store",
            store,
        )

    step(5, "Start the server, and ask it over HTTP to rank ten items for a user.")
    say(f"$ ranker-serve run --registry {registry} --store {store}")
    with running_server(registry, store, folder / "policies.db", TOKEN, folder / "server.log") as client:
        request = a_request(log)
        say(f"POST {client.url}/rank\n{json.dumps(request)}")
        before = client.call("POST", "/rank", request)
        show(before)
        step(6, "Change the weights through the admin API, as a product manager would: sales count, clicks do not.")
        change_weights(client)
        after = client.call("POST", "/rank", request)
        show(after)
        compare(before, after)
        step(7, "A day later the job goes on from the live model, and replaces it only if the new one is no worse.")
        night(folder, days[-1])
        tell_reached(folder, days[-1])
        show(swapped(client, request, after["model_version"]))
    say(f"\nDone in {time.monotonic() - started:.0f} s. Everything is under {folder}/; start the server again with")
    say(f"  RANKER_ADMIN_TOKEN=secret make serve ARGS='--registry {registry} --store {store}'")
    say("Your own data: write a YAML like configs/demo.yaml, and follow the five-minute tour in README.md.")


def step(number: int, text: str) -> None:
    """Announce a step."""
    say(f"\n── {number}. {text}")


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def command(program: str, *arguments: object) -> None:
    """Show a command and run it with this interpreter."""
    words = [str(argument) for argument in arguments]
    say(f"$ {' '.join([program, *words])}")
    subprocess.run(
        [sys.executable, "-m", _PROGRAMS[program], *words], check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"}
    )


def night(folder: Path, day: str) -> None:
    """One night; the server takes over what it publishes without a restart."""
    data, registry, runs = folder / "log" / "impressions", folder / "registry", folder / "runs"
    options = ("--data", data, "--registry", registry, "--runs", runs, "--date", day)
    command("ranker-train", "nightly", "--config", CONFIG, *options)


def tell_reached(folder: Path, day: str) -> None:
    """How much of the best possible AUC the model reaches."""
    best = json.loads((folder / "log" / "truth.json").read_text())["splits"]["test"]["best_auc"]
    found = json.loads((folder / "runs" / day / "metrics.json").read_text())["test"]["outputs"]
    for output, most in best.items():
        auc = found[output]["auc"]
        say(f"   {output}: AUC {auc:.4f}, which is {auc / most:.1%} of the best that any model can reach ({most:.4f})")
    say(f"   the report of the night: {folder / 'runs' / day / 'report.html'}")


def swapped(client: Client, request: dict[str, Any], old: str, patience_seconds: float = 30.0) -> dict[str, Any]:
    """The answer to the same request once the server has taken over another model."""
    deadline = time.monotonic() + patience_seconds
    while True:
        answer: dict[str, Any] = client.call("POST", "/rank", request)
        if answer["model_version"] != old:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"the server still ranks by {old} after {patience_seconds:.0f} s; see its log")
        time.sleep(0.2)


def a_request(log: Path) -> dict[str, Any]:
    """A request from the last day of the log, as the shop would send it."""
    last_day = max((log / "impressions").iterdir())
    rows = pq.read_table(last_day).to_pylist()
    shown = [row for row in rows if row["request_id"] == rows[0]["request_id"]]
    context = {name: shown[0][name] for name in ("hour", "device")}
    return {"user_id": shown[0]["user_id"], "context": context, "candidates": [row["item_id"] for row in shown]}


def change_weights(client: Client) -> None:
    """Read the policy, change it, write it back: only if nobody else changed it in between."""
    policy, headers = client.exchange("GET", "/admin/policies/default")
    say(f"GET /admin/policies/default -> version {policy['version']}: {weights(policy)}")
    terms = [{"output": term["output"], "weight": 0.0} for term in policy["terms"]]
    next(term for term in terms if term["output"] == "ctcvr")["weight"] = 1.0
    update = {"terms": terms, "author": "demo", "comment": "sales first"}
    policy = client.call("PUT", "/admin/policies/default", update, {"If-Match": headers["etag"]})
    say(f"PUT /admin/policies/default -> version {policy['version']}: {weights(policy)}")


def weights(policy: dict[str, Any]) -> str:
    """A policy in one line."""
    return " + ".join(f"{term['weight']:g} x {term['output']}" for term in policy["terms"])


def show(answer: dict[str, Any]) -> None:
    """The first five places."""
    say(f"   model {answer['model_version']}, policy version {answer['policy_version']}")
    for place, item in enumerate(answer["ranking"][:5], start=1):
        outputs = "  ".join(f"{name} {value:.4f}" for name, value in item["outputs"].items())
        say(f"   {place}. {item['item_id']!s:>8}   score {item['score']:.4f}   {outputs}")


def compare(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Which items moved."""
    places = [{item["item_id"]: place for place, item in enumerate(a["ranking"], 1)} for a in (before, after)]
    moves = [f"{item}: {place} -> {places[1][item]}" for item, place in places[0].items() if places[1][item] != place]
    say(f"   the same request, no restart: {len(moves)} of {len(places[0])} items moved ({', '.join(moves[:6])})")


if __name__ == "__main__":
    main()
