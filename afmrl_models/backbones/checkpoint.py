"""Saving a model and its processor as one checkpoint directory, and telling saved models apart."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any


def save_checkpoint(model: Any, processor: Any, out: Path) -> None:
    """Write both under a temporary name, then rename: `out` is replaced whole, and never seen half."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    processor.save_pretrained(partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def checkpoint_digest(directory: Path) -> str:
    """16 digits of the sha256 of a saved model's files, names and bytes: another model has another one."""
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(directory).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]
