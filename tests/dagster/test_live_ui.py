"""`afmrl ui` as people use it: a round back-filled over the seeds, a run terminated, the whole killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from processes import checkpoints, children, session, until
from tiny import PAIR

PROFILE = {**PAIR, "name": "live"}
LOCATION = {"repositoryLocationName": "afmrl_dagster.definitions", "repositoryName": "__repository__"}
EMBEDDER = ("round_0", "embedder")
LOADED = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
BACKFILL = """mutation($of: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $of) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
LAUNCH = """mutation($of: ExecutionParams!) { launchRun(executionParams: $of) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
TERMINATE = """mutation($of: String!) { terminateRun(runId: $of) { __typename } }"""


class Live:
    """A home in which everything before round_0 is made, and its `afmrl ui`."""

    def __init__(self, folder: Path) -> None:
        self.config, self.home = folder / "live.yaml", folder / "home"
        self.config.write_text(yaml.safe_dump(PROFILE), encoding="utf-8")
        self.environment = {
            **os.environ,
            "AFMRL_HOME": str(self.home),
            "DAGSTER_HOME": str(self.home / "dagster"),
        }
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            for probe in (first, second, third):
                probe.bind(("127.0.0.1", 0))
            self.ports = [probe.getsockname()[1] for probe in (first, second, third)]
        self.log = folder / "log.txt"

    def start(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "afmrl_dagster", command, "--config", str(self.config), *arguments],
            env=self.environment, stdout=self.log.open("a"), stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def serve(self) -> subprocess.Popen[bytes]:
        names = ("--port", "--mlflow-port", "--docs-port")
        return self.start("ui", *(f"{n}={port}" for n, port in zip(names, self.ports, strict=True)))

    def ask(self, query: str, **variables: object) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[0]}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def is_loaded(self) -> bool:
        try:
            return bool(self.ask(LOADED)["repositoriesOrError"].get("nodes"))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def runs(self, **filters: Any) -> list[dg.DagsterRun]:
        with dg.DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            return list(instance.get_runs(dg.RunsFilter(**filters)))

    def made_by(self, seed: int, *key: str) -> str:
        return (self.home / "live" / f"seed_{seed}" / Path(*key) / ".dagster_run").read_text()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    live = Live(tmp_path_factory.mktemp("live"))
    made = live.start("run", "--select", "group:catalog or group:attributes or group:models")
    assert made.wait(600) == 0, live.log.read_text()
    ui = live.serve()
    try:
        assert until(live.is_loaded, 180), live.log.read_text()
        yield live
    finally:
        # Whoever starts `afmrl ui` may be killed, too: nothing stays behind.
        leaders = children(ui.pid)
        os.kill(ui.pid, signal.SIGKILL)
        ui.wait()
        assert len(leaders) == 3
        assert until(lambda: not any(map(session, leaders)), 90), [session(leader) for leader in leaders]


@pytest.mark.slow
def test_a_round_is_back_filled_over_the_seeds(live: Live) -> None:
    of_round = {
        "selector": {"repositorySelector": LOCATION, "partitionSetName": "round_0_partition_set"},
        "partitionNames": ["seed_0", "seed_1"],
    }
    asked = live.ask(BACKFILL, of=of_round)["launchPartitionBackfill"]
    assert asked["__typename"] == "LaunchBackfillSuccess", asked
    tags = {"dagster/backfill": asked["backfillId"]}

    def ended() -> bool:
        runs = live.runs(tags=tags)
        return len(runs) == 2 and all(run.is_finished for run in runs)

    assert until(ended, 400), live.log.read_text()[-5000:]
    by_partition = {run.tags["dagster/partition"]: run for run in live.runs(tags=tags)}
    for seed in (0, 1):
        run = by_partition[f"seed_{seed}"]
        assert (run.job_name, run.status) == ("round_0", dg.DagsterRunStatus.SUCCESS)
        for name in ("attribute_generator", "product_attributes", "embedder", "retrieval_metrics"):
            assert live.made_by(seed, "round_0", name) == run.run_id
    assert not (live.home / "live" / "seed_0" / "round_1").exists()


@pytest.mark.slow
def test_a_run_terminated_in_the_ui_leaves_a_checkpoint_and_no_process_and_goes_on(live: Live) -> None:
    steps = 20_000

    def launch() -> str:
        asked = live.ask(
            LAUNCH,
            of={
                "selector": {**LOCATION, "pipelineName": "round_0", "assetSelection": [{"path": EMBEDDER}]},
                "mode": "default",
                "runConfigData": {"ops": {"round_0__embedder": {"config": {"training": {"steps": steps}}}}},
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "seed_0"}]},
            },
        )["launchRun"]
        assert asked["__typename"] == "LaunchRunSuccess", asked
        return asked["run"]["runId"]

    def terminate(run_id: str, after_step: int) -> int:
        """The step after which it left a checkpoint."""
        with dg.DagsterInstance.from_config(str(live.home / "dagster")) as instance:

            def said(words: str) -> bool:
                return any(words in (entry.user_message or "") for entry in instance.all_logs(run_id))

            def has_exited() -> bool:
                return any("Process for run exited" in entry.message for entry in instance.all_logs(run_id))

            def trains() -> bool:
                bars = live.home.glob(f"dagster/storage/{run_id}/compute_logs/*.err")
                return any(f"/{steps} [" in path.read_text() for path in bars)

            assert until(trains, 180), live.log.read_text()[-5000:]
            if after_step:
                assert said(f"goes on from checkpoint-{after_step}")
            assert live.ask(TERMINATE, of=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"
            assert until(lambda: live.runs(run_ids=[run_id])[0].is_finished, 60)
            assert live.runs(run_ids=[run_id])[0].status == dg.DagsterRunStatus.CANCELED
            assert until(has_exited, 30)
        assert until(lambda: not processes_of(run_id), 30), processes_of(run_id)
        return checkpoints(live.home, "live", 0, *EMBEDDER)[-1]

    def processes_of(run_id: str) -> list[str]:
        listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True)
        return [line for line in listed.stdout.splitlines() if run_id in line]

    before = live.made_by(0, *EMBEDDER)
    first = terminate(launch(), 0)
    assert 0 < first < steps
    assert terminate(launch(), first) > first
    assert live.made_by(0, *EMBEDDER) == before, "what was made before stays in force"
