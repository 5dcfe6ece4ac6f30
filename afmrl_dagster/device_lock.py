"""One step at a time on a GPU, whichever run, process, profile or AFMRL_HOME it is of.

The lock is the operating system's, so that a killed process lets go of it. (Dagster's concurrency pools keep
their slot when a process is killed, and know the runs of one Dagster home only.)
"""

import gc
import getpass
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

_POLL = 0.5
_TOLD_EVERY = 600.0


@dataclass
class _Step:
    holder: str
    log: logging.Logger
    stack: ExitStack
    held: set[str] = field(default_factory=set)


_under_way: ContextVar[_Step | None] = ContextVar("step under way", default=None)


def lock_folder() -> Path:
    """Where the locks lie: AFMRL_LOCKS, or a folder of this user among the machine's temporary files."""
    named = os.environ.get("AFMRL_LOCKS")
    return Path(named) if named else Path(tempfile.gettempdir()) / f"afmrl-{getpass.getuser()}"


@contextmanager
def one_step(holder: str, log: logging.Logger) -> Iterator[None]:
    """A step that may `take` devices, and lets go of them at its end. holder: what others are told of it."""
    with ExitStack() as stack:
        token = _under_way.set(_Step(holder, log, stack))
        try:
            yield
        finally:
            _under_way.reset(token)


def take(device: str) -> None:
    """Wait until no other step uses the device (`cpu`; `cuda`: all GPUs this process sees), then hold it.

    Does nothing outside a step. While it waits, the step's log says who holds the device.
    """
    step = _under_way.get()
    if step is None:
        return
    for name in _names(device):
        if name not in step.held:
            step.stack.enter_context(_held(name, step))
            step.held.add(name)


def _names(device: str) -> list[str]:
    """Of each piece of hardware, in one order for all processes, so that no two wait for each other."""
    if device == "cpu":
        return ["cpu"]
    import torch

    def identity(number: int) -> str:
        properties: Any = torch.cuda.get_device_properties(number)
        return f"gpu-{getattr(properties, 'uuid', number)}"

    return sorted(map(identity, range(torch.cuda.device_count())))


@contextmanager
def _held(name: str, step: _Step) -> Iterator[None]:
    folder = lock_folder()
    folder.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(folder / f"{name}.lock"), folder / f"{name}.holder"
    wait = 0.0
    while True:
        try:
            lock.acquire(timeout=wait, poll_interval=_POLL)
            break
        except Timeout:
            wait = _TOLD_EVERY
            holder = note.read_text(encoding="utf-8") if note.exists() else "another process"
            what = "CPU" if name == "cpu" else "GPU"
            step.log.warning("waiting for the %s, held by %s", what, holder)
    try:
        note.write_text(f"{step.holder}, process {os.getpid()}", encoding="utf-8")
        yield
    finally:
        if name != "cpu":
            _free_memory()
        note.unlink(missing_ok=True)
        lock.release()


def _free_memory() -> None:
    """Hand back what the ended step's models took: the next one may be of another process."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
