"""Settings of the attributes: teacher, distillation, generation."""

from typing import Literal, Self

from pydantic import Field, model_validator

from afmrl_models.config.strict import Strict


class TeacherConfig(Strict):
    """Who writes the attributes the generator is distilled from."""

    kind: Literal["catalog", "openai", "transformers"] = "catalog"
    model: str | None = Field(
        None, description="openai: model name at the endpoint; transformers: hub id or directory"
    )
    base_url: str | None = Field(None, description="openai: for example http://127.0.0.1:8000/v1")
    api_key: str = Field("unset", description="openai: usually ${OPENAI_API_KEY:-unset}")
    concurrency: int = Field(8, ge=1, description="openai: requests under way at once")
    timeout: float = Field(120.0, gt=0, description="openai: seconds for one request")
    max_retries: int = Field(5, ge=0, description="openai: retries with back-off for one listing")
    batch_size: int = Field(8, ge=1, description="transformers: listings a batch")

    @model_validator(mode="after")
    def _needs(self) -> Self:
        if self.kind == "openai" and not (self.model and self.base_url):
            raise ValueError("teacher kind openai needs model and base_url")
        if self.kind == "transformers" and not self.model:
            raise ValueError("teacher kind transformers needs model")
        return self


class SftConfig(Strict):
    """Distillation of the teacher into the generator (TRL's SFTTrainer)."""

    steps: int = Field(200, ge=1, description="optimiser steps")
    batch_size: int = Field(64, ge=1, description="listings a step")
    mini_batch_size: int | None = Field(None, ge=1, description="rows a forward pass; null: batch_size")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the cosine schedule")
    warmup_share: float = Field(
        0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises"
    )
    title_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the rows shown without title, so that the photo must be read"
    )
    vary_photos: bool = Field(
        False, description="show each photo in another crop and light at each reading, as other sellers would"
    )
    key_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="at each reading each pair of a text is left out with this chance (one stays), so that "
        "RAR samples texts that leave keys out",
    )
    share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the training products that distillation reads; below 1 RAR reads the others, "
        "of which the generator is as unsure as of unseen ones",
    )
    folds: int = Field(
        1,
        ge=1,
        description="above 1: training texts are cross-fitted. For each of so many parts of the training "
        "products one more generator is distilled on the others, and writes the part's texts, which are then "
        "as often wrong as those about unseen products; the embedder learns how far to trust them",
    )


class GenerationConfig(Strict):
    """How the generator writes attributes for many listings."""

    batch_size: int = Field(128, ge=1, description="listings a batch")
    max_new_tokens: int = Field(96, ge=8, description="longer texts are cut")
    chunk_size: int = Field(
        2048, ge=1, description="listings written to disk at once; a stopped run resumes after them"
    )


class AttributesConfig(Strict):
    """Attribute text: its keys, the teacher, the generator's distillation and generation."""

    keys: list[str] = Field(
        default_factory=list, description="keys asked for in the prompt; empty: those the catalog states"
    )
    teacher: TeacherConfig = Field(default_factory=lambda: TeacherConfig())
    sft: SftConfig = Field(default_factory=lambda: SftConfig())
    generation: GenerationConfig = Field(default_factory=lambda: GenerationConfig())
