"""What every asset is computed in: missing inputs, the network that fails, a device that is not shared."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
import yaml

from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.execution import failure_reason
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.retries import is_transient, seconds_before
from afmrl_dagster.seeds import EVERYTHING
from afmrl_dagster.step import step
from afmrl_models.errors import UserError

PROFILE = {"name": "mine", "device": "cpu", "catalog": {"source": {"kind": "generated", "products": 8}}}


def configured(folder: Path, **changes: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**PROFILE, **changes}), encoding="utf-8")
    return path


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [failure_reason(event) for event in result.all_events if event.is_step_failure]


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_an_upstream_asset_that_was_never_made_is_named_with_what_to_run(
    tmp_path: Path, seeds: list[int]
) -> None:
    definitions = build_definitions(configured(tmp_path, seeds=seeds), tmp_path / "home")
    job = definitions.resolve_job_def(EVERYTHING if len(seeds) == 1 else "seeds")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(["round_0", "attribute_generator"])],
            partition_key=None if len(seeds) == 1 else "seed_1",
            raise_on_error=False,
        )
    (reason,) = failures(result)
    assert reason.startswith("attributes/teacher_attributes was never made (there is no ")
    assert reason.endswith("mine.yaml --resume --select '*attributes/teacher_attributes'")
    assert "\n" not in reason


def test_a_run_bears_its_profile_whoever_started_it(tmp_path: Path) -> None:
    definitions = build_definitions(configured(tmp_path), tmp_path / "home")
    # The second one is that of a selection of assets in the UI.
    for job in (EVERYTHING, "__ASSET_JOB"):
        with dg.DagsterInstance.ephemeral() as instance:
            result = definitions.resolve_job_def(job).execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(["round_0", "attribute_generator"])],
                raise_on_error=False,
            )
            run = instance.get_run_by_id(result.run_id)
            assert run is not None and run.tags["afmrl/profile"] == "mine"
            assert not result.success  # failed ones, too: for these an alert asks whose they are


def run_once(folder: Path, compute: Callable[[], None], **runs: object) -> dg.ExecuteInProcessResult:
    @dg.asset
    @step
    def made(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        compute()
        return dg.MaterializeResult()

    config = configured(folder, runs={"retry_after": 0.01, **runs})
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [made],
            instance=instance,
            resources={"pipeline": Pipeline(config_path=str(config), home=str(folder))},
            raise_on_error=False,
        )


@contextmanager
def server(answers: list[int]) -> Iterator[str]:
    """Answers with these statuses, one after the other."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = answers.pop(0) if self.command == "GET" else answers[0]
            body = b"id,title\n"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()


