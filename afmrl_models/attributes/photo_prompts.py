"""Prompts with one photo each as a Qwen-VL's inputs, for many listings."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature

Photos = Callable[[Sequence[int]], np.ndarray]
"""Positions of prompts → their photos, uint8 (N, edge, edge, 3)."""


class PhotoPrompts:
    """Makes the processor's inputs of any of the prompts, padded on the left.

    Prompts are tokenized once, and all photos of a batch become patches in one pass: the processor takes
    Python for each of them. Photos that it would resize, and those of a processor that is not Qwen-VL's, are
    left to it: whether its own inputs for the first prompt are the same decides.
    """

    def __init__(self, processor: Any, prompts: Sequence[str], photos: Photos) -> None:
        self._processor = processor
        self._prompts = prompts
        self._photos = photos
        self._tokens: list[list[int]] = processor.tokenizer(list(prompts))["input_ids"] if prompts else []
        self._is_plain = bool(prompts) and self._is_like_the_processors([0])

    @property
    def lengths(self) -> list[int]:
        """Tokens of each prompt, its photo counted as one."""
        return [len(tokens) for tokens in self._tokens]

    def inputs(self, positions: Sequence[int]) -> BatchFeature:
        """The model's inputs of these prompts."""
        return self._plain(positions) if self._is_plain else self._processed(positions)

    def _processed(self, positions: Sequence[int]) -> BatchFeature:
        inputs: BatchFeature = self._processor(
            text=[self._prompts[i] for i in positions],
            images=list(self._photos(positions)),
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        return inputs

    def _plain(self, positions: Sequence[int]) -> BatchFeature:
        patches, grid, merged = square_patches(self._photos(positions), self._processor.image_processor)
        image = self._processor.image_token_id
        rows = []
        for i in positions:
            tokens = self._tokens[i]
            at = tokens.index(image)
            rows.append([*tokens[:at], *[image] * merged, *tokens[at + 1 :]])
        longest = max(map(len, rows))
        pad = self._processor.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        return BatchFeature(
            {
                "input_ids": ids,
                "attention_mask": (torch.arange(longest) >= longest - lengths[:, None]).long(),
                "mm_token_type_ids": (ids == image).long(),
                "pixel_values": torch.from_numpy(patches),
                "image_grid_thw": torch.tensor([[1, grid, grid]]).repeat(len(rows), 1),
            }
        )

    def _is_like_the_processors(self, positions: Sequence[int]) -> bool:
        theirs = self._processed(positions)
        try:
            ours = self._plain(positions)
        except (AttributeError, TypeError, ValueError):  # another family's, or squares that do not fit
            return False
        return set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def square_patches(photos: np.ndarray, settings: Any) -> tuple[np.ndarray, int, int]:
    """Squares (N, edge, edge, 3) uint8 as a Qwen-VL's patches; also patches an edge, and tokens a photo.

    Patches are float32 (N · grid², 3 · frames · patch²), in the order in which the model merges them.
    settings: the image processor. Raises ValueError where the edge is no multiple of what is merged.
    """
    patch, merge, frames = settings.patch_size, settings.merge_size, settings.temporal_patch_size
    grid, rest = divmod(photos.shape[1], patch)
    if rest or grid % merge:
        raise ValueError(f"photos of {photos.shape[1]} pixels are no multiple of {patch * merge}")
    # What the processor makes of each of the 256 values, by channel.
    values = (np.arange(256) * settings.rescale_factor).astype(np.float32)[:, None]
    mean, deviation = (np.array(a, dtype=np.float32) for a in (settings.image_mean, settings.image_std))
    levels = (values - mean) / deviation
    blocks = photos.reshape(-1, grid // merge, merge, patch, grid // merge, merge, patch, 3)
    blocks = blocks.transpose(7, 0, 1, 4, 2, 5, 3, 6)
    patches = np.empty((*blocks.shape[1:6], 3, frames, patch, patch), dtype=np.float32)
    for channel in range(3):
        patches[..., channel, :, :, :] = levels[:, channel][blocks[channel]][..., None, :, :]
    return patches.reshape(len(photos) * grid**2, -1), grid, (grid // merge) ** 2
