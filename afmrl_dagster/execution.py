"""One Dagster run in this process, and what went wrong in it."""

import socket
from collections.abc import Iterable

import dagster as dg
import psutil
from dagster._utils.error import SerializableErrorInfo

from afmrl_dagster.seeds import partition_of
from afmrl_models.errors import UserError

_PROCESS_TAG = "afmrl/process"  # of the run: host, process, when that started
PROFILE_TAG = "afmrl/profile"
_KILLED = "was killed"
_CHECK_FAILED = "DagsterAssetCheckFailedError"
_UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
_NOT_ENDED = [
    *_UNDER_WAY,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    keys: Iterable[dg.AssetKey],
    *,
    profile: str,
    seed: int | None = None,
    run_id: str | None = None,
) -> dg.ExecuteInProcessResult:
    """Materialize assets of a job, seeded ones of one seed; what failed is in the result.

    Raises KeyboardInterrupt where the run was stopped.
    """
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        asset_selection=sorted(keys),
        partition_key=None if seed is None else partition_of(seed),
        run_id=run_id,
        tags={**this_process(), PROFILE_TAG: profile},
        raise_on_error=False,
        run_config={"loggers": {"terminal": {}}},
    )
    if any(event.is_step_failure and _was_interrupted(event) for event in result.all_events):
        raise KeyboardInterrupt
    return result


def cancel_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs of this machine whose process was killed: Dagster would show them as running for ever.

    Their ids.
    """
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY)):
        host, process, started = (*run.tags.get(_PROCESS_TAG, "").rsplit(":", 2), "", "")[:3]
        if host == socket.gethostname() and not _is_alive(int(process), started):
            instance.report_run_canceled(run, f"process {process} {_KILLED}")
            ended.append(run.run_id)
    return ended


def run_under_way(instance: dg.DagsterInstance, profile: str) -> str | None:
    """Which run of this profile is queued or under way, in words; a killed one is none."""
    cancel_dead_runs(instance)
    for run in instance.get_runs(dg.RunsFilter(statuses=_NOT_ENDED)):
        if run.tags.get(PROFILE_TAG, profile) == profile:
            return f"run {run.run_id[:8]} ({run.job_name}) is under way"
    return None


def was_killed(event: dg.DagsterEvent) -> str | None:
    """What `cancel_dead_runs` said of a cancelled run; None of one that a person has stopped."""
    return event.message if event.message and event.message.endswith(_KILLED) else None


def this_process() -> dict[str, str]:
    """The tag of a run that this process executes, for `cancel_dead_runs`."""
    own = psutil.Process()
    return {_PROCESS_TAG: f"{socket.gethostname()}:{own.pid}:{own.create_time():.0f}"}


def _is_alive(process: int, started: str) -> bool:
    """Whether this very process runs: after a restart of the machine, its number may be another's."""
    try:
        return f"{psutil.Process(process).create_time():.0f}" == started
    except psutil.NoSuchProcess:
        return False


def failure_reason(event: dg.DagsterEvent) -> str:
    """Of a step failure: the message of a user's mistake; the whole trace of anything else."""
    error = event.step_failure_data.error
    if error is None:
        return "no error was recorded"
    cause = error
    while not _is_users(cause):
        if cause.cause is None:
            return error.to_string()
        cause = cause.cause
    # Before the message stand the class's module and name.
    return cause.message.strip().partition(f"{cause.cls_name}: ")[2] or cause.message.strip()


def failure_in_brief(event: dg.DagsterEvent) -> str:
    """Of a step failure: the first line of a user's mistake; of anything else, of its first cause."""
    error = event.step_failure_data.error
    while error is not None and not _is_users(error) and error.cause is not None:
        error = error.cause
    if error is None:
        return "no error was recorded"
    if _was_interrupted(event):
        return "It was interrupted: the process that ran it was told to end."
    if error.cls_name == _CHECK_FAILED:
        return "A check that blocks has failed: what follows was not made."
    text = failure_reason(event) if _is_users(error) else error.message
    return text.strip().partition("\n")[0]


def _was_interrupted(event: dg.DagsterEvent) -> bool:
    error = event.step_failure_data.error
    return error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__


def only_a_check_failed(event: dg.DagsterEvent) -> bool:
    """Whether a step failed for nothing but a blocking check, which has an event of its own."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == _CHECK_FAILED


def _is_users(error: SerializableErrorInfo) -> bool:
    """Whether a user can mend it: it is of these packages, whose errors all are, or of another's subclass.

    By name: a process that reads of an error need not have imported its class.
    """

    def names(kind: type[BaseException]) -> set[str]:
        return {kind.__name__}.union(*map(names, kind.__subclasses__()))

    ours = error.message.startswith(("afmrl_models.", "afmrl_dagster."))
    return ours or error.cls_name in names(UserError) | {dg.Failure.__name__, _CHECK_FAILED}
