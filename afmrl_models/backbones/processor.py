"""The Qwen-VL processors on machines with and without torchvision.

The stock processors name a video processor in their signature, and the library has none that works without
torchvision: `AutoProcessor.from_pretrained` then fails for every Qwen-VL directory, the hub's included. The
subclasses below do not name it. They keep the stock classes' names, so that what they save loads as a stock
processor elsewhere.
"""

import importlib.util
from typing import Any

from transformers import (
    AutoProcessor,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
    Qwen2VLImageProcessorPil,
)
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import (
    Qwen2_5_VLProcessor as StockQwen2_5_VLProcessor,
)
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor as StockQwen2VLProcessor

PATCH_SIZE = 14
MERGE_SIZE = 2
TEMPORAL_PATCH_SIZE = 2


class _WithoutVideo(ProcessorMixin):
    """What both do differently: two parts instead of three, and a saved description of all three."""

    image_token: str
    video_token: str
    image_token_id: int
    video_token_id: int

    def _set_parts(self, image_processor: Any, tokenizer: Any, chat_template: str | None) -> None:
        self.image_token = getattr(tokenizer, "image_token", None) or "<|image_pad|>"
        self.video_token = getattr(tokenizer, "video_token", None) or "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    def to_dict(self) -> dict[str, Any]:
        """The stock processor's description: where torchvision is installed, the stock class reads it."""
        description = super().to_dict()
        image = dict(description["image_processor"])
        image["image_processor_type"] = image["image_processor_type"].removesuffix("Pil")
        description["image_processor"] = image
        description["video_processor"] = {
            "video_processor_type": "Qwen2VLVideoProcessor",
            "size": image["size"],
            "patch_size": image["patch_size"],
            "merge_size": image["merge_size"],
            "temporal_patch_size": image["temporal_patch_size"],
        }
        return description


class Qwen2VLProcessor(_WithoutVideo, StockQwen2VLProcessor):
    """Qwen2-VL's processor for images and text."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs) -> None:  # type: ignore[no-untyped-def]
        self._set_parts(image_processor, tokenizer, chat_template)


class Qwen2_5_VLProcessor(_WithoutVideo, StockQwen2_5_VLProcessor):
    """Qwen2.5-VL's processor for images and text."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs) -> None:  # type: ignore[no-untyped-def]
        self._set_parts(image_processor, tokenizer, chat_template)


def has_torchvision() -> bool:
    """Whether torchvision is installed, and the stock processors work."""
    return importlib.util.find_spec("torchvision") is not None


def register() -> None:
    """Make `AutoProcessor` load Qwen-VL directories without torchvision; with it, do nothing. Repeatable."""
    if has_torchvision():
        return
    # AutoProcessor looks the saved class name up among the library's own names before it looks at registered
    # classes.
    for model_type in ("qwen2_vl", "qwen2_5_vl"):
        PROCESSOR_MAPPING_NAMES.pop(model_type, None)
    AutoProcessor.register(Qwen2VLConfig, Qwen2VLProcessor, exist_ok=True)
    AutoProcessor.register(Qwen2_5_VLConfig, Qwen2_5_VLProcessor, exist_ok=True)


def new_processor(model_type: str, tokenizer: Any, image_size: int, chat_template: str) -> ProcessorMixin:
    """A small model's processor; every photo is resized to the area of `image_size` pixels squared.

    model_type: qwen2_vl or qwen2_5_vl.
    """
    settings: dict[str, Any] = {
        "patch_size": PATCH_SIZE,
        "merge_size": MERGE_SIZE,
        "temporal_patch_size": TEMPORAL_PATCH_SIZE,
        "size": {"shortest_edge": image_size**2, "longest_edge": image_size**2},
    }
    if not has_torchvision():
        here = {"qwen2_vl": Qwen2VLProcessor, "qwen2_5_vl": Qwen2_5_VLProcessor}[model_type]
        return here(Qwen2VLImageProcessorPil(**settings), tokenizer, chat_template=chat_template)
    from transformers import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    stock = {"qwen2_vl": StockQwen2VLProcessor, "qwen2_5_vl": StockQwen2_5_VLProcessor}[model_type]
    return stock(
        Qwen2VLImageProcessor(**settings),
        tokenizer,
        Qwen2VLVideoProcessor(**settings),
        chat_template=chat_template,
    )
