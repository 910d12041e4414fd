"""EB-NeRD end to end: train, publish, materialize, then every test impression as one `/rank` request over HTTP.

Shows that training and serving agree: the scores that come back equal the offline ones, and NDCG@10 computed from the
answers equals the one in the evaluation report.

    python -m benchmarks.ebnerd --data ../shared/data/ebnerd
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.support.results import write_results
from benchmarks.support.server import Client, running_server
from feature_store import materialize, parse_store
from ranker.registry import Registry
from training.bundle_evaluation import evaluate_bundle
from training.config import ExperimentConfig, load_config
from training.progress import Progress
from training.run import train

CONFIG = Path(__file__).parent.parent / "configs" / "ebnerd.yaml"
CONTEXT = ["device_type", "hour", "num_in_view", "page_article_id", "page_read_time", "page_scroll"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the comparison found.

    Attributes:
        requests: Test impressions sent.
        candidates: Articles in them.
        largest_difference: Between any output or score over HTTP and offline.
        ndcg_http: NDCG@10 of clicks, from the order of the answers.
        ndcg_report: The same figure in the evaluation report.
        auc: Test AUC of each output.
    """

    requests: int
    candidates: int
    largest_difference: float
    ndcg_http: float
    ndcg_report: float
    auc: dict[str, float | None]


def prepare(data: Path, out: Path) -> None:
    """Join the raw files to `impressions.parquet`, `users.parquet` and `items.parquet`.

    Everything known of users and articles is from reads before the first impression.
    """
    impressions = pd.read_parquet(data / "ebnerd_impressions.parquet")
    history = pd.read_parquet(data / "ebnerd_history.parquet").sort_values(
        ["user_id", "impression_time"], kind="stable"
    )
    users, items = _users(impressions, history), _items(impressions, history)
    rows = impressions.rename(
        columns={
            "n_inview": "num_in_view",
            "context_article_id": "page_article_id",
            "context_read_time": "page_read_time",
            "context_scroll_percentage": "page_scroll",
        }
    ).assign(hour=impressions["impression_time"].dt.hour)
    labels = ["label_click", "label_long_read", "split"]
    rows = rows[["impression_id", "user_id", "article_id", "impression_time", *CONTEXT, *labels]]
    rows = rows.merge(users, on="user_id", how="left").merge(items, on="article_id", how="left")
    out.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(out / "impressions.parquet", index=False)
    users.to_parquet(out / "users.parquet", index=False)
    items.to_parquet(out / "items.parquet", index=False)


