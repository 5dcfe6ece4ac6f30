"""Vision towers of Qwen-VL models, with less work for the same features."""

from typing import Any

import torch
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import AttentionInterface

# The tower hands the pieces' lengths only to implementations named like this.
_NAME = "flash_lengths_sdpa"


def quick_photo_tower(model: Any) -> None:
    """Change how a model's vision tower computes; features stay the same up to rounding, weights as they are.

    Photos, or windows, of one length attend within themselves in one call: transformers' sdpa takes one after
    the other, thousands of small calls a batch. And patches, which do not overlap, are embedded by a product
    of matrices: as a convolution in three dimensions it takes seven times as long on a CPU, and longer still
    on a GPU in bfloat16. Towers of another attention keep it; models without a tower stay as they are.
    """
    tower = getattr(getattr(model, "model", model), "visual", None)
    if tower is None:
        return
    if tower.config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, _attend_within_pieces)
        tower.config._attn_implementation = _NAME
    convolution = getattr(tower.patch_embed, "proj", None)
    if isinstance(convolution, torch.nn.Conv3d) and convolution.kernel_size == convolution.stride:
        tower.patch_embed.forward = _PatchProduct(convolution)


class _PatchProduct:
    """Patches (N, values) → (N, D), by the weights of a convolution whose stride is its kernel."""

    def __init__(self, convolution: torch.nn.Conv3d) -> None:
        self._convolution = convolution

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        weight = self._convolution.weight
        values = patches.reshape(-1, weight[0].numel()).to(weight.dtype)
        return linear(values, weight.flatten(1), self._convolution.bias)


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
