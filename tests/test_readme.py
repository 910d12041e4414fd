"""The README is true: its tour runs, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from ranker.models import ModelConfig
from ranker.weighting import WeightingConfig

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = {"ranker-train": "training.cli", "ranker-features": "feature_store.cli"}
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the files that the tour begins with."""
    random, rows = np.random.default_rng(0), 4000
    users = pd.DataFrame({"user_id": range(50), "age": random.integers(18, 80, 50)})
    items = pd.DataFrame(
        {"item_id": range(30), "brand": random.choice(["a", "b", "c"], 30), "price": random.gamma(2, 10, 30)}
    )
    log = pd.DataFrame({"request_id": np.arange(rows) // 10, "user_id": random.integers(0, 50, rows)})
    log["item_id"] = random.integers(0, 30, rows)
    log["time"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(log["request_id"], unit="min")
    log["device"] = random.choice(["ios", "android"], rows)
    log = log.merge(users, on="user_id").merge(items, on="item_id")
    log["click"] = (random.random(rows) < 0.2 + 0.2 * (log["brand"] == "a")).astype(int)
    log["buy"] = log["click"] * (random.random(rows) < 0.3)
    (tmp_path / "shop").mkdir()
    users.to_parquet(tmp_path / "shop" / "users.parquet")
    items.to_parquet(tmp_path / "shop" / "items.parquet")
    log.to_parquet(tmp_path / "shop" / "impressions.parquet")
    return tmp_path


def test_the_tour_runs_as_it_is_written(shop: Path) -> None:
    (shop / "shop.yaml").write_text(_block("yaml"))
    commands = [line[2:] for line in README.splitlines() if line.startswith(tuple(f"$ {name}" for name in PROGRAMS))]
    assert len(commands) == 6
    for command in commands:
        program, *arguments = command.split()
        run = subprocess.run(
            [sys.executable, "-m", PROGRAMS[program], *arguments], cwd=shop, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"
    assert (shop / "registry" / "current.json").exists()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize(
    ("page", "union"),
    [("balancing.md", WeightingConfig), ("architectures.md", ModelConfig)],
    ids=["weighting", "model"],
)
def test_every_member_of_a_union_is_documented(page: str, union: object) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    table = text[text.index("| name |") :].split("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    members = get_args(get_args(union)[0])
    assert sorted(listed) == sorted(config.model_fields["name"].default for config in members)
    known = {option for config in members for option in config.model_fields}
    options = {option for row in table.splitlines()[2:] for option in re.findall(r"`(\w+)`", row.split("|")[-2])}
    assert options <= known
