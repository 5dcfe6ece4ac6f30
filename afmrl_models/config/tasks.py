"""The names of the retrieval tasks."""

from typing import Literal

TaskName = Literal[
    "fine_grained",
    "coarse_grained",
    "image_to_multimodal",
    "image_to_text",
    "text_to_image",
    "fine_grained_in_category",
]
