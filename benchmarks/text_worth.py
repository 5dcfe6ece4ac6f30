"""What a generator writes, how right it is, and what its texts are worth; for the scripts beside it."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pandas as pd

from afmrl_dagster.project import afmrl_home
from afmrl_dagster.seeds import partition_of
from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import EvaluationConfig, GenerationConfig, Profile
from afmrl_models.config.training import Modality
from afmrl_models.embedding.embedder import load_embedder
from afmrl_models.retrieval.evaluation import evaluate_embedder, model_encoder
from afmrl_models.retrieval.oracle import oracle_attributes
from afmrl_models.retrieval.significance import paired_bootstrap

Texts = Mapping[str, str]  # listing id -> attribute text
HeldOut = Literal["validation", "test"]


@dataclass(frozen=True)
class Catalog:
    """What `afmrl run` keeps of a catalog."""

    listings: pd.DataFrame
    splits: pd.DataFrame
    images: ImageStore

    @classmethod
    def of(cls, profile_folder: Path) -> "Catalog":
        root = profile_folder / "catalog"
        return cls(
            read_table(root / "listings/listings.parquet"),
            read_table(root / "splits/splits.parquet"),
            ImageStore.open(root / "listings/images"),
        )

    def split(self, name: str) -> pd.DataFrame:
        members = set(self.splits.loc[self.splits["split"] == name, "listing_id"])
        return self.listings[self.listings["listing_id"].isin(members)].reset_index(drop=True)

    def true_texts(self, keys: list[str], split: HeldOut = "validation") -> dict[str, str]:
        """What all offers of each of the split's products state."""
        return oracle_attributes(self.listings, self.splits, self.images, keys, split=split)


def of_seed(profile: Profile, seed: int) -> Path:
    """Where `afmrl run` keeps what it trains for a seed of the profile."""
    root = afmrl_home() / profile.name
    return root / partition_of(seed) if len(profile.seeds) > 1 else root


def of_first_seed(profile: Profile) -> Path:
    return of_seed(profile, profile.seeds[0])


def texts_of(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["listing_id"], table["attributes_text"], strict=True))


def written(
    by: AttributeGenerator,
    about: pd.DataFrame,
    images: ImageStore,
    keys: Sequence[str],
    config: GenerationConfig,
) -> pd.DataFrame:
    """`listing_id`, `attributes_text` and `attributes` of each listing."""
    writings = by.write(about, images, keys, config)
    return pd.DataFrame(
        {
            "listing_id": list(about["listing_id"]),
            "attributes_text": [writing.text for writing in writings],
            "attributes": [writing.attributes() for writing in writings],
        }
    )


class Judge:
    """Recall@1 of `fine_grained` on held-out products, by one embedder."""

    def __init__(self, catalog: Catalog, embedder: Path, split: HeldOut = "validation") -> None:
        self._catalog, self._split = catalog, split
        self._encode = model_encoder(load_embedder(embedder, "cpu"), catalog.images, 256, progress=False)

    def beside(self, vectors: pd.Series, weight: float) -> Self:
        """The same, but that an embedder's unit vectors go on with others times `weight`.

        vectors: unit vectors by listing id. Similarities are then sums of the two, that of the others times
        the square of `weight`.
        """
        other, encode = copy(self), self._encode

        def both(listings: pd.DataFrame, modality: Modality, texts: Texts | None) -> np.ndarray:
            others = np.stack(vectors[listings["listing_id"]].tolist())
            return np.hstack([encode(listings, modality, texts), weight * others]).astype(np.float32)

        other._encode = both
        return other

    def hits(self, query: Texts | None = None, gallery: Texts | None = None) -> pd.DataFrame:
        """A row a query: `recall_at_1` and `product_id`, by `query_id`; texts shown at each side."""
        config = EvaluationConfig(tasks=["fine_grained"], ks=[1])
        held_out = self._catalog.split(self._split)
        done = evaluate_embedder(
            None, held_out, self._catalog.splits, None, config, split=self._split, seed=0,
            encode=self._encode, device="cpu", query_attributes=query, gallery_attributes=gallery,
        )  # fmt: skip
        return done.per_query.set_index("query_id")


def gain(found: pd.DataFrame, over: pd.DataFrame) -> str:
    """The difference of two judges' hits, with the paired 95 % interval over products."""
    difference = paired_bootstrap(
        found.loc[over.index, "recall_at_1"], over["recall_at_1"], over["product_id"].tolist()
    )
    return f"{difference.difference:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def print_worth(catalog: Catalog, embedder: Path, texts: Mapping[str, Texts], heading: str = "") -> None:
    """Print Recall@1 of the title alone, and with each kind of text at the query and on both sides.

    Differences are those to the title alone.
    """
    judge = Judge(catalog, embedder)
    alone = judge.hits()
    print(f"\n{heading}{len(alone)} queries; title alone: Recall@1 {alone['recall_at_1'].mean():.3f}")
    for name, shown in texts.items():
        line = f"{name:15}"
        for side, gallery in (("query", None), ("both", shown)):
            found = judge.hits(shown, gallery)
            line += f"   {side} {found['recall_at_1'].mean():.3f} ({gain(found, alone)})"
        print(line, flush=True)
