"""Worker processes kept alive: forked from one that has everything loaded, and forked again when one dies."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from time import monotonic
from typing import NoReturn

logger = logging.getLogger(__name__)

_SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})
_YOUNG_SECONDS = 1.0  # a worker that dies sooner has not served anybody
_LONGEST_PAUSE = 5.0


class Supervisor:
    """Forks workers, replaces those that die, and ends with them.

    The process must have no threads that matter and no event loop when `run` is called. A worker that dies is replaced
    at once; one that dies young again and again is given more and more time, up to some seconds.

    Args:
        work: What a worker does, in its own process: called with its place, from 0, and a file descriptor that can be
            read from as soon as this supervisor has gone. Returns its exit code.
        num_workers: How many there are.
        patience_seconds: How long workers may take to end before they are killed.
        release: Called when they are told to end: lets go of what only they shall hold now, like a listening socket.
    """

    def __init__(
        self, work: Callable[[int, int], int], num_workers: int, patience_seconds: float, release: Callable[[], None]
    ) -> None:
        self._work = work
        self._num_workers = num_workers
        self._patience_seconds = patience_seconds
        self._release = release
        self._workers: dict[int, tuple[int, float]] = {}  # place and time of birth by pid
        self._due: dict[int, float] = {}  # when a place gets a worker again
        self._num_young_deaths = 0
        self._stopping_until: float | None = None
        self._lifeline, self._held = os.pipe()

    def run(self) -> int:
        """Keep the workers alive until SIGTERM or SIGINT; then end them, at once if told again.

        Returns:
            Exit code: 0 if all workers ended by themselves, else 1.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._due = dict.fromkeys(range(self._num_workers), 0.0)
        clean = True
        while self._workers or self._stopping_until is None:
            self._start_due()
            received = signal.sigtimedwait(_SIGNALS, self._wait_seconds())
            if received is not None and received.si_signo != signal.SIGCHLD:
                self._stop()
            clean &= self._reap()
            self._kill_late()
        return 0 if clean else 1

    def _start_due(self) -> None:
        for place in [place for place, due in self._due.items() if due <= monotonic()]:
            del self._due[place]
            pid = os.fork()
            if pid == 0:
                self._become_worker(place)
            self._workers[pid] = (place, monotonic())
            logger.info("worker started", extra={"worker": place, "pid": pid})

    def _become_worker(self, place: int) -> NoReturn:
        code = 1
        try:
            os.close(self._held)  # the supervisor's end must be the only one
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            code = self._work(place, self._lifeline)
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 1
        except BaseException:  # nothing may unwind into what the supervisor was doing when it forked
            logger.exception("worker failed", extra={"worker": place})
        finally:
            os._exit(code)

    def _wait_seconds(self) -> float:
        moments = [*self._due.values(), *([] if self._stopping_until is None else [self._stopping_until])]
        return max(0.0, min(moments, default=monotonic() + 3600.0) - monotonic())

    def _stop(self) -> None:
        logger.info("stopping workers", extra={"workers": len(self._workers)})
        again = self._stopping_until is not None
        self._stopping_until = self._stopping_until or monotonic() + self._patience_seconds
        self._due.clear()
        self._release()
        self._signal(signal.SIGKILL if again else signal.SIGTERM)

    def _kill_late(self) -> None:
        if self._stopping_until is not None and monotonic() >= self._stopping_until:
            self._signal(signal.SIGKILL)
            self._stopping_until = monotonic() + self._patience_seconds

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)  # a worker that has died is there until it is reaped

    def _reap(self) -> bool:
        """Take note of workers that have died; whether all of them meant to."""
        clean = True
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            place, born = self._workers.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            if self._stopping_until is None:
                self._replace(place, pid, code, monotonic() - born)
            else:
                clean &= code == 0
        return clean

    def _replace(self, place: int, pid: int, code: int, age_seconds: float) -> None:
        self._num_young_deaths = self._num_young_deaths + 1 if age_seconds < _YOUNG_SECONDS else 0
        pause = min(0.1 * 2**self._num_young_deaths, _LONGEST_PAUSE) if self._num_young_deaths else 0.0
        self._due[place] = monotonic() + pause
        logger.error("worker died", extra={"worker": place, "pid": pid, "exit_code": code, "again_in_seconds": pause})
