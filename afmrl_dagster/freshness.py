"""How old what the business uses may be before Dagster says so: as the profile's schedule promises."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import dagster as dg
from dagster._utils.schedules import cron_string_iterator

from afmrl_models.config import Profile

FRESH = {("catalog", "listings"), ("release", "champion"), ("release", "identical_products")}
_LATE = 1.25
_MISSED = 2.0
_TICKS = 60  # of a schedule, among which the longest pause is looked for


def freshness_policy(profile: Profile) -> dg.FreshnessPolicy:
    """Warns when a night is late by a quarter of the pause between nights, fails after a missed one."""
    longest = longest_pause(profile)
    return dg.FreshnessPolicy.time_window(fail_window=longest * _MISSED, warn_window=longest * _LATE)


def longest_pause(profile: Profile) -> timedelta:
    """Between two runs of the profile's schedule: three days where it rests on week-ends."""
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    ticks = list(islice(cron_string_iterator(start, profile.schedule, profile.timezone), _TICKS))
    return max(after - before for before, after in pairwise(ticks))
