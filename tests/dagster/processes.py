"""What tests of real processes look at."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def session(leader: int) -> list[int]:
    """The living processes of a session."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "--sid", str(leader)], capture_output=True, text=True)
    rows = (line.split() for line in listed.stdout.splitlines())
    return [int(process) for process, state in rows if not state.startswith("Z")]


def children(process: int) -> list[int]:
    """The living children of a process."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,stat=", "--ppid", str(process)], capture_output=True, text=True
    )
    rows = (line.split() for line in listed.stdout.splitlines())
    return [int(child) for child, state in rows if not state.startswith("Z")]


def until(true: Callable[[], object], seconds: float) -> bool:
    """Wait until it is true; whether it became so in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.2)
    return False


def checkpoints(home: Path, profile: str, seed: int, *key: str) -> list[int]:
    """The steps after which the unfinished training of a seed's asset left checkpoints."""
    folder = home / profile / f"seed_{seed}" / "scratch" / Path(*key) / "checkpoint"
    return sorted(int(path.name.rpartition("-")[2]) for path in folder.glob("checkpoint-*"))
