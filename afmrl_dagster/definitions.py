"""The code location: assets, checks, resources, jobs and the nightly retraining of one profile."""

import warnings
from functools import partial
from pathlib import Path

import dagster as dg

from afmrl_dagster import nightly
from afmrl_dagster.defs.attributes.assets import teacher_attributes
from afmrl_dagster.defs.catalog import assets as catalog
from afmrl_dagster.defs.catalog import checks as catalog_checks
from afmrl_dagster.defs.leakage import leakage_checks
from afmrl_dagster.defs.models import assets as models
from afmrl_dagster.defs.release import identical, product_index
from afmrl_dagster.defs.release.ablation import ablation
from afmrl_dagster.defs.release.champion import champion
from afmrl_dagster.defs.release.generator_quality import generator_quality
from afmrl_dagster.defs.rounds.unroll import unroll
from afmrl_dagster.freshness import FRESH, freshness_policy
from afmrl_dagster.makes import makes
from afmrl_dagster.project import afmrl_home, config_path
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.round_jobs import round_jobs
from afmrl_dagster.run_settings import with_run_settings
from afmrl_dagster.seeds import partitions
from afmrl_dagster.sensors import watch
from afmrl_dagster.settings import settings_digest
from afmrl_dagster.terminal import terminal_logger
from afmrl_models.config import Profile, load_profile


def build_definitions(config: Path, home: Path) -> dg.Definitions:
    """The code location of one profile. Raises ProfileError naming file and key."""
    # Partitions of checks are a preview in Dagster; without them the seeds hide each other's results.
    with warnings.catch_warnings(category=dg.PreviewWarning, action="ignore"):
        return _build(load_profile(config), config, home)


def _build(profile: Profile, config: Path, home: Path) -> dg.Definitions:
    rounds = unroll(profile)
    assets = [
        catalog.raw_catalog,
        catalog.listings,
        catalog.splits,
        catalog.evaluation_set,
        models.base_embedder,
        models.base_generator,
        teacher_attributes,
        *rounds.assets,
        ablation(rounds.rows),
        generator_quality(profile.rounds, rounds.rows),
        champion(profile.rounds),
        product_index.product_index,
        identical.identical_products,
    ]
    definitions = dg.Definitions(
        assets=[
            with_run_settings(asset.map_asset_specs(partial(_of_profile, profile)), profile)
            for asset in assets
        ],
        asset_checks=[
            catalog_checks.listing_checks,
            catalog_checks.split_checks,
            *rounds.checks,
            *leakage_checks(profile),
            product_index.vectors_are_sound,
        ],
        resources={"pipeline": Pipeline(config_path=str(config), home=str(home))},
        # One process for all steps: torch is imported once, and no two steps share a GPU.
        executor=dg.in_process_executor,
        loggers={"console": dg.colored_console_logger, "terminal": terminal_logger},
    )
    jobs = nightly.one_seed if len(profile.seeds) == 1 else nightly.several_seeds
    return dg.Definitions.merge(definitions, jobs(profile, home), round_jobs(profile), watch(profile, home))


def _of_profile(profile: Profile, spec: dg.AssetSpec) -> dg.AssetSpec:
    """The asset with its owners, its settings as code version and, where trained, a partition a seed."""
    return spec.replace_attributes(
        code_version=settings_digest(profile, spec.key.path),
        owners=profile.owners,
        tags={**spec.tags, "afmrl/profile": profile.name, "afmrl/makes": makes(spec.key.path)},
        partitions_def=partitions(profile, spec.key.path),
        freshness_policy=freshness_policy(profile) if tuple(spec.key.path) in FRESH else None,
    )


defs = build_definitions(config_path(), afmrl_home())
