"""Three public data sets through the whole path. Floors are well below what `benchmarks/` measures over seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import ebnerd
from training.config import load_config
from training.evaluation import EvaluationReport
from training.progress import Progress
from training.run import train

CONFIGS = Path(__file__).parent.parent / "configs"

pytestmark = [pytest.mark.data, pytest.mark.timeout(600)]


def report_of(name: str, data: Path, folder: Path, *overrides: str) -> EvaluationReport:
    """Train one of the shipped experiments and export it."""
    config = load_config(CONFIGS / f"{name}.yaml", overrides)
    return train(config, data, folder / name, Progress(quiet=True)).report


@pytest.mark.parametrize(("name", "floor"), [("census_full40", 0.93), ("census_cat33", 0.92)])
def test_census_is_learnt_within_two_epochs(name: str, floor: float, data_folder: Path, tmp_path: Path) -> None:
    file = data_folder / "census_income_kdd" / f"census_income_kdd_{name.removeprefix('census_')}.parquet"
    report = report_of(name, file, tmp_path, "training.epochs=2")
    assert (report["income"].auc or 0) > floor
    assert (report["never_married"].auc or 0) > 0.985


def test_hillstrom_is_a_calibrated_funnel(data_folder: Path, tmp_path: Path) -> None:
    report = report_of("hillstrom", data_folder / "hillstrom" / "hillstrom.parquet", tmp_path, "training.epochs=6")
    visit, conversion, both = (report[name] for name in ("visit", "conversion", "visit_and_conversion"))
    assert (visit.auc or 0) > 0.61
    assert conversion.num_rows == visit.num_positives
    assert both.num_rows == visit.num_rows
    assert both.num_positives == conversion.num_positives
    assert visit.reliability is not None
    assert 0.85 < (visit.reliability.predicted_over_observed or 0) < 1.15


def test_ebnerd_ranks_over_http_as_it_was_evaluated(data_folder: Path, tmp_path: Path) -> None:
    config = load_config(ebnerd.CONFIG, ("training.epochs=3", "export.precision=fp32"))
    found = ebnerd.run(data_folder / "ebnerd", tmp_path, config)
    assert found.requests == 210
    assert found.largest_difference < 1e-5
    assert found.ndcg_http == pytest.approx(found.ndcg_report, abs=1e-12)
