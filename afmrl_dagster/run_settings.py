"""Settings of the profile that a person may give one run, asset by asset: the Launchpad's configuration.

An asset's run configuration is a part of the profile, under the same keys; its defaults are the profile's
values. What differs from them holds for that asset in that run, and is validated as the profile is. Where
the profile may say null, 0 stands for it: Dagster leaves a null out of what it shows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import dagster as dg
from dagster._core.definitions.definition_config_schema import (
    convert_user_facing_definition_config_schema,
)
from pydantic import BaseModel

from afmrl_dagster.resources import Pipeline
from afmrl_dagster.settings import MadeWith, differences
from afmrl_dagster.tables import LISTINGS, RAW_CATALOG, SPLITS
from afmrl_models.config import Profile

_NULL = 0
_READ_AS_RAW = {LISTINGS, SPLITS}
OF_AGCL = {"training.margin", "training.bm25_scale", "training.bm25_k1", "training.bm25_b"}
_ASKED = ("batch_size", "mini_batch_size", "gradient_caching", "learning_rate", "warmup_share", "temperature")

# By an asset's name: keys of the profile; a section stands for all its single values.
_OFFERED: dict[str, tuple[str, ...]] = {
    "raw_catalog": ("catalog.limit",),
    "listings": ("catalog.max_quarantined_share",),
    "teacher_attributes": ("attributes.teacher.concurrency", "attributes.teacher.batch_size"),
    "cross_fitted_attributes": ("attributes.sft", "attributes.generation"),
    "base_embedder": ("training.warmup_steps", *(f"training.{name}" for name in _ASKED)),
    "embedder": ("training",),
    "retrieval_metrics": ("evaluation.batch_size",),
    "ablation": ("evaluation.bootstrap",),
    "champion": ("champion",),
    "product_index": ("product_index", "evaluation.batch_size"),
    "identical_products": ("identical_products",),
}
_DISTILLED = {"attribute_generator": ("attributes.sft",), "product_attributes": ("attributes.generation",)}
_REFINED = {
    "attribute_generator": ("refinement",),
    "product_attributes": ("attributes.generation", "refinement.cit_share"),
}


def with_run_settings(asset: dg.AssetsDefinition, profile: Profile) -> dg.AssetsDefinition:
    """The asset, with what `run_settings` offers for it as its configuration; other keys are refused."""
    # An empty mapping must be a schema of its own: the library would take it for "whatever you like".
    schema = convert_user_facing_definition_config_schema(run_settings(profile, asset.key.path))
    op = asset.op.with_replaced_properties(asset.op.name, config_schema=schema)
    return dg.AssetsDefinition.dagster_internal_init(**{**asset.get_attributes_dict(), "node_def": op})


def run_settings(profile: Profile, key: Sequence[str]) -> dict[str, dg.Field]:
    """The settings that a run of the asset with this key may be given, the profile's values as defaults."""
    of_round = _DISTILLED if key[0] == "round_0" else _REFINED
    offered = of_round.get(key[-1]) or _OFFERED.get(key[-1], ())
    return _fields("_".join(key), profile, _tree(profile, offered, _left_out(key)))


def given_to(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dict[str, tuple[Any, Any]]:
    """What the run sets for the asset otherwise than the profile: by key, its value and the profile's.

    Listings and splits take the limit that the raw catalog was read with.
    """
    profile = pipeline.profile()
    config = _with_nulls(context.op_execution_context.op_config or {}, profile)
    stated = profile.model_dump(mode="json")
    found = {name: (value, theirs) for name, value, theirs in differences(config, stated)}
    if tuple(context.asset_key.path) in _READ_AS_RAW:
        limit = profile.catalog.limit
        found |= {name: (value, limit) for name, value in as_raw_was_read(pipeline).items() if value != limit}
    return found


def as_raw_was_read(pipeline: Pipeline) -> dict[str, int | None]:
    """The limit that the raw catalog was read with, by its key; nothing where that is not known."""
    raw = MadeWith.read(pipeline.directory(RAW_CATALOG))
    return {} if raw is None else {"catalog.limit": raw.settings["catalog"]["limit"]}


def _with_nulls(config: Mapping[str, Any], section: BaseModel) -> dict[str, Any]:
    """The configuration as the profile writes it."""
    return {
        name: _with_nulls(value, getattr(section, name))
        if isinstance(value, Mapping)
        else None
        if value == _NULL and _is_nullable(section, name)
        else value
        for name, value in config.items()
    }


def _is_nullable(section: BaseModel, name: str) -> bool:
    return type(None) in get_args(type(section).model_fields[name].annotation)


def _left_out(key: Sequence[str]) -> set[str]:
    """Keys in offered sections that a run of the asset cannot set."""
    if key[-1] == "embedder":
        return {"training.warmup_steps"} | (OF_AGCL if key[0] == "baseline" else set())
    # Folds shape the graph, which is the profile's alone.
    return {"refinement.cit_share", "attributes.sft.folds"}


def _tree(profile: Profile, offered: Sequence[str], left_out: set[str]) -> dict[str, Any]:
    """The offered keys as nested mappings, None for each single value."""
    tree: dict[str, Any] = {}
    for path in offered:
        place, value = tree, profile
        for name in path.split("."):
            value = getattr(value, name)
            place[name] = place.get(name, {}) if isinstance(value, BaseModel) else None
            place = place[name]
        if isinstance(value, BaseModel):
            for name, info in type(value).model_fields.items():
                if _is_single(info.annotation) and f"{path}.{name}" not in left_out:
                    place[name] = None
    return tree


def _is_single(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return True
    return annotation in (int, float, str, bool, int | None)


def _fields(name: str, section: BaseModel, tree: Mapping[str, Any]) -> dict[str, dg.Field]:
    fields: dict[str, dg.Field] = {}
    for key, below in tree.items():
        value, info = getattr(section, key), type(section).model_fields[key]
        if below is not None:
            what = info.description or (type(value).__doc__ or "").strip()
            fields[key] = dg.Field(dg.Shape(_fields(f"{name}_{key}", value, below)), description=what)
            continue
        kind: Any = info.annotation
        description = info.description
        if get_origin(kind) is Literal:
            kind = dg.Enum(f"{name}_{key}", [dg.EnumValue(choice) for choice in get_args(kind)])
        elif _is_nullable(section, key):
            kind, value, description = int, value or _NULL, f"{description} ({_NULL}: null)"
        fields[key] = dg.Field(kind, default_value=value, description=description)
    return fields
