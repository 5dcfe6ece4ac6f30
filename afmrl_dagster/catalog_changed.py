"""The sensor that starts a run when the catalog's table or photos have changed, and then rest."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import dagster as dg

from afmrl_dagster.execution import PROFILE_TAG, run_under_way
from afmrl_dagster.resume import DATA_VERSION
from afmrl_dagster.seeds import NIGHT_TAG
from afmrl_dagster.tables import RAW_CATALOG
from afmrl_models.config import Profile
from afmrl_models.errors import UserError

NAME = "catalog_changed"
# At most this share of the time is spent on looking.
_LOOKING = 0.05


@dataclass(frozen=True)
class Seen:
    """What the last look found: the catalog's digest, since when, when it ended and how long it took.

    started: a run was requested for this digest.
    """

    digest: str
    since: float
    looked: float
    took: float
    started: bool = False


def catalog_changed(profile: Profile, home: Path, job: str) -> dg.SensorDefinition:
    """Starts `job`, one run for one change, when the catalog is another than the last run has read.

    Compared is what --resume compares: the table's bytes, the names and sizes of its photos. A table behind a
    URL is fetched for that; photos behind URLs are not seen to change.
    """

    @dg.sensor(
        name=NAME,
        job_name=job,
        minimum_interval_seconds=profile.catalog_changed.every,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="A run when the catalog has changed and then rested. Off until switched on.",
    )
    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        seen = Seen(**json.loads(context.cursor)) if context.cursor else None
        why, now_seen = look(profile, home, context.instance, seen, time.time())
        if now_seen is not None:
            context.update_cursor(json.dumps(asdict(now_seen)))
        if why is not None or now_seen is None:
            return dg.SkipReason(why)
        tags = {NIGHT_TAG: "begins", "afmrl/started_by": NAME, PROFILE_TAG: profile.name}
        key = f"{now_seen.digest[:12]} seen {now_seen.since:.0f}"
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, tags=tags)])

    return evaluate


def look(
    profile: Profile, home: Path, instance: dg.DagsterInstance, seen: Seen | None, now: float
) -> tuple[str | None, Seen | None]:
    """Why no run starts now (None: one does), and what to remember."""
    if profile.catalog.source.kind == "generated":
        return "the generated catalog never changes", seen
    if (other := run_under_way(instance, profile.name)) is not None:
        return other, seen
    if seen is not None and (rest := seen.looked + seen.took / _LOOKING - now) > 0:
        return f"the last look took {seen.took:.0f} s; the next one is in {rest:.0f} s", seen
    begun = time.perf_counter()
    try:
        digest = _digest(profile, home)
    except (UserError, OSError) as error:
        # As with an export that is being replaced: what comes next must rest first.
        return f"the catalog cannot be read now: {error}", Seen("", now, now, 0.0)
    took = time.perf_counter() - begun
    if seen is None or seen.digest != digest:
        seen = Seen(digest, now, now, took)
    else:
        seen = Seen(digest, seen.since, now, took, seen.started)
    if digest == _last_read(instance):
        return "the catalog is as the last run has read it", seen
    if seen.started:
        return (
            f"a run was started for this catalog ({digest[:12]}), which it has not read: see why",
            seen,
        )
    rests = now - seen.since
    if rests < profile.catalog_changed.quiet:
        wanted = profile.catalog_changed.quiet
        return f"the catalog has changed and rests for {rests:.0f} of {wanted:.0f} s", seen
    return None, Seen(digest, seen.since, now, took, started=True)


def _digest(profile: Profile, home: Path) -> str:
    from afmrl_models.catalog.sources import open_source

    # A table behind a URL is not to be fetched to where a run reads it.
    return open_source(profile.catalog, home / profile.name / "scratch" / NAME).digest()


def _last_read(instance: dg.DagsterInstance) -> str | None:
    event = instance.get_latest_materialization_event(dg.AssetKey(list(RAW_CATALOG)))
    if event is None or event.asset_materialization is None:
        return None
    return (event.asset_materialization.tags or {}).get(DATA_VERSION)