@pytest.mark.parametrize("failing", [[503], [500, 429]])
def test_a_catalog_server_that_fails_and_then_works_is_asked_again(
    tmp_path: Path, failing: list[int]
) -> None:
    from afmrl_models.catalog.remote import fetch_table

    answers = [*failing, 200]
    with server(answers) as url:
        result = run_once(tmp_path, lambda: fetch_table(f"{url}/listings.csv", tmp_path))
    assert result.success
    assert answers == []
    retries = [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert len(retries) == len(failing)


@pytest.mark.parametrize("status", [404, 403])
def test_what_the_server_refuses_is_not_asked_again(tmp_path: Path, status: int) -> None:
    from afmrl_models.catalog.remote import fetch_table

    answers = [status, 200]
    with server(answers) as url:
        result = run_once(tmp_path, lambda: fetch_table(f"{url}/listings.csv", tmp_path))
        (reason,) = failures(result)
        assert reason.startswith(f"{url}/listings.csv: ")
    assert answers == [200]


def test_a_server_that_stays_down_is_given_up_with_the_users_message(tmp_path: Path) -> None:
    from afmrl_models.catalog.remote import fetch_table

    answers = [503] * 9
    with server(answers) as url:
        result = run_once(tmp_path, lambda: fetch_table(f"{url}/listings.csv", tmp_path), retries=2)
        (reason,) = failures(result)
        assert reason.startswith(f"{url}/listings.csv: cannot be read: ") and "\n" not in reason
    assert len(answers) == 6


@pytest.mark.parametrize(
    "error",
    [
        UserError("a wrong column"),
        RuntimeError("CUDA out of memory"),
        FileNotFoundError("x"),
        ValueError("nan"),
    ],
)
def test_a_users_mistake_and_a_failed_training_are_not_tried_again(tmp_path: Path, error: Exception) -> None:
    tries = []

    def fail() -> None:
        tries.append(1)
        raise error

    assert not run_once(tmp_path, fail).success
    assert len(tries) == 1


def test_the_network_is_recognised_behind_other_errors() -> None:
    import httpx
    import openai
    import requests

    def wrapped(cause: Exception) -> Exception:
        try:
            try:
                raise cause
            except Exception as error:
                raise UserError("the store cannot be used") from error
        except UserError as error:
            return error

    request = httpx.Request("POST", "http://127.0.0.1:1")
    for cause in (
        requests.exceptions.ConnectTimeout(),
        openai.APIConnectionError(request=request),
        openai.InternalServerError("", response=httpx.Response(502, request=request), body=None),
        ConnectionRefusedError(),
        TimeoutError(),
    ):
        assert is_transient(cause) and is_transient(wrapped(cause)), cause
    refused = openai.AuthenticationError("", response=httpx.Response(401, request=request), body=None)
    for cause in (refused, OSError(28, "No space left on device"), KeyError("x")):
        assert not is_transient(cause) and not is_transient(wrapped(cause)), cause


def test_an_mlflow_server_that_cannot_be_reached_is_transient(tmp_path: Path) -> None:
    from afmrl_models.registry.tracking import Tracking, TrackingError

    with pytest.raises(TrackingError) as raised:
        Tracking("http://127.0.0.1:9", tmp_path, "mine").experiment_id()
    assert is_transient(raised.value)


def test_waits_double_and_differ() -> None:
    for retry in range(4):
        waits = {seconds_before(retry, 10) for _ in range(20)}
        assert 5 * 2**retry <= min(waits) < max(waits) <= 10 * 2**retry


STEPS = """
import sys, time
import dagster as dg
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.step import step

def asset(name):
    @dg.asset(name=name)
    @step
    def made(context: dg.AssetExecutionContext, pipeline: Pipeline):
        pipeline.device()
        begin = time.monotonic()
        time.sleep(0.3)
        print("interval", begin, time.monotonic(), flush=True)
        return dg.MaterializeResult()
    return made

pipeline = Pipeline(config_path=sys.argv[1], home=sys.argv[2])
assert dg.materialize([asset("one"), asset("two")], resources={"pipeline": pipeline}).success
"""


def intervals(config: Path, home: Path) -> list[list[tuple[float, float]]]:
    """Of two processes at once, each a Dagster run of two steps that ask for the device."""
    command = [sys.executable, "-c", STEPS, str(config), str(home)]
    environment = {**os.environ, "AFMRL_LOCKS": str(home / "locks")}
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return [
        [tuple(map(float, line.split()[1:])) for line in output.splitlines() if line.startswith("interval")]
        for output in outputs
    ]


def test_two_runs_at_once_never_use_the_device_together(tmp_path: Path) -> None:
    used = intervals(configured(tmp_path, runs={"device_lock": "always"}), tmp_path)
    assert [len(of_run) for of_run in used] == [2, 2]
    for (_, end), (begin, _) in pairwise(sorted(used[0] + used[1])):
        assert end <= begin


HOLDER = """
import logging, sys, time
from afmrl_dagster.device_lock import one_step, take
logging.basicConfig(stream=sys.stdout, format="%(message)s")
with one_step(sys.argv[1], logging.getLogger()):
    take("cpu")
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_who_waits_is_told_who_holds_the_device_and_a_killed_process_lets_go(tmp_path: Path) -> None:
    def start(holder: str, seconds: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", HOLDER, holder, str(seconds)],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "AFMRL_LOCKS": str(tmp_path)},
        )  # fmt: skip

    first = start("run 1234 (round_0/embedder of mine)", 600)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    second = start("run 5678", 0)
    assert second.stdout is not None
    told = second.stdout.readline()
    assert told.startswith("waiting for the CPU, held by run 1234 (round_0/embedder of mine), process ")
    os.kill(first.pid, signal.SIGKILL)
    killed = time.monotonic()
    assert second.stdout.readline() == "held\n"
    assert time.monotonic() - killed < 30
    assert second.wait(timeout=30) == 0
    first.wait()


def test_a_cpu_is_shared_unless_asked_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from afmrl_dagster import device_lock

    taken = []
    monkeypatch.setattr(device_lock, "take", taken.append)
    for lock in ("gpu", "always"):
        config = configured(tmp_path, runs={"device_lock": lock})
        Pipeline(config_path=str(config), home=str(tmp_path)).device()
    assert taken == ["cpu"]
