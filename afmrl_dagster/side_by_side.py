"""Several seeds at once, each in a process of its own, told as one stream of lines."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from uuid import uuid4

import dagster as dg

from afmrl_dagster.execution import failure_reason
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.seeds import partition_of
from afmrl_dagster.terminal import EventLines
from afmrl_models.config import Profile

_POLL = 1.0
_STATUS_EVERY = 30.0
_PATIENCE = 20.0
_TAIL = 4096
_BAR = re.compile(r"(\d+/\d+) \[")
_TOLD = {
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_SKIPPED,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


def seeds_at_once(profile: Profile) -> int:
    """One on a GPU, which no two runs share; else as many as the cores have threads for."""
    import joblib

    from afmrl_models.backbones.device import pick_device

    if pick_device(profile.device) != "cpu":
        return 1
    return max(1, joblib.cpu_count() // profile.cpu_threads)


def run_seeds(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    work: Mapping[int, Sequence[dg.AssetKey]],
    parallel: int,
) -> dict[int, str]:
    """Materialize each seed's assets, `parallel` seeds at once; the failed seeds, each with its reason.

    A failed seed does not stop the others. When this process is stopped, so are the seeds'.
    """
    waiting, running, failed = list(work), list[_SeedProcess](), dict[int, str]()
    # The first to come creates MLflow's tables; two at once would get in each other's way.
    pipeline.tracking().experiment_id()
    told = time.monotonic()
    with _sigterm_interrupts():
        try:
            while waiting or running:
                while waiting and len(running) < parallel:
                    seed = waiting.pop(0)
                    running.append(_SeedProcess(pipeline, seed, work[seed]))
                time.sleep(_POLL)
                for process in running:
                    process.tell(instance)
                ended = [process for process in running if process.ended]
                for process in ended:
                    running.remove(process)
                    if reason := process.conclude(instance):
                        failed[process.seed] = reason
                if time.monotonic() - told > _STATUS_EVERY:
                    told = time.monotonic()
                    for process in running:
                        process.say(process.status())
        finally:
            # A second Ctrl-C must not leave one of them behind.
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            for process in running:
                process.stop()
            for process in running:
                process.wait()
            signal.signal(signal.SIGINT, before)
    return failed


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """While the block runs, SIGTERM raises KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _SeedProcess:
    """The process of one seed, its log, and what has been told of it."""

    def __init__(self, pipeline: Pipeline, seed: int, keys: Sequence[dg.AssetKey]) -> None:
        self.seed = seed
        self._run_id = str(uuid4())
        self._lines, self._reasons = EventLines(), list[str]()
        self._cursor: str | None = None
        self._started = time.monotonic()
        profile = pipeline.profile()
        folder = Path(pipeline.home) / profile.name / partition_of(seed)
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log.txt"
        command = [sys.executable, "-m", "afmrl_dagster.seed_process", pipeline.config_path, str(seed)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, self._run_id, *(key.to_user_string() for key in keys)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "AFMRL_HOME": pipeline.home,
                    "OMP_NUM_THREADS": str(profile.cpu_threads),
                    "TQDM_MININTERVAL": "2",
                },
            )
        self.say(f"▶ {len(keys)} assets, log in {self._log}")

    @property
    def ended(self) -> bool:
        """Whether the process is no more."""
        return self._process.poll() is not None

    def say(self, text: str) -> None:
        """One line that begins with the seed."""
        sys.stderr.write(f"{partition_of(self.seed)}  {text}\n")
        sys.stderr.flush()

    def tell(self, instance: dg.DagsterInstance) -> None:
        """Say what the run has recorded since the last time."""
        run = instance.get_run_by_id(self._run_id)
        if run is None or run.status == dg.DagsterRunStatus.NOT_STARTED:
            return
        while True:
            page = instance.get_records_for_run(self._run_id, self._cursor, _TOLD)
            self._cursor = page.cursor
            for record in page.records:
                entry = record.event_log_entry
                event = entry.get_dagster_event()
                if line := self._lines.line(event, entry.timestamp):
                    self.say(line)
                if event.is_step_failure:
                    step = (event.step_key or "").replace("__", "/")
                    self._reasons.append(f"{step}: {failure_reason(event)}")
            if not page.has_more:
                return

    def status(self) -> str:
        """The step under way, how long, and how far its bar has come."""
        if self._lines.step is None:
            return "… starting"
        minutes = self._lines.seconds(time.time()) / 60
        # Of the step under way: the log names each step before its bars.
        bars = _BAR.findall(self._tail().rpartition("▶")[2])
        return f"… {self._lines.step}  {bars[-1] + '  ' if bars else ''}{minutes:.1f} minutes"

    def conclude(self, instance: dg.DagsterInstance) -> str | None:
        """Say how it ended; why, if it failed."""
        self.tell(instance)
        minutes = (time.monotonic() - self._started) / 60
        status = self._process.wait()
        if status == 0:
            self.say(f"✔ done in {minutes:.1f} minutes")
            return None
        self.say(f"✘ FAILED after {minutes:.1f} minutes")
        if self._reasons:
            return "\n".join(self._reasons)
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        last = self._tail().strip().splitlines()[-1:]
        return f"{how}; see {self._log}" + "".join(f"; its last line: {line}" for line in last)

    def stop(self) -> None:
        """Ask it to end."""
        if not self.ended:
            os.killpg(self._process.pid, signal.SIGTERM)

    def wait(self) -> None:
        """Wait until it has ended; make it, where it takes too long."""
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self.say("✘ stopped")

    def _tail(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _TAIL))
            return log.read().decode("utf-8", "replace").replace("\r", "\n")
