"""A pair on the frozen evaluation set: what its generator writes there, and how its embedder searches."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from afmrl_models.catalog.evaluation_set import EvaluationSet
from afmrl_models.config import EvaluationConfig, Profile
from afmrl_models.registry.promotion.pair import Pair
from afmrl_models.registry.promotion.trust import (
    Shown,
    demand_same_texts,
    demand_same_vectors,
    prompted_keys,
    trusted_embedder,
    trusted_generator,
)
from afmrl_models.registry.tracking import Tracking

if TYPE_CHECKING:
    from afmrl_models.retrieval.evaluation import Evaluation


@dataclass(frozen=True)
class Side:
    """One pair, measured. written: the table its generator wrote for the set; None: it has no generator."""

    pair: Pair
    evaluation: "Evaluation"
    written: pd.DataFrame | None

    @property
    def texts(self) -> dict[str, str]:
        """Listing id -> attribute text, the valid ones: what the listings showed."""
        return {} if self.written is None else _valid_texts(self.written)


@dataclass(frozen=True)
class Bench:
    """Where pairs are measured: the frozen set, the device, and a folder that keeps texts between nights."""

    profile: Profile
    tracking: Tracking
    frozen: EvaluationSet
    device: str
    folder: Path

    def measure(self, pair: Pair, shown: Shown | None = None) -> Side:
        """Load both from the registry and evaluate them on the frozen set.

        shown: what the pair was evaluated with tonight, which it must repeat. Raises Untrusted for a version
        that cannot be loaded, is not what was registered, or does not repeat it.
        """
        from afmrl_models.retrieval.evaluation import evaluate_embedder

        model = trusted_embedder(self.tracking, pair.embedder, self.device)
        if shown is not None:
            demand_same_vectors(pair.embedder, model, shown, self.profile.evaluation.batch_size)
        written = self._written(pair, shown)
        texts = {} if written is None else _valid_texts(written)
        config = judged_by(self.profile)
        evaluation = evaluate_embedder(
            model,
            self.frozen.listings,
            self.frozen.splits,
            self.frozen.images,
            config,
            query_attributes=texts,
            gallery_attributes=texts if config.enriches_gallery else None,
            seed=self.profile.seeds[0],
        )
        return Side(pair, evaluation, written)

    def _written(self, pair: Pair, shown: Shown | None) -> pd.DataFrame | None:
        from afmrl_models.attributes.writing import write_attributes

        version = pair.generator
        if version is None:
            return None
        generator = trusted_generator(self.tracking, version, self.device)
        keys, generation = prompted_keys(self.tracking, version), self.profile.attributes.generation
        if shown is not None:
            demand_same_texts(version, generator, keys, shown, generation)
        both = self.profile.evaluation.enriches_gallery
        return write_attributes(
            generator,
            self.frozen.listings if both else self.frozen.queries,
            self.frozen.images,
            keys,
            generation,
            version=f"{version.name}/{version.version}",
            out=self.folder / f"{version.name}-{version.version}.parquet",
        )


def _valid_texts(written: pd.DataFrame) -> dict[str, str]:
    valid = written[written["valid"]]
    return dict(zip(valid["listing_id"], valid["attributes_text"], strict=True))


def judged_by(profile: Profile) -> EvaluationConfig:
    """The profile's evaluation, with every task and cut-off that a rule of promotion names."""
    champion, evaluation = profile.champion, profile.evaluation
    named = {champion.task: champion.metric} | {
        task: limit.metric for task, limit in champion.other_limits.items()
    }
    ks = {int(metric.rpartition("_at_")[2]) for metric in named.values()}
    return evaluation.model_copy(
        update={
            "tasks": list(dict.fromkeys([*evaluation.tasks, *named])),
            "ks": sorted(ks.union(evaluation.ks)),
        }
    )
