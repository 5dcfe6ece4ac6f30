"""Settings of a model: pretrained, or small and built here."""

from typing import Literal, Self

from pydantic import Field, model_validator

from afmrl_models.config.strict import Strict


class LoraSettings(Strict):
    """peft's LoRA; for pretrained backbones only."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: list[str] = Field(default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj"])


class BackboneConfig(Strict):
    """A hub id or local directory, or (both null) a small random-weight model built here."""

    pretrained: str | None = Field(
        None, description="hub id or checkpoint directory; null: build a small one"
    )
    revision: str | None = Field(None, description="commit or tag of the hub model")
    hidden_size: int = Field(
        128, ge=32, multiple_of=16, description="small model: width of the language model"
    )
    layers: int = Field(3, ge=1, description="small model: layers of the language model")
    vision_layers: int = Field(3, ge=1, description="small model: layers of the vision tower")
    vocabulary: int = Field(
        2048, ge=300, description="small model: size of the tokenizer trained on the training split"
    )
    image_size: int | None = Field(
        None,
        ge=28,
        multiple_of=28,
        description="small model: edge in pixels at which it sees photos; null: catalog.image_size",
    )
    dtype: Literal["float32", "bfloat16"] = "float32"
    attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"
    lora: LoraSettings | None = None

    @model_validator(mode="after")
    def _lora_needs_pretrained(self) -> Self:
        if self.lora is not None and self.pretrained is None:
            raise ValueError(
                "lora needs a pretrained backbone: adapters on random weights learn less than full training"
            )
        return self

    @model_validator(mode="after")
    def _pretrained_decides_its_image_size(self) -> Self:
        if self.image_size is not None and self.pretrained is not None:
            raise ValueError("image_size is a small model's: a pretrained one's processor decides its own")
        return self
