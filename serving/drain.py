"""Whether a server is about to stop."""

from __future__ import annotations


class Drain:
    """Set once, when the server is told to stop: it is not ready any more, and finishes what it has accepted."""

    def __init__(self) -> None:
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether the server was told to stop."""
        return self._draining

    def begin(self) -> None:
        """The server was told to stop."""
        self._draining = True
