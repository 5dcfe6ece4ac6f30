"""Nightly retraining: one job for one seed; for several, one stage after the other."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from afmrl_dagster.catalog_changed import catalog_changed
from afmrl_dagster.execution import run_under_way
from afmrl_dagster.seeds import EVERYTHING, NIGHT_TAG, RELEASE, SEEDS, SHARED, partition_of
from afmrl_models.config import Profile


def one_seed(profile: Profile, home: Path) -> dg.Definitions:
    """The job `everything`, and the schedule and the sensor that run it."""
    everything = dg.define_asset_job(
        EVERYTHING,
        selection=dg.AssetSelection.all(),
        description="The whole chain, from the catalog to the groups.",
    )
    return dg.Definitions(
        jobs=[everything],
        schedules=[_schedule(profile, EVERYTHING)],
        sensors=[catalog_changed(profile, home, EVERYTHING)],
    )


def several_seeds(profile: Profile, home: Path) -> dg.Definitions:
    """The jobs `shared`, `seeds` and `release`; at night each stage starts the next one.

    The sensors follow runs that the schedule or a changed catalog began, and leave a person's own runs alone.
    """
    of_all, of_release = dg.AssetSelection.groups("catalog", "attributes"), dg.AssetSelection.groups(RELEASE)
    shared = dg.define_asset_job(SHARED, selection=of_all, description="What all seeds share: the catalog.")
    seeds = dg.define_asset_job(
        SEEDS,
        selection=dg.AssetSelection.all() - of_all - of_release,
        description="All that is trained, for one seed a run.",
    )
    release = dg.define_asset_job(
        RELEASE, selection=of_release, description="What compares the seeds, and follows the first of them."
    )

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[shared],
        request_job=seeds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Of the night's run: when what the seeds share is done, a run for each seed.",
    )
    def nightly_seeds(context: dg.RunStatusSensorContext) -> Iterator[dg.RunRequest]:
        if NIGHT_TAG in context.dagster_run.tags:
            night = context.dagster_run.run_id
            for seed in profile.seeds:
                name = partition_of(seed)
                yield dg.RunRequest(f"{night} {name}", partition_key=name, tags={NIGHT_TAG: night})

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[seeds],
        request_job=release,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Of the night's run: when every seed has succeeded, the release.",
    )
    def nightly_release(context: dg.RunStatusSensorContext) -> Iterator[dg.RunRequest]:
        if night := context.dagster_run.tags.get(NIGHT_TAG):
            succeeded = dg.RunsFilter(
                job_name=SEEDS, tags={NIGHT_TAG: night}, statuses=[dg.DagsterRunStatus.SUCCESS]
            )
            done = {run.tags["dagster/partition"] for run in context.instance.get_runs(succeeded)}
            if done >= set(map(partition_of, profile.seeds)):
                yield dg.RunRequest(night, tags={NIGHT_TAG: night})

    return dg.Definitions(
        jobs=[shared, seeds, release],
        schedules=[_schedule(profile, SHARED)],
        sensors=[catalog_changed(profile, home, SHARED), nightly_seeds, nightly_release],
    )


def _schedule(profile: Profile, job: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        job_name=job,
        cron_schedule=profile.schedule,
        execution_timezone=profile.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Retrain every night, unless a run is under way. Off until switched on.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        # Two runs at once would write the same outputs.
        if other := run_under_way(context.instance, profile.name):
            return dg.SkipReason(other)
        return dg.RunRequest(tags={NIGHT_TAG: "begins"})

    return nightly