def _users(impressions: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    known = impressions.groupby("user_id")[["is_subscriber", "gender", "age"]].first()
    reads = history.groupby("user_id").agg(
        history=("article_id", list),
        history_length=("article_id", "size"),
        history_long_reads=("label_long_read", "mean"),
        history_read_time=("read_time", "mean"),
    )
    return known.rename(columns={"is_subscriber": "subscriber"}).join(reads).reset_index()


def _items(impressions: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    articles = pd.DataFrame({"article_id": np.sort(impressions["article_id"].unique())})
    reads = history.groupby("article_id").agg(reads_before=("user_id", "size"), read_time_before=("read_time", "mean"))
    items = articles.merge(reads.reset_index(), on="article_id", how="left").assign(
        article_number=articles["article_id"]
    )
    return items.assign(reads_before=items["reads_before"].fillna(0).astype("int64"))


def run(data: Path, folder: Path, config: ExperimentConfig, store: str | None = None) -> Agreement:
    """The whole path.

    Args:
        data: Folder of the raw files.
        folder: Where everything is written.
        config: The experiment.
        store: Feature store; None: LMDB in `folder`.
    """
    store = store or f"lmdb:{folder / 'features'}"
    prepare(data, folder)
    result = train(config, folder / "impressions.parquet", folder / "run", Progress())
    assert result.bundle is not None
    Registry(folder / "registry").publish(result.bundle.path)
    asyncio.run(_materialize(store, folder))
    offline = evaluate_bundle(result.bundle.path, config, folder / "impressions.parquet", "test")
    rows = pd.read_parquet(folder / "impressions.parquet").query("split == 'test'").reset_index(drop=True)
    with running_server(
        folder / "registry", store, folder / "policies.db", token="benchmark", log=folder / "server.log"
    ) as client:
        answers = [_rank(client, request) for _, request in rows.groupby("impression_id", sort=False)]
    reported = next(ndcg for ndcg in next(r for r in offline.report.fused if r.output == "ctr").ndcg if ndcg.k == 10)
    assert reported.value is not None
    return Agreement(
        requests=len(answers),
        candidates=len(rows),
        largest_difference=_largest_difference(answers, offline.scores),
        ndcg_http=_ndcg(answers, rows, k=10),
        ndcg_report=reported.value,
        auc={output.output: output.auc for output in offline.report.outputs},
    )


async def _materialize(store: str, folder: Path) -> None:
    target = parse_store(store).build()
    try:
        await materialize(target, "user", [folder / "users.parquet"], key="user_id")
        await materialize(target, "item", [folder / "items.parquet"], key="article_id")
    finally:
        await target.close()


def _rank(client: Client, request: pd.DataFrame) -> dict[str, Any]:
    first = request.iloc[0]
    context = {name: None if pd.isna(first[name]) else _plain(first[name]) for name in CONTEXT}
    body = {
        "user_id": int(first["user_id"]),
        "context": context,
        "candidates": [int(item) for item in request["article_id"]],
        "request_id": str(first["impression_id"]),
    }
    answer: dict[str, Any] = client.call("POST", "/rank", body)
    if answer["degraded"] or answer["missing"] != {"user": False, "items": 0}:
        raise RuntimeError(f"impression {first['impression_id']} was not ranked on full features: {answer}")
    return answer


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _largest_difference(answers: list[dict[str, Any]], offline: dict[str, np.ndarray[Any, Any]]) -> float:
    """Over all candidates, outputs and the fused score."""
    ids = zip(offline["impression_id"].tolist(), offline["article_id"].tolist(), strict=True)
    place = {(str(request), item): row for row, (request, item) in enumerate(ids)}
    largest = 0.0
    for answer in answers:
        for ranked in answer["ranking"]:
            row = place[answer["request_id"], ranked["item_id"]]
            found = {"score": ranked["score"], **ranked["outputs"]}
            largest = max(largest, *(abs(value - float(offline[name][row])) for name, value in found.items()))
    return largest


def _ndcg(answers: list[dict[str, Any]], rows: pd.DataFrame, k: int) -> float:
    """NDCG@k of clicks from the order of the answers, over the requests that have a click."""
    clicked = {
        (str(request), item)
        for request, item in rows.loc[rows["label_click"] == 1, ["impression_id", "article_id"]].itertuples(index=False)
    }
    discounts = 1 / np.log2(np.arange(2, 1002))
    values = []
    for answer in answers:
        gains = np.array([(answer["request_id"], ranked["item_id"]) in clicked for ranked in answer["ranking"]], float)
        if gains.any():
            ideal = -np.sort(-gains)
            values.append((gains[:k] @ discounts[: len(gains[:k])]) / (ideal[:k] @ discounts[: len(ideal[:k])]))
    return float(np.mean(values))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ebnerd"))
    parser.add_argument("--store", help="feature store; default: LMDB in a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(arguments.data, Path(folder), load_config(CONFIG), arguments.store)
    print(f"{found.requests} test impressions with {found.candidates} candidates went through /rank")
    print(f"largest difference to the offline scores: {found.largest_difference:.2e}")
    print(f"NDCG@10 of clicks: {found.ndcg_http:.6f} over HTTP, {found.ndcg_report:.6f} in the report")
    print("test AUC: " + ", ".join(f"{name} {value:.4f}" for name, value in found.auc.items() if value is not None))
    write_results("ebnerd", asdict(found))


if __name__ == "__main__":
    main()
