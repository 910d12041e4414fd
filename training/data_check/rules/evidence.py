"""All that a rule may look at, and how a figure becomes a finding."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ranker.encoding import Encoder
from training.data_check.config import CheckName, DataCheckConfig, Limits, Severity, Switch
from training.data_check.data_profile import DataProfile, Rate
from training.data_check.report import Finding


@dataclass(frozen=True, slots=True)
class Evidence:
    """One night, and those it is compared with.

    Attributes:
        profile: Of the night.
        references: Of earlier nights, the latest last; may be empty.
        config: Limits.
        date: The day asked for.
        encoder: Of the live model, if there is one.
        champion_auc: AUC of the live model by task.
    """

    profile: DataProfile
    references: Sequence[DataProfile]
    config: DataCheckConfig
    date: dt.date
    encoder: Encoder | None
    champion_auc: Mapping[str, float]

    @property
    def latest(self) -> DataProfile | None:
        """The night before; None on the first night."""
        return self.references[-1] if self.references else None

    def beyond_chance(self, rate: Rate, others: Sequence[Rate]) -> bool:
        """Whether a rate differs from the median of others by more than chance explains.

        The median of others is taken to be as uncertain as one of them: they are nights of their own, too.
        """
        typical = typical_rate(others)
        error = math.hypot(rate.standard_error, typical.standard_error)
        return abs(rate.value - typical.value) > self.config.sigmas * error


def typical_rate(rates: Sequence[Rate]) -> Rate:
    """The median of some rates, and of their standard errors."""
    return Rate(
        value=median(rate.value for rate in rates), standard_error=median(rate.standard_error for rate in rates)
    )


def graded(check: CheckName, subject: str, value: float, limits: Limits, message: str) -> Iterator[Finding]:
    """A finding if the value is beyond a limit; `message` may say {limit}."""
    severities: tuple[Severity, ...] = ("error", "warning")
    for severity, limit in zip(severities, (limits.error, limits.warning), strict=True):
        if limit is not None and value > limit:
            text = message.replace("{limit}", f"{limit:g}")
            yield Finding(severity=severity, check=check, subject=subject, message=text, value=value, limit=limit)
            return


def switched(
    check: CheckName, subject: str, switch: Switch, message: str, value: float = 1.0, limit: float = 0.0
) -> Iterator[Finding]:
    """A finding unless the check is off."""
    if switch != "off":
        yield Finding(severity=switch, check=check, subject=subject, message=message, value=value, limit=limit)
