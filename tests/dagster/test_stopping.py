"""However a run is stopped, no process stays behind, and --resume goes on from its checkpoint."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from processes import checkpoints, children, session, until
from tiny import SMALL

STEPS = 20_000  # they never end by themselves
PROFILE = {
    "name": "stopped",
    "device": "cpu",
    "seeds": [0, 1],
    "catalog": {"source": {"kind": "generated", "products": 20}, "image_size": 28},
    "embedder": SMALL,
    "training": {"warmup_steps": STEPS, "batch_size": 8, "gradient_caching": False},
}
BASE = ("models", "base_embedder")
PATIENCE = 60


class Home:
    def __init__(self, folder: Path, **changes: object) -> None:
        self.folder, self.home = folder, folder / "home"
        self.config = folder / "stopped.yaml"
        self.config.write_text(yaml.safe_dump({**PROFILE, **changes}), encoding="utf-8")

    def run(self, select: str, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "afmrl_dagster", "run", "--config", str(self.config)]
        return subprocess.Popen(
            [*command, "--select", select, *more],
            env={**os.environ, "AFMRL_HOME": str(self.home), "DAGSTER_HOME": str(self.home / "dagster")},
            stdout=(self.folder / "log.txt").open("a"), stderr=subprocess.STDOUT, start_new_session=True,
            text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def seed_log(self, seed: int) -> str:
        log = self.home / "stopped" / f"seed_{seed}" / "log.txt"
        return log.read_text() if log.exists() else ""


def test_a_stopped_run_of_one_seed_says_so_and_goes_on(tmp_path: Path) -> None:
    home = Home(tmp_path, seeds=[0])
    checkpoint = home.home / "stopped" / "scratch" / Path(*BASE) / "checkpoint"
    process = home.run("*models/base_embedder")
    assert until(lambda: f"/{STEPS} [" in home.log, 240), home.log
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130, home.log
    assert "stopped; what is done is kept: run again with --resume" in home.log
    assert "Traceback" not in home.log and "FAILED" not in home.log
    assert list(checkpoint.glob("checkpoint-*"))
    assert until(lambda: not session(process.pid), PATIENCE), session(process.pid)


@pytest.mark.slow
def test_a_run_of_several_seeds_leaves_checkpoints_and_no_process_and_goes_on(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for number, status in ((signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        before = [checkpoints(home.home, "stopped", seed, *BASE) for seed in (0, 1)]
        logs = [len(home.seed_log(seed)) for seed in (0, 1)]
        process = home.run("*models/base_embedder", "--resume", "--parallel", "2")

        def trains(seed: int, logs: list[int] = logs) -> bool:
            return f"/{STEPS} [" in home.seed_log(seed)[logs[seed] :]

        assert until(lambda: trains(0) and trains(1), 240), home.log
        seeds = [child for child in children(process.pid) if session(child)]
        assert len(seeds) == 2
        process.send_signal(number)
        assert process.wait(PATIENCE) == status, home.log
        for leader in (process.pid, *seeds):
            assert until(lambda leader=leader: not session(leader), PATIENCE), session(leader)
        for seed in (0, 1):
            now = checkpoints(home.home, "stopped", seed, *BASE)
            assert now and now[-1] > max(before[seed], default=0), "the step under way left a checkpoint"
            # A training that began again would have removed it.
            assert set(before[seed][-1:]) <= set(now)
    assert "catalog/splits: done, kept" in home.log


def test_the_processes_that_render_a_catalog_end_with_a_killed_run(tmp_path: Path) -> None:
    source = {"kind": "generated", "products": 100_000}
    home = Home(tmp_path, seeds=[0], catalog={"source": source, "image_size": 28})
    process = home.run("catalog/raw_catalog")
    assert until(lambda: list(home.home.rglob("*.jpg")), PATIENCE), home.log
    assert len(session(process.pid)) > 1
    process.kill()
    process.wait()
    assert until(lambda: not session(process.pid), PATIENCE), session(process.pid)
