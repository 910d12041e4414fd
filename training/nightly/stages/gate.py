"""May the new model take the live one's place?"""

from __future__ import annotations

from typing import Any

from training.gate import Decision, JudgedRows, Scores, compare_with_champion
from training.nightly.first import on_first
from training.nightly.night import Night, current

DECISION = "gate.json"


def gate(night: Night) -> dict[str, Any]:
    """Compare with the live bundle on the test rows and leave the decision in `gate.json`."""
    night.predictions("test")  # every process takes part in this, only the first in the rest
    return on_first(lambda: _gate(night))


def _gate(night: Night) -> dict[str, Any]:
    test, calibration = night.predictions("test"), night.calibration
    champion = current(night.registry)
    decision = compare_with_champion(
        night.config,
        night.impressions,
        JudgedRows.of(test, calibration),
        Scores.of(test, calibration, night.record.version),
        None if champion is None else night.registry.path(champion),
    )
    night.write(DECISION, decision.to_dict())
    _tell(night, decision, champion)
    return {"passed": decision.passed, "champion": champion, "reasons": list(decision.reasons)}


def _tell(night: Night, decision: Decision, champion: str | None) -> None:
    for warning in decision.warnings:
        night.log.warn("gate_warning", warning)
    against = f"against {champion}" if champion else "with no live model to compare with"
    verdict = "passed" if decision.passed else "refused"
    sentence = " ".join([f"gate: {verdict} {against}.", *decision.reasons])
    night.log.event("gate", sentence, passed=decision.passed)
