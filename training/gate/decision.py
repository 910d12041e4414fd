"""What the gate decided, on what figures, and why."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, FiniteFloat
from rich.table import Table

from ranker.schema import FrozenConfig
from training.gate.observed import Unit

Interval = tuple[FiniteFloat, FiniteFloat]
Verdict = Literal["better", "not_worse", "tolerated", "unclear", "worse", "too_good"]
FloorVerdict = Literal["kept", "unclear", "broken"]


class Comparison(FrozenConfig):
    """One metric of one output, challenger against champion on the same rows."""

    output: str
    metric: str = Field(description="As `auc` or `ndcg@10`; the latter is of the fused score by the output's labels.")
    champion: FiniteFloat
    challenger: FiniteFloat
    difference: FiniteFloat = Field(
        description="What the challenger gains; below 0 it loses. Of errors what they fall by, of predicted over "
        "observed what it comes nearer to 1."
    )
    interval: Interval = Field(description="Of the difference; those of the whole gate hold at once.")
    allowed: float = Field(ge=0, description="Allowed loss, in the unit of the difference.")
    verdict: Verdict = Field(
        description="better: certainly; not_worse: certainly not by more than allowed; tolerated: the same, and "
        "certainly worse; unclear: it may be worse by more than allowed; worse: it certainly is; too_good: no honest "
        "model gains that much."
    )


class FloorCheck(FrozenConfig):
    """One metric of the challenger against its floor."""

    output: str
    metric: str
    value: FiniteFloat
    interval: Interval = Field(description="Of the value; those of the whole gate hold at once.")
    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None
    verdict: FloorVerdict = Field(description="kept or broken: certainly; unclear: the interval reaches over a limit.")


class NotJudged(FrozenConfig):
    """Something that was not judged, or not compared."""

    output: str | None = Field(None, description="null: of all outputs.")
    metric: str | None = Field(None, description="null: all metrics of the output.")
    reason: str


class Decision(FrozenConfig):
    """Whether the challenger may replace the champion."""

    passed: bool
    reasons: tuple[str, ...] = Field(description="Why it was refused, one sentence each; empty if it passed.")
    warnings: tuple[str, ...] = Field((), description="What to know although it refuses nothing.")
    challenger_version: str
    champion_version: str | None = Field(None, description="null: there was none to compare with.")
    policy: str = Field(description="The one fusion policy by which both models' fused scores were made.")
    num_rows: int = Field(ge=0)
    num_clusters: int = Field(ge=0, description="What was resampled as a whole, in number.")
    unit: Unit
    confidence: float
    resamples: int
    comparisons: tuple[Comparison, ...] = ()
    floors: tuple[FloorCheck, ...] = ()
    not_compared: tuple[NotJudged, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON values."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Read back what `to_dict` gave.

        Raises:
            ValidationError: It is something else; names the field.
        """
        return cls.model_validate(content)

    def table(self) -> Table:
        """Every comparison for people, with the reasons below."""
        against = self.champion_version or "no champion"
        verdict = "passed" if self.passed else "refused"
        table = Table(title=f"Gate: {self.challenger_version} against {against}: {verdict}")
        for column in ("output", "metric", "champion", "challenger", "difference", "interval", "allowed", "verdict"):
            table.add_column(column, justify="left" if column in ("output", "metric", "verdict") else "right")
        for found in self.comparisons:
            figures = [f"{found.champion:.4f}", f"{found.challenger:.4f}", f"{found.difference:+.4f}"]
            table.add_row(
                found.output, found.metric, *figures, _shown(found.interval), f"-{found.allowed:.4f}", found.verdict
            )
        for check in self.floors:
            limits = f"{_limit(check.at_least)} to {_limit(check.at_most)}"
            figures = ["", f"{check.value:.4f}", "", _shown(check.interval, sign="")]
            table.add_row(check.output, check.metric, *figures, limits, check.verdict)
        notes = [f"{' '.join(filter(None, (n.output, n.metric)))}: {n.reason}" for n in self.not_compared]
        table.caption = "\n".join([*self.reasons, *self.warnings, *notes]) or None
        return table


def _shown(interval: Interval, sign: str = "+") -> str:
    return f"{interval[0]:{sign}.4f} to {interval[1]:{sign}.4f}"


def _limit(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"
