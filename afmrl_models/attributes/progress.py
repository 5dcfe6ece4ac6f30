"""How far long work has come: a bar on a terminal, elsewhere a line in the log from time to time."""

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

LOG_EVERY_SECONDS = 30.0

logger = logging.getLogger(__name__)


def progress_of(what: str, total: int, *, done: int = 0, enabled: bool = True) -> "tqdm | ProgressLog":
    """A context manager with `update(n)`: a bar where stderr is a terminal, else a `ProgressLog`.

    done: how many of `total` listings were there before this run.
    """
    if enabled and not sys.stderr.isatty():
        return ProgressLog(what, total, done)
    return tqdm(total=total, initial=done, desc=what, unit="listing", disable=not enabled)


class ProgressLog:
    """Logs share, rate and an estimate of the end every `LOG_EVERY_SECONDS`, and the rate at the end."""

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self._what, self._total, self._before, self._done = what, total, done, done
        self._start = self._logged = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log()

    def update(self, count: int) -> None:
        """Count further listings as done."""
        self._done += count
        if time.monotonic() - self._logged >= LOG_EVERY_SECONDS:
            self._log()

    def _log(self) -> None:
        self._logged = time.monotonic()
        seconds, here = self._logged - self._start, self._done - self._before
        rate = here / seconds if seconds > 0 else 0.0
        left = self._total - self._done
        estimate = f", {tqdm.format_interval(left / rate)} left" if left and rate else ""
        logger.info(
            "%s: %d of %d listings, %.1f a second%s", self._what, self._done, self._total, rate, estimate
        )
