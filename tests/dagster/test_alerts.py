"""What is told of failed, killed and doubtful runs: the log always, a webhook where one is named."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from afmrl_dagster.alerts import examine
from afmrl_dagster.execution import cancel_dead_runs, failure_in_brief, this_process
from afmrl_dagster.sensors import watch
from afmrl_models.config import Profile
from afmrl_models.errors import UserError


class Webhook:
    """A chat program's address: what it was sent; `statuses` are its answers, 200 after the last."""

    def __init__(self) -> None:
        self.received: list[dict] = []
        self.statuses: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.received.append(json.loads(body))
                self.send_response(hook.statuses.pop(0) if hook.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/SECRET"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook()
    yield hook
    hook.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


class House:
    """A profile with its sensors, and runs of two assets of our own under its name."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, **alerts: object) -> None:
        self.instance, self.home = instance, folder
        catalog = {"source": {"kind": "generated", "products": 8}}
        self.profile = Profile.model_validate({"name": "mine", "catalog": catalog, "alerts": alerts})
        self.definitions = watch(self.profile, folder)

    def run(
        self, error: Exception | None = None, check: str | None = None, **champion: object
    ) -> dg.DagsterRun:
        @dg.asset(key=["catalog", "listings"])
        def listings() -> None:
            if error is not None:
                raise error

        @dg.asset(key=["release", "champion"], deps=[listings])
        def release() -> dg.MaterializeResult:
            return dg.MaterializeResult(metadata=champion)

        @dg.asset_check(asset=listings, blocking=check == "blocking")
        def sound() -> dg.AssetCheckResult:
            severity = dg.AssetCheckSeverity.WARN if check == "warning" else dg.AssetCheckSeverity.ERROR
            return dg.AssetCheckResult(passed=check is None, severity=severity)

        result = dg.Definitions(
            assets=[listings, release], asset_checks=[sound], jobs=[dg.define_asset_job("everything")]
        )
        job = result.resolve_job_def("everything")
        done = job.execute_in_process(instance=self.instance, raise_on_error=False)
        return done.dagster_run

    def tell(self, sensor: str, run: dg.DagsterRun) -> None:
        (record, *_) = self.instance.get_records_for_run(
            run.run_id, of_type={dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS,
                                 dg.DagsterEventType.RUN_CANCELED}
        ).records  # fmt: skip
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor,
            dagster_event=record.event_log_entry.get_dagster_event(),
            dagster_instance=self.instance,
            dagster_run=run,
            context=dg.build_sensor_context(self.instance),
        )
        self.definitions.resolve_sensor_def(sensor)(context)

    @property
    def log(self) -> str:
        path = self.home / "mine" / "alerts.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""


def test_a_failed_run_is_told_with_its_asset_reason_and_link(
    tmp_path: Path, instance: dg.DagsterInstance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFMRL_DAGSTER_UI", "http://dagster.example/")
    house = House(tmp_path, instance, webhook=webhook.url)
    run = house.run(UserError("shop.csv has no column title\nand more"))
    house.tell("alert_failed_runs", run)
    (told,) = webhook.received
    assert told["kind"] == "failed" and told["profile"] == "mine" and told["run_id"] == run.run_id
    assert told["failed"] == ["catalog/listings"]
    assert told["reason"] == "shop.csv has no column title"
    assert told["run_url"] == f"http://dagster.example/runs/{run.run_id}"
    assert told["text"].startswith(
        f"AFMRL mine: run {run.run_id[:8]} (everything) failed: catalog/listings. "
    )
    assert told["text"].endswith(told["run_url"])
    assert house.log == f"{told['time']} {told['text']}\n"


def test_a_blocking_check_is_named_and_a_bug_is_told_by_its_own_message(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    house = House(tmp_path, instance)
    house.tell("alert_failed_runs", house.run(check="blocking"))
    assert "catalog/listings: sound" in house.log
    house.tell("alert_failed_runs", run := house.run(RuntimeError("CUDA out of memory")))
    assert "RuntimeError: CUDA out of memory" in house.log.splitlines()[1]
    (failure,) = (
        record.event_log_entry.get_dagster_event()
        for record in instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE
        ).records
    )
    assert failure_in_brief(failure) == "RuntimeError: CUDA out of memory"


def test_a_warning_is_of_a_milder_kind_and_can_be_left_out(
    tmp_path: Path, instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    house = House(tmp_path, instance, webhook=webhook.url)
    run = house.run(check="warning")
    assert run.status == dg.DagsterRunStatus.SUCCESS
    house.tell("alert_doubtful_runs", run)
    (told,) = webhook.received
    assert told["kind"] == "warning" and told["failed"] == ["catalog/listings: sound"]
    House(tmp_path, instance, webhook=webhook.url, warnings=False).tell("alert_doubtful_runs", run)
    assert len(webhook.received) == len(house.log.splitlines()) == 1


def test_a_failed_check_that_blocks_nothing_is_told(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    house = House(tmp_path, instance, warnings=False)
    run = house.run(check="serious")
    assert run.status == dg.DagsterRunStatus.SUCCESS
    house.tell("alert_doubtful_runs", run)
    assert "ended with warnings: catalog/listings: sound." in house.log


def test_a_refused_promotion_is_a_line_in_the_log_and_no_alert(
    tmp_path: Path, instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    house = House(tmp_path, instance, webhook=webhook.url)
    house.tell("alert_doubtful_runs", house.run(outcome="promoted", reason="better"))
    assert house.log == ""
    stated = {"outcome": "kept", "reason": "worse by 0.04", "challenger": "e/2", "champion": "e/1"}
    house.tell("alert_doubtful_runs", house.run(**stated))
    assert "does not promote e/2: worse by 0.04. Champion: e/1. http" in house.log
    assert webhook.received == []


def test_a_killed_run_is_told_and_one_that_a_person_stopped_is_not(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    import socket

    house = House(tmp_path, instance)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    tags = {"afmrl/process": f"{socket.gethostname()}:{gone.pid}:1"}
    killed = instance.add_run(
        dg.DagsterRun(job_name="everything", tags=tags, status=dg.DagsterRunStatus.STARTED)
    )
    instance.add_run(
        dg.DagsterRun(job_name="everything", tags=this_process(), status=dg.DagsterRunStatus.STARTED)
    )
    # After a restart of the machine, another process has the number.
    reused = {"afmrl/process": f"{socket.gethostname()}:{os.getpid()}:1"}
    other = instance.add_run(
        dg.DagsterRun(job_name="everything", tags=reused, status=dg.DagsterRunStatus.STARTED)
    )
    assert set(cancel_dead_runs(instance)) == {killed.run_id, other.run_id}
    house.tell("alert_killed_runs", instance.get_run_by_id(killed.run_id))
    assert f"was killed. process {gone.pid} was killed" in house.log

    stopped = instance.add_run(dg.DagsterRun(job_name="everything", status=dg.DagsterRunStatus.STARTED))
    instance.report_run_canceled(stopped)
    house.tell("alert_killed_runs", instance.get_run_by_id(stopped.run_id))
    assert len(house.log.splitlines()) == 1


def test_a_run_whose_process_dagster_has_lost_is_told_with_what_ended_it(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    house = House(tmp_path, instance)
    run = instance.add_run(dg.DagsterRun(job_name="everything", status=dg.DagsterRunStatus.STARTED))
    instance.report_engine_event("Run execution process was terminated by signal 9 (SIGKILL).", run)
    instance.report_run_failed(run)
    house.tell("alert_failed_runs", run)
    assert "failed. Run execution process was terminated by signal 9 (SIGKILL)." in house.log
    assert "--resume" in house.log


def test_a_webhook_is_tried_again_and_its_failure_breaks_nothing_and_tells_no_secret(
    tmp_path: Path, instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    run = House(tmp_path, instance).run(RuntimeError("x"))
    webhook.statuses = [503, 200]
    house = House(tmp_path / "a", instance, webhook=webhook.url)
    house.tell("alert_failed_runs", run)
    assert len(webhook.received) == 2 and len(house.log.splitlines()) == 1

    webhook.statuses = [500] * 9
    house = House(tmp_path / "b", instance, webhook=webhook.url, tries=2)
    house.tell("alert_failed_runs", run)
    assert len(webhook.received) == 4
    refused = House(tmp_path / "c", instance, webhook=webhook.url, tries=1)
    webhook.statuses = [403]
    refused.tell("alert_failed_runs", run)
    silent = House(tmp_path / "d", instance, webhook="http://127.0.0.1:9/services/SECRET", tries=2)
    silent.tell("alert_failed_runs", run)
    for told, why in ((house, "cannot be reached: RetryError"), (refused, "answered 403"),
                      (silent, "cannot be reached: ConnectionError")):  # fmt: skip
        first, second = told.log.splitlines()
        assert "RuntimeError: x" in first
        assert f"the webhook at 127.0.0.1 {why}" in second and "was not sent" in second
        assert "SECRET" not in told.log


def test_runs_of_another_profile_in_the_same_dagster_home_are_not_ours(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    house = House(tmp_path, instance)
    run = house.run(RuntimeError("x"))
    house.tell("alert_failed_runs", run.with_tags({"afmrl/profile": "theirs"}))
    assert house.log == ""


def test_the_sensors_are_on_from_the_start(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    for sensor in House(tmp_path, instance).definitions.sensors or []:
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_an_interrupted_step_is_told_in_words() -> None:
    @dg.op
    def interrupted() -> None:
        raise dg.DagsterExecutionInterruptedError

    @dg.job
    def nightly() -> None:
        interrupted()

    with dg.DagsterInstance.ephemeral() as instance:
        assert not nightly.execute_in_process(instance=instance, raise_on_error=False).success
        (run,) = instance.get_runs()
        found = examine(instance, run.run_id)
    assert found.reasons == ["It was interrupted: the process that ran it was told to end."]
