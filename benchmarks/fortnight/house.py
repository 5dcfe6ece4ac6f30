"""The house the nights run in: a team's MLflow server, `afmrl ui`, and the runs that it starts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import psutil
import requests
from dagster_graphql import DagsterGraphQLClient

from benchmarks.fortnight.profile import NAME, write_profile
from benchmarks.fortnight.shop import Shop

ROOT = Path(__file__).resolve().parents[2]
JOB = "everything"
_STARTS_WITHIN, _RUNS_WITHIN, _TELLS_WITHIN = 240.0, 1800.0, 120.0
_ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


class HouseError(Exception):
    """What was waited for does not come."""


class House:
    """All of it below `work`, on four ports from `port` on."""

    def __init__(self, work: Path, port: int) -> None:
        self.work, self.home, self.port = work, work / "home", port
        self.config, self.alerts = work / "fortnight.yaml", self.home / NAME / "alerts.log"
        self.mlflow_url = f"http://127.0.0.1:{port + 3}"
        self.registry = work / "mlflow"
        self.logs = work / "logs"
        for folder in (self.home, self.registry, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        os.environ |= {
            "AFMRL_HOME": str(self.home),
            "AFMRL_CONFIG": str(self.config),
            "DAGSTER_HOME": str(self.home / "dagster"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            # MLflow's client would wait for a server that is down for four minutes at each step.
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        }
        self.shop = Shop(work / "shop")
        self._mlflow: subprocess.Popen | None = None
        self._ui: subprocess.Popen | None = None

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's records."""
        return dg.DagsterInstance.get()

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Write the profile with tonight's settings."""
        write_profile(self.config, self.shop.folder, self.mlflow_url, changes)

    def start_mlflow(self) -> None:
        """Start the team's MLflow server."""
        self._mlflow = self._start(
            "mlflow", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port + 3),
            "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.registry / 'mlflow.db'}",
            "--artifacts-destination", str(self.registry / "artifacts"),
        )  # fmt: skip
        _wait(lambda: _answers(f"{self.mlflow_url}/health"), _STARTS_WITHIN, "MLflow answers")

    def stop_mlflow(self) -> None:
        """Stop it."""
        _end(self._mlflow)

    def mlflow_is_up(self) -> bool:
        """Whether MLflow's server runs."""
        return self._mlflow is not None and self._mlflow.poll() is None

    def start_ui(self) -> None:
        """`afmrl ui`: pages, sensors and the queue of runs."""
        self._ui = self._start(
            "ui", "afmrl_dagster", "ui", "--config", str(self.config), "--port", str(self.port),
            "--mlflow-port", str(self.port + 1), "--docs-port", str(self.port + 2),
        )  # fmt: skip
        address = f"http://127.0.0.1:{self.port}/server_info"
        _wait(lambda: _answers(address), _STARTS_WITHIN, "Dagster answers")

    def stop(self) -> None:
        """Stop all."""
        _end(self._ui)
        _end(self._mlflow)

    def cut_power(self) -> None:
        """Kill `afmrl ui` and all that it started, the night's run among it, at once."""
        if self._ui is not None:
            for process in [
                *psutil.Process(self._ui.pid).children(recursive=True),
                psutil.Process(self._ui.pid),
            ]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._ui.wait()

    def launch(self) -> str:
        """Queue what the schedule `nightly` queues; the run's id."""
        client = DagsterGraphQLClient("127.0.0.1", port_number=self.port)
        return client.submit_job_execution(JOB, tags={"afmrl/night": "begins"})

    def wait_for_step(self, run_id: str, step: str, kind: dg.DagsterEventType) -> None:
        """Wait for this event of a step. Raises HouseError where the run ends before."""

        def seen() -> bool:
            if self.status(run_id) in _ENDED:
                raise HouseError(f"run {run_id} ended before {step}")
            records = self.instance.get_records_for_run(run_id, of_type=kind, limit=1000).records
            return any(record.event_log_entry.step_key == step for record in records)

        _wait(seen, _RUNS_WITHIN, f"{step} of run {run_id[:8]}", every=0.2)

    def runs_under_way(self) -> list[str]:
        """Names of the MLflow runs that say they are under way."""
        return [str(r.info.run_name) for r in self._mlflow_runs("attributes.status = 'RUNNING'")]

    def wait_for_training(self, run_id: str, asset: str) -> None:
        """Wait until the asset is being trained. Raises HouseError where the run ends before."""
        self.wait_for_step(run_id, asset.replace("/", "__"), dg.DagsterEventType.STEP_START)
        trains = f"{asset} of run {run_id[:8]} to train"
        _wait(lambda: self._curve(run_id, asset), _STARTS_WITHIN, trains, every=0.2)

    def _curve(self, run_id: str, asset: str) -> bool:
        """Whether the asset's training has logged a step."""
        found = self._mlflow_runs(f"tags.`dagster.asset` = '{asset}' and tags.`dagster.run_id` = '{run_id}'")
        return any("train/loss" in run.data.metrics for run in found)

    def _mlflow_runs(self, wanted: str) -> list[mlflow.entities.Run]:
        client = mlflow.MlflowClient(self.mlflow_url)
        experiment = client.get_experiment_by_name(NAME)
        return [] if experiment is None else list(client.search_runs([experiment.experiment_id], wanted))

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        """How the run is."""
        run = self.instance.get_run_by_id(run_id)
        if run is None:
            raise HouseError(f"Dagster knows no run {run_id}")
        return run.status

    def wait_for_end(self, run_id: str) -> dg.DagsterRunStatus:
        """Wait until the run has ended; how."""
        _wait(lambda: self.status(run_id) in _ENDED, _RUNS_WITHIN, f"end of run {run_id[:8]}")
        return self.status(run_id)

    def process_of(self, run_id: str) -> int:
        """The process that executes the run."""
        run = self.instance.get_run_by_id(run_id)
        return int(run.tags["afmrl/process"].split(":")[1]) if run else -1

    def kill(self, run_id: str) -> None:
        """SIGKILL to the process of the run, as from the kernel when memory is short."""
        os.kill(self.process_of(run_id), signal.SIGKILL)

    def resume(self) -> str:
        """`afmrl run --resume` at a terminal; the run's id. Raises HouseError where it fails."""
        before = {run.run_id for run in self.instance.get_runs()}
        command = [sys.executable, "-m", "afmrl_dagster", "run", "--config", str(self.config), "--resume"]
        with (self.logs / "resume.log").open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=log, cwd=ROOT, check=False)
        (made,) = {run.run_id for run in self.instance.get_runs()} - before
        if done.returncode:
            raise HouseError(f"`afmrl run --resume` failed: see {self.logs / 'resume.log'}")
        return made

    def told(self, run_id: str, *words: str) -> list[str]:
        """Lines of alerts.log about the run; the sensors get two minutes to say all of `words`."""

        def lines() -> list[str]:
            text = self.alerts.read_text(encoding="utf-8") if self.alerts.exists() else ""
            return [line for line in text.splitlines() if run_id in line]

        with suppress(HouseError):
            _wait(lambda: all(word in " ".join(lines()) for word in words), _TELLS_WITHIN, "a line")
        return lines()

    def _start(self, name: str, *command: str) -> subprocess.Popen:
        with (self.logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command], stdout=log, stderr=log, cwd=ROOT, start_new_session=True
            )


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def _wait(holds: Callable[[], bool], patience: float, what: str, every: float = 0.5) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            raise HouseError(f"waited {patience:.0f} s in vain: {what}")
        time.sleep(every)


def _end(process: subprocess.Popen | None) -> None:
    if process is not None and process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
