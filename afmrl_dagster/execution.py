"""One Dagster run in this process, and what went wrong in it."""

import contextlib
import os
import socket
from collections.abc import Iterable

import dagster as dg

from afmrl_dagster.seeds import partition_of
from afmrl_models.errors import UserError

_PROCESS_TAG = "afmrl/process"
_UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    keys: Iterable[dg.AssetKey],
    *,
    seed: int | None = None,
    run_id: str | None = None,
) -> dg.ExecuteInProcessResult:
    """Materialize assets of a job, seeded ones of one seed; what failed is in the result."""
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        asset_selection=sorted(keys),
        partition_key=None if seed is None else partition_of(seed),
        run_id=run_id,
        tags={_PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"},
        raise_on_error=False,
        run_config={"loggers": {"terminal": {}}},
    )


def cancel_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs of this machine whose process was killed: Dagster would show them as running for ever."""
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY)):
        host, _, process = run.tags.get(_PROCESS_TAG, "").rpartition(":")
        if host == socket.gethostname() and not _is_alive(int(process)):
            instance.report_run_canceled(run, f"process {process} was killed")


def _is_alive(process: int) -> bool:
    with contextlib.suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True


def failure_reason(event: dg.DagsterEvent) -> str:
    """Of a step failure: the message of a user's mistake; the whole trace of anything else."""
    error = event.step_failure_data.error
    if error is None:
        return "no error was recorded"
    cause = error
    while cause.cause is not None:
        cause = cause.cause
    return cause.message.strip() if _is_users(cause.cls_name) else error.to_string()


def _is_users(name: str | None) -> bool:
    """Whether an error class of this name is one that a user can mend."""

    def names(kind: type[BaseException]) -> set[str]:
        return {kind.__name__}.union(*map(names, kind.__subclasses__()))

    return name in names(UserError) | {dg.Failure.__name__, "DagsterAssetCheckFailedError"}
