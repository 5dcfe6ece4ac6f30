"""What watches a pipeline that is left alone: killed, failed and doubtful runs."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg

from afmrl_dagster.alerts import GO_ON, LOG, Alert, deliver, examine, note
from afmrl_dagster.execution import PROFILE_TAG, cancel_dead_runs, was_killed
from afmrl_models.config import Profile

_NO_REASON = "It recorded no reason: see its page."


def watch(profile: Profile, home: Path) -> dg.Definitions:
    """The sensors that tell of runs of this profile; they are on from the start."""
    log = home / profile.name / LOG

    def tell(context: dg.RunStatusSensorContext, alert: Alert) -> None:
        if trouble := deliver(alert, profile.alerts, log):
            context.log.warning(trouble)

    def of(context: dg.RunStatusSensorContext, kind: str, failed: list[str], reason: str) -> Alert:
        run = context.dagster_run
        return Alert(kind, profile.name, run.run_id, run.job_name, failed, reason)  # type: ignore[arg-type]

    def failed_runs(context: dg.RunStatusSensorContext) -> None:
        found = examine(context.instance, context.dagster_run.run_id)
        reason = found.reasons[0] if found.reasons else context.dagster_event.message or _NO_REASON
        tell(context, of(context, "failed", found.failed, reason))

    def killed_runs(context: dg.RunStatusSensorContext) -> None:
        # A run that a person has stopped is no news to anyone.
        if reason := was_killed(context.dagster_event):
            tell(context, of(context, "killed", [], f"{reason}. {GO_ON}"))

    def doubtful_runs(context: dg.RunStatusSensorContext) -> None:
        found = examine(context.instance, context.dagster_run.run_id)
        if found.failed:
            tell(
                context, of(context, "warning", found.failed, "These checks block nothing: the run went on.")
            )
        if found.warnings and profile.alerts.warnings:
            tell(context, of(context, "warning", found.warnings, "These checks only warn: the run went on."))
        if found.not_promoted is not None:
            alert = of(context, "warning", [], "")
            run = f"AFMRL {profile.name}: run {alert.run_id[:8]}"
            note(log, alert.time, f"{run} does not promote {found.not_promoted} {alert.link}")

    def sensor(
        status: dg.DagsterRunStatus, name: str, description: str, look: Callable
    ) -> dg.SensorDefinition:
        @dg.run_status_sensor(
            run_status=status,
            name=name,
            description=description,
            default_status=dg.DefaultSensorStatus.RUNNING,
            # Runs of `afmrl run` belong to no code location.
            monitor_all_code_locations=True,
        )
        def evaluate(context: dg.RunStatusSensorContext) -> None:
            if context.dagster_run.tags.get(PROFILE_TAG, profile.name) == profile.name:
                look(context)

        return evaluate

    @dg.sensor(
        name="end_killed_runs",
        description="Marks runs of this machine whose process was killed: they would block the next night.",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def end_killed_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ended = cancel_dead_runs(context.instance)
        return dg.SkipReason(f"marked {', '.join(ended)}" if ended else "no run's process was killed")

    return dg.Definitions(
        sensors=[
            sensor(dg.DagsterRunStatus.FAILURE, "alert_failed_runs", "Tells of failed runs.", failed_runs),
            sensor(
                dg.DagsterRunStatus.CANCELED,
                "alert_killed_runs",
                "Tells of killed runs.",
                killed_runs,
            ),
            sensor(
                dg.DagsterRunStatus.SUCCESS,
                "alert_doubtful_runs",
                "Tells of checks that warned; notes a refused promotion in the log.",
                doubtful_runs,
            ),
            end_killed_runs,
        ]
    )
