"""What every asset is computed in: its inputs are there, the device is its own, the network may fail."""

import functools
from collections.abc import Callable

import dagster as dg

from afmrl_dagster import device_lock, metadata, retries
from afmrl_dagster.attribute_tables import AttributeTables
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.run_settings import given_to
from afmrl_dagster.seeds import is_seeded

Compute = Callable[[dg.AssetExecutionContext, Pipeline], dg.MaterializeResult]

# What it leaves is an alias in MLflow, which is asked for it.
_LEFT_ELSEWHERE = {("release", "champion")}


def step(compute: Compute) -> Compute:
    """Under `@dg.asset`: the computation of an asset.

    Before it, everything upstream must have been made (MissingAssetError names what was not), and settings
    that the run gives this asset come into force (`run_settings`); its metadata states them. Meanwhile, a
    device that it asks for is used by no other step. A failure of the network is tried again, as often as
    `runs.retries` says; no other failure is.
    """

    @functools.wraps(compute)
    def computed(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        _require_upstream(context, pipeline)
        given = given_to(context, pipeline)
        pipeline = pipeline.with_settings({name: value for name, (value, _) in given.items()})
        profile = pipeline.profile()
        holder = f"run {context.run_id[:8]} ({context.asset_key.to_user_string()} of {profile.name})"
        try:
            with device_lock.one_step(holder, context.log):
                result = compute(context, pipeline)
            return result._replace(metadata={**metadata.settings(given), **(result.metadata or {})})
        except Exception as error:
            retry = context.retry_number
            if retry >= profile.runs.retries or not retries.is_transient(error):
                raise
            seconds = retries.seconds_before(retry, profile.runs.retry_after)
            context.log.warning("the network failed, trying again in %.0f s: %s", seconds, error)
            raise dg.RetryRequested(profile.runs.retries, seconds) from error

    return computed


def _require_upstream(context: dg.AssetExecutionContext, pipeline: Pipeline) -> None:
    profile = pipeline.profile()
    for dependency in sorted(context.assets_def.asset_deps[context.asset_key]):
        key = tuple(dependency.path)
        if key in _LEFT_ELSEWHERE:
            continue
        of_all_seeds = is_seeded(profile, key) and pipeline.run_seed is None
        for place in map(pipeline.of_seed, profile.seeds) if of_all_seeds else [pipeline]:
            if key[-1] == "product_attributes":
                AttributeTables(place, key[0]).require()
            else:
                place.made(key)
