"""Three nights of the simulated fortnight: the first, a cut-off export, and MLflow going down meanwhile."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from test_ui import free_ports

ROOT = Path(__file__).resolve().parents[2]


def four_ports_in_a_row() -> int:
    """The first of four free ports that follow each other."""
    for first in free_ports(20):
        probes = [socket.socket() for _ in range(4)]
        try:
            for number, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + number))
            return first
        except (OSError, OverflowError):
            continue
        finally:
            for probe in probes:
                probe.close()
    raise OSError("no four free ports in a row")


@pytest.mark.slow
def test_every_morning_is_as_it_should_be(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.fortnight", "--nights", "1,3,9"]
    done = subprocess.run(
        [*command, "--work", str(tmp_path), "--port", str(four_ports_in_a_row())],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "3 of 3 mornings as they should be" in done.stdout
    assert "tracking store cannot be used" in done.stdout
