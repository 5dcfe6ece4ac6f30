"""Interrupts that wait until something is in order."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """SIGINT and SIGTERM in the block `waiting`: the first waits for `let_go`, the second does not."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._came: int | None = None

    @property
    def came(self) -> bool:
        """Whether an interrupt waits."""
        return self._came is not None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let interrupts wait; one that still waits at the end of the block comes then."""
        # Only the main thread may set handlers, and only it is interrupted.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._wait)
        try:
            yield
        except BaseException:
            self._restore()
            raise
        self.let_go()

    def let_go(self) -> None:
        """Handle interrupts as before the block from now on, first the one that waits."""
        self._restore()
        came, self._came = self._came, None
        if came is not None:
            signal.raise_signal(came)

    def _wait(self, number: int, _frame: FrameType | None) -> None:
        if self._came is not None:
            self.let_go()
            return
        self._came = number
        logger.warning("interrupted: stops when the step under way has left a checkpoint")

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
