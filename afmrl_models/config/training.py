"""Settings of the embedder's training."""

from typing import Literal, Self

from pydantic import Field, model_validator

from afmrl_models.config.strict import Strict

Modality = Literal["image", "text", "multimodal"]


AgclScale = Literal["self", "raw"]


NeighboursBy = Literal["attributes", "embedder"]
PairKind = Literal["same_product", "image_to_text", "image_to_multimodal"]


def _pair_kinds() -> dict[PairKind, float]:
    return {"same_product": 0.8, "image_to_text": 0.05, "image_to_multimodal": 0.15}


class EmbedderTraining(Strict):
    """Contrastive training, shared by the baseline and by AGCL."""

    warmup_steps: int = Field(
        100, ge=0, description="InfoNCE steps that warm up a random-weight base_embedder"
    )
    steps: int = Field(200, ge=1, description="steps of the baseline, of AGCL and of each further round")
    batch_size: int = Field(128, ge=2, description="pairs a step")
    mini_batch_size: int = Field(32, ge=1, description="pairs a forward pass")
    gradient_caching: bool = Field(
        True, description="memory of one mini-batch only; off: a third faster, memory of the whole batch"
    )
    learning_rate: float = Field(1e-3, gt=0, description="peak of the cosine schedule")
    warmup_share: float = Field(
        0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises"
    )
    temperature: float = Field(0.05, gt=0, description="similarities are divided by it")
    pair_kinds: dict[PairKind, float] = Field(
        default_factory=_pair_kinds,
        description="share of the batches of each kind",
    )
    neighbours: int = Field(
        1,
        ge=1,
        description="look-alikes that come into a batch together; 1: random batches",
    )
    neighbours_by: NeighboursBy = Field(
        "attributes",
        description="what look-alikes are alike in: attributes (BM25), or the vectors that the embedder "
        "gives photo and title before the training",
    )
    attribute_dropout: float = Field(
        0.5, ge=0, le=1, description="share of training queries without attribute text"
    )
    gallery_attribute_dropout: float = Field(1.0, ge=0, le=1, description="the same for the gallery side")
    margin: float = Field(
        0.1, ge=0, description="AGCL's delta: a candidate above the positive by more is left out"
    )
    bm25_scale: AgclScale = Field("self", description="AGCL's B_ij: raw, or divided by B_ii")
    bm25_k1: float = Field(1.2, ge=0, description="BM25's term saturation")
    bm25_b: float = Field(0.75, ge=0, le=1, description="BM25's length normalisation")

    @model_validator(mode="after")
    def _kinds(self) -> Self:
        if not self.pair_kinds or any(share < 0 for share in self.pair_kinds.values()):
            raise ValueError("pair_kinds needs at least one kind, and no negative share")
        if sum(self.pair_kinds.values()) <= 0:
            raise ValueError("pair_kinds: the shares are all zero")
        return self
