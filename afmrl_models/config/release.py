"""Settings of what a night hands over: the product index and the groups of identical products."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from afmrl_models.config.strict import Strict

IndexKind = Literal["auto", "flat", "ivf_pq"]


class ProductIndexConfig(Strict):
    """The faiss index of all listings; null: derived from their number (docs/identical.md)."""

    kind: IndexKind = Field("auto", description="auto: flat up to `flat_up_to` listings, ivf_pq beyond")
    flat_up_to: int = Field(1_000_000, ge=1, description="auto: the most listings that are searched exactly")
    nlist: int | None = Field(None, ge=1, description="ivf_pq: cells; null: about 4 x sqrt(listings)")
    code_bytes: int | None = Field(
        None, ge=1, description="ivf_pq: bytes of a listing's code; null: about a quarter of the dimensions"
    )
    nprobe: int | None = Field(None, ge=1, description="ivf_pq: cells searched; null: about nlist / 64")
    opq: bool = Field(False, description="ivf_pq: learn a rotation first; pays where few dimensions matter")
    rerank: int = Field(10, ge=1, description="ivf_pq: candidates ordered by exact vectors, for each result")


class IdenticalProductsConfig(Strict):
    """Grouping of listings by similarity, and what a person is asked about."""

    neighbours: int = Field(10, ge=1, description="nearest listings looked at")
    min_precision: float = Field(
        0.9, gt=0, le=1, description="the similarity threshold is set on validation to reach it"
    )
    ambiguous_from: float = Field(
        0.3, ge=0, le=1, description="pairs of at least this confidence are put to a person"
    )
    ambiguous_to: float = Field(0.95, ge=0, le=1, description="pairs of a higher confidence are not")
    most_ambiguous_pairs: int = Field(5000, ge=1, description="the likeliest are listed, the rest counted")
    reviewed_pairs: Path | None = Field(
        None,
        description="CSV or Parquet with the team's answers (left_id, right_id, decision); "
        "null: reviewed_pairs.csv in the profile's folder",
    )

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.ambiguous_from > self.ambiguous_to:
            raise ValueError(
                f"ambiguous_from {self.ambiguous_from} is above ambiguous_to {self.ambiguous_to}"
            )
        return self
