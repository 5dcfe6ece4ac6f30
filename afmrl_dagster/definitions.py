"""The code location: assets, checks, resources, one job and a nightly schedule for one profile."""

from pathlib import Path

import dagster as dg

from afmrl_dagster.defs.attributes.assets import teacher_attributes
from afmrl_dagster.defs.catalog import assets as catalog
from afmrl_dagster.defs.catalog import checks as catalog_checks
from afmrl_dagster.defs.leakage import leakage_checks, learners
from afmrl_dagster.defs.models import assets as models
from afmrl_dagster.defs.release import identical
from afmrl_dagster.defs.release.ablation import ablation
from afmrl_dagster.defs.release.champion import champion
from afmrl_dagster.defs.rounds.unroll import unroll
from afmrl_dagster.project import afmrl_home, config_path
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.terminal import terminal_logger
from afmrl_models.config import load_profile

EVERYTHING = "everything"


def build_definitions(config: Path, home: Path) -> dg.Definitions:
    """The code location of one profile. Raises ProfileError naming file and key."""
    profile = load_profile(config)
    rounds = unroll(profile)
    everything = dg.define_asset_job(
        EVERYTHING,
        selection=dg.AssetSelection.all(),
        description="The whole chain, from the catalog to the groups.",
    )
    return dg.Definitions(
        assets=[
            catalog.raw_catalog,
            catalog.listings,
            catalog.splits,
            models.base_embedder,
            models.base_generator,
            teacher_attributes,
            *rounds.assets,
            ablation(rounds.rows),
            champion(profile.rounds),
            identical.product_index,
            identical.identical_products,
        ],
        asset_checks=[
            catalog_checks.listing_checks,
            catalog_checks.split_checks,
            *rounds.checks,
            *leakage_checks(learners(profile.rounds)),
            identical.vectors_are_sound,
        ],
        resources={"pipeline": Pipeline(config_path=str(config), home=str(home))},
        jobs=[everything],
        schedules=[
            dg.ScheduleDefinition(
                name="nightly",
                job=everything,
                cron_schedule=profile.schedule,
                execution_timezone=profile.timezone,
                default_status=dg.DefaultScheduleStatus.STOPPED,
                description="Retrain every night. Off until switched on.",
            )
        ],
        # One process for all steps: torch is imported once, and no two steps share a GPU.
        executor=dg.in_process_executor,
        loggers={"console": dg.colored_console_logger, "terminal": terminal_logger},
    )


defs = build_definitions(config_path(), afmrl_home())
