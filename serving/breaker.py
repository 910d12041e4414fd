"""A circuit breaker: what keeps failing is left alone for a while, so that callers do not wait for it in vain."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from pydantic import Field

from ranker.frozen_config import FrozenConfig

logger = logging.getLogger(__name__)


class Breaker:
    """Closed, calls pass. After some failures in a row it opens: no call passes until a pause is over.

    Then it is half open: one call passes, and what becomes of it closes the breaker, or opens it for another pause.
    Nygard, "Release It!", 2nd edition, 2018, chapter 5. Used by one event loop; a call is one `allows` and then one of
    `succeeded`, `failed` and `abandoned`.

    Args:
        config: When it opens, and for how long.
        tell: Called with True when it opens and with False when it closes.
        clock: Seconds that only grow.
    """

    class Config(FrozenConfig):
        """Options of `Breaker`."""

        failures: int = Field(5, ge=1, description="Failures in a row after which the store is left alone.")
        pause_seconds: float = Field(1.0, gt=0, description="How long it is left alone before one request tries it.")

    def __init__(self, config: Config, tell: Callable[[bool], None], clock: Callable[[], float] = monotonic) -> None:
        self._config = config
        self._tell = tell
        self._clock = clock
        self._num_failures = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are kept away; also while a single one tries."""
        return self._open_until is not None

    def allows(self) -> bool:
        """Whether a call may be made now. Who is told so has to say how it went."""
        if self._open_until is None:
            return True
        if self._probing or self._clock() < self._open_until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """A call went well."""
        if self._open_until is not None:
            logger.info("the feature store answers again")
            self._tell(False)
        self._num_failures, self._open_until, self._probing = 0, None, False

    def failed(self) -> None:
        """A call went wrong."""
        self._num_failures += 1
        if self._probing or self._num_failures >= self._config.failures:
            if self._open_until is None:
                logger.error("the feature store is left alone", extra={"failures_in_a_row": self._num_failures})
                self._tell(True)
            self._open_until, self._probing = self._clock() + self._config.pause_seconds, False

    def abandoned(self) -> None:
        """A call ended before it was known how it went."""
        self._probing = False
