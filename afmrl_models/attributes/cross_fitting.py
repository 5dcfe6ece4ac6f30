"""Training texts by generators that have not seen the product (cross-fitting).

A generator is nearly always right about the listings it was distilled on, and far less often about others. An
embedder that is trained with the former trusts the latter too much. So the training products are dealt to
folds, a generator is distilled on the products outside each, and writes the texts of those inside.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.lessons import product_numbers
from afmrl_models.attributes.sft import train_generator
from afmrl_models.attributes.writing import write_attributes
from afmrl_models.backbones.checkpoint import checkpoint_digest
from afmrl_models.backbones.curves import Report
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.learned_from import FILE as RECORD
from afmrl_models.catalog.learned_from import LearnedFrom, read_record
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import BackboneConfig, GenerationConfig, SftConfig
from afmrl_models.errors import UserError

_TEXTS = "attributes.parquet"


@dataclass(frozen=True)
class CrossFitter:
    """Distils a generator outside each of `sft.folds` folds and writes the fold's texts with it.

    base, keys, backbone, sft: as `train_generator` has them, but that each training takes the share
    (folds - 1) / folds of the steps: a listing is read as often as by the generator of all.
    kept: a folder for unfinished work and for the texts of each fold; where they are there already, of the
    same settings and listings, the fold is not distilled again.
    report: is given what `train_generator` reports, under names that begin with `fold_<n>/`.
    """

    base: Path
    keys: Sequence[str]
    backbone: BackboneConfig
    sft: SftConfig
    generation: GenerationConfig
    seed: int
    device: str
    kept: Path
    report: Report | None = None

    def write(
        self, teacher: pd.DataFrame, listings: pd.DataFrame, images: ImageStore, seen: LearnedFrom
    ) -> pd.DataFrame:
        """The PRODUCT_ATTRIBUTES table of the listings, in their order.

        teacher: the texts to be distilled, of the same listings. `generator_version` names fold and weights.
        seen: notes what the generators read.
        """
        folds = folds_of(listings, self.sft.folds, self.seed)
        finished = []
        for fold in range(self.sft.folds):
            inside = listings[folds == fold].reset_index(drop=True)
            outside = listings[folds != fold].reset_index(drop=True)
            lessons = teacher[teacher["listing_id"].isin(set(outside["listing_id"]))]
            done = self.kept / f"fold_{fold}_{self._digest(lessons, outside, inside, images)}"
            if not done.exists():
                self._write_fold(fold, lessons, outside, inside, images, done)
            for what, listing_id in read_record(done)[["what", "listing_id"]].itertuples(index=False):
                seen.note(f"{what} outside fold {fold}", listing_id)
            finished.append(done)
        for folder in set(self.kept.glob("*fold_*")) - set(finished):
            shutil.rmtree(folder)
        order = {listing_id: position for position, listing_id in enumerate(listings["listing_id"])}
        table = pd.concat([read_table(done / _TEXTS) for done in finished], ignore_index=True)
        return table.sort_values("listing_id", key=lambda ids: ids.map(order)).reset_index(drop=True)

    def _write_fold(
        self,
        fold: int,
        lessons: pd.DataFrame,
        outside: pd.DataFrame,
        inside: pd.DataFrame,
        images: ImageStore,
        done: Path,
    ) -> None:
        """Leave the fold's texts and the record of what was read in `done`, whole or not at all."""
        work = self.kept / f"unfinished_{done.name}"
        generator, whole = work / "generator", work / "whole"
        if not generator.exists():
            train_generator(
                self.base,
                lessons,
                outside,
                images,
                self.keys,
                self.backbone,
                self.sft.model_copy(update={"steps": steps_outside_a_fold(self.sft)}),
                work / "in_training",
                seed=self.seed,
                device=self.device,
                report=self._report_of(fold),
                checkpoints=work / "checkpoint",
            )
            (work / "in_training").rename(generator)
        write_attributes(
            AttributeGenerator.load(generator, self.device),
            inside,
            images,
            self.keys,
            self.generation,
            version=f"outside fold {fold}: {checkpoint_digest(generator)}",
            out=work / _TEXTS,
            progress=True,
        )
        whole.mkdir(exist_ok=True)
        shutil.copy(work / _TEXTS, whole)
        shutil.copy(generator / RECORD, whole)
        whole.rename(done)
        shutil.rmtree(work)

    def _report_of(self, fold: int) -> Report | None:
        report = self.report
        if report is None:
            return None
        return lambda values, step: report(
            {f"fold_{fold}/{name}": value for name, value in values.items()}, step
        )

    def _digest(
        self, lessons: pd.DataFrame, outside: pd.DataFrame, inside: pd.DataFrame, images: ImageStore
    ) -> str:
        """16 hexadecimal digits over all that decides a fold's texts."""
        decides = {
            "base": checkpoint_digest(self.base),
            "teacher": lessons[["listing_id", "attributes_text", "valid"]].to_json(orient="records"),
            "listings": [frame["content_hash"].tolist() for frame in (outside, inside)],
            "keys": list(self.keys),
            "image_size": images.size,
            "backbone": self.backbone.model_dump(mode="json"),
            "sft": self.sft.model_dump(mode="json"),
            "generation": self.generation.model_dump(mode="json"),
            "seed": self.seed,
            "device": self.device,
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def folds_of(listings: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """The fold of each listing, int64 (N,): that of its product, or its own where the product is not known.

    listings: `listing_id`, `product_id`; dealt by `product_numbers`. Raises UserError where a fold is left
    empty.
    """
    numbers = product_numbers(listings, seed)
    dealt = (numbers % folds).astype(np.int64)
    if len(np.unique(dealt)) < folds:
        raise UserError(
            f"attributes.sft.folds: {len(np.unique(numbers))} training products leave one of {folds} folds "
            "empty"
        )
    return dealt


def steps_outside_a_fold(sft: SftConfig) -> int:
    """Steps of a fold's generator: each listing is read as often as by the generator of all."""
    return max(1, round(sft.steps * (sft.folds - 1) / sft.folds))
