"""Folders that are complete or not there at all, also after a kill in the middle of the writing."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from afmrl_models.catalog.errors import CatalogError

_STAGED = ".ingest.partial"
_READY = ".ingest.ready"


@contextmanager
def staged(out: Path, names: Sequence[str]) -> Iterator[Path]:
    """A folder to write `names` into; when the block succeeds, they take the places of those in `out`.

    One process at a time: the lock goes with the process, so a killed one blocks nobody. What it left is
    removed, or, if it was killed between the files' moves, brought to its end. While files move, the last
    of `names` is missing: a reader sees an old set, a new one, or none. Raises CatalogError if another
    process is writing.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        _install(out, names)
        staged, ready = out / _STAGED, out / _READY
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        try:
            yield staged
            staged.rename(ready)
            _install(out, names)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _install(out: Path, names: Sequence[str]) -> None:
    """Move what is ready to its place; whatever of it was moved before stays."""
    ready = out / _READY
    if not ready.is_dir():
        return
    if (ready / names[-1]).exists():
        (out / names[-1]).unlink(missing_ok=True)
    for name in names:
        if not (ready / name).exists():
            continue
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        (ready / name).rename(target)
    shutil.rmtree(ready)


@contextmanager
def made_once(folder: Path) -> Iterator[Path | None]:
    """None if `folder` is there; else an empty one to fill, which becomes `folder` when the block succeeds.

    Processes that want the same folder wait for each other; what a killed one left is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent, wait=True):
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        if folder.is_dir():
            yield None
            return
        partial.mkdir()
        try:
            yield partial
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise CatalogError(f"{folder}: another run is writing into it") from None
        yield
    finally:
        os.close(handle)
