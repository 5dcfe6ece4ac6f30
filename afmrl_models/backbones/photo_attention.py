"""Attention within photos, for vision towers that pack all photos of a batch into one sequence."""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

# Qwen-VL's tower hands the pieces' lengths only to implementations named like this.
_NAME = "flash_lengths_sdpa"


def batch_photo_attention(model: Any) -> None:
    """Let a model's vision tower attend within all photos, or windows, of one length in one call.

    transformers' sdpa attends within one after the other: thousands of small calls a batch. The results are
    the same up to rounding. Towers of another attention, and models without a tower, stay as they are.
    """
    tower = getattr(getattr(model, "model", model), "visual", None)
    if tower is not None and tower.config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, _attend_within_pieces)
        tower.config._attn_implementation = _NAME


def _attend_within_pieces(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    cu_seq_lens_q: torch.Tensor,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """query, key, value (1, H, S, D), in pieces that begin at cu_seq_lens_q → (1, S, H, D)."""
    lengths = cu_seq_lens_q.diff()
    out = torch.empty_like(query)
    for length in lengths.unique().tolist():
        of_length = (lengths == length).repeat_interleave(lengths)
        whole = bool(of_length.all())
        queries, keys, values = (
            (part if whole else part[:, :, of_length])[0].unflatten(1, (-1, length)).transpose(0, 1)
            for part in (query, key, value)
        )
        attended = scaled_dot_product_attention(queries, keys, values, scale=scaling)
        attended = attended.transpose(0, 1).flatten(1, 2)
        if whole:
            out = attended[None]
        else:
            out[:, :, of_length] = attended
    return out.transpose(1, 2).contiguous(), None
