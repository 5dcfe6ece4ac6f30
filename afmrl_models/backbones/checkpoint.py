"""Saving a model and its processor as one checkpoint directory."""

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
