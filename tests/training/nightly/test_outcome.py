"""Exit codes, which others' scripts rely on."""

from __future__ import annotations

from training.nightly import Outcome


def test_exit_codes_never_change() -> None:
    assert {outcome.value: outcome.exit_code for outcome in Outcome} == {
        "published": 0,
        "failed": 1,
        "bad_data": 2,
        "champion_kept": 3,
        "already_running": 4,
        "interrupted": 5,
    }


def test_what_a_second_run_has_nothing_to_do_about() -> None:
    assert {outcome for outcome in Outcome if outcome.final} == {Outcome.PUBLISHED, Outcome.CHAMPION_KEPT}
