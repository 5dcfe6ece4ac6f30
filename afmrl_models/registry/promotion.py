"""Champion and challenger: the newest models are promoted unless they are worse than those in force.

Where none is in force yet, the run's own baseline stands in for the champion. A champion embedder without a
champion generator is one whose queries are titles alone: the baseline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from afmrl_models.config import Profile
from afmrl_models.registry.models import ModelVersion, RegistryError, get_alias, local_directory, set_alias
from afmrl_models.registry.tracking import Tracking

if TYPE_CHECKING:
    from afmrl_models.catalog.images import ImageStore
    from afmrl_models.retrieval.evaluation import Evaluation

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Decision:
    """What was decided and why. difference: challenger - champion, with its 95 % interval over products."""

    promoted: bool
    reason: str
    task: str
    metric: str
    challenger: str
    champion_before: str | None
    challenger_value: float | None
    champion_value: float | None
    difference: float | None
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values; what was not measured is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def judge_challenger(
    profile: Profile,
    tracking: Tracking,
    *,
    embedder: ModelVersion,
    generator: ModelVersion,
    evaluated: "Evaluation",
    baseline: ModelVersion,
    baseline_evaluated: "Evaluation",
    test: pd.DataFrame,
    splits: pd.DataFrame,
    images: "ImageStore",
    attributes: Mapping[str, str],
    keys: Sequence[str],
    device: str,
) -> Decision:
    """Set the alias `challenger`, and `champion` if the challenger is not worse by more than the margin.

    Both are loaded from the registry and evaluated on the same test split, each with the attributes that its
    own generator writes; `evaluated` and `attributes` are the challenger's of this run, and its registered
    weights must reach the same values. Raises RegistryError where they do not. Without a champion the
    challenger is held against this run's baseline, and the baseline becomes champion where it is better.
    """
    config = profile.champion
    for version in (embedder, generator):
        set_alias(tracking, version.name, "challenger", version.version)
    again = _evaluate(profile, tracking, embedder, test, splits, images, attributes, device)
    _demand_same(embedder, config.task, evaluated, again)
    champion_embedder = get_alias(tracking, embedder.name, "champion")
    champion_generator = get_alias(tracking, generator.name, "champion")
    challenger_value = again.metrics.get(f"{config.task}/{config.metric}")
    decided: dict[str, Any] = {}
    if champion_embedder is not None and champion_embedder.version == embedder.version:
        promoted, reason = True, "this version is the champion already"
    elif challenger_value is None:
        promoted = champion_embedder is None
        reason = f"{config.task} cannot be measured: {again.left_out.get(config.task, 'no such metric')}"
    elif champion_embedder is None:
        promoted, reason, decided = _compare(profile, again, baseline_evaluated, "the baseline's")
    else:
        texts = {}
        if champion_generator is not None:
            texts = _champion_attributes(
                profile, tracking, champion_generator, test, splits, images, keys, device
            )
        before = _evaluate(profile, tracking, champion_embedder, test, splits, images, texts, device)
        promoted, reason, decided = _compare(profile, again, before, "the champion's")
    if promoted:
        for version in (embedder, generator):
            set_alias(tracking, version.name, "champion", version.version)
    elif champion_embedder is None:
        set_alias(tracking, baseline.name, "champion", baseline.version)
        reason += "; there is no champion yet, so the baseline becomes it"
    return Decision(
        promoted=promoted,
        reason=reason,
        task=config.task,
        metric=config.metric,
        challenger=embedder.uri,
        champion_before=None if champion_embedder is None else champion_embedder.uri,
        challenger_value=challenger_value,
        champion_value=decided.get("champion_value"),
        difference=decided.get("difference"),
        low=decided.get("low"),
        high=decided.get("high"),
    )


def _compare(
    profile: Profile, challenger: "Evaluation", champion: "Evaluation", whose: str
) -> tuple[bool, str, dict[str, float]]:
    from afmrl_models.retrieval.significance import paired_bootstrap

    config = profile.champion
    sides = [
        frame.per_query[frame.per_query["task"] == config.task].set_index("query_id")
        for frame in (challenger, champion)
    ]
    both = sides[0].index.intersection(sides[1].index)
    values = [side.loc[both, config.metric] for side in sides]
    found = paired_bootstrap(
        values[0].to_numpy(),
        values[1].to_numpy(),
        list(sides[0].loc[both, "product_id"]),
        profile.evaluation.bootstrap,
        profile.seeds[0],
    )
    promoted = found.low >= -config.max_regression
    reason = (
        f"{config.task}/{config.metric} {'is not' if promoted else 'may be'} worse than {whose} "
        f"by more than {config.max_regression}: difference {found.difference:+.4f}, "
        f"95 % interval {found.low:+.4f} to {found.high:+.4f}, {len(both)} queries"
    )
    numbers = {
        "champion_value": float(values[1].mean()),
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
    }
    return promoted, reason, numbers


def _evaluate(
    profile: Profile,
    tracking: Tracking,
    version: ModelVersion,
    test: pd.DataFrame,
    splits: pd.DataFrame,
    images: "ImageStore",
    attributes: Mapping[str, str],
    device: str,
) -> "Evaluation":
    from afmrl_models.embedding.embedder import load_embedder
    from afmrl_models.retrieval.evaluation import evaluate_embedder

    config = profile.evaluation.model_copy(update={"tasks": [profile.champion.task]})
    return evaluate_embedder(
        load_embedder(local_directory(tracking, version.uri), device),
        test,
        splits,
        images,
        config,
        query_attributes=attributes,
        gallery_attributes=attributes if config.enriches_gallery else None,
        seed=profile.seeds[0],
    )


def _champion_attributes(
    profile: Profile,
    tracking: Tracking,
    generator: ModelVersion,
    test: pd.DataFrame,
    splits: pd.DataFrame,
    images: "ImageStore",
    keys: Sequence[str],
    device: str,
) -> dict[str, str]:
    from afmrl_models.attributes.generator import AttributeGenerator

    asked = test
    if not profile.evaluation.enriches_gallery:
        queries = splits.loc[splits["role"] == "query", "listing_id"]
        asked = test[test["listing_id"].isin(set(queries))]
    writer = AttributeGenerator.load(
        local_directory(tracking, generator.uri), device, profile.generator.dtype
    )
    writings = writer.write(asked, images, keys, profile.attributes.generation)
    return {
        listing_id: writing.text
        for listing_id, writing in zip(asked["listing_id"].tolist(), writings, strict=True)
        if writing.attributes() is not None
    }


def _demand_same(version: ModelVersion, task: str, evaluated: "Evaluation", again: "Evaluation") -> None:
    for name, value in again.metrics.items():
        if name.startswith(f"{task}/") and abs(evaluated.metrics[name] - value) > _TOLERANCE:
            raise RegistryError(
                f"{version.uri}: the registered weights reach {name} {value:.4f}, "
                f"but {evaluated.metrics[name]:.4f} was evaluated: this version is not promoted"
            )
