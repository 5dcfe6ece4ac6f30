"""Attention of one new token to all before it, for language models that decode on a CPU."""

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

_NAME = "one_token_sdpa"


def one_token_attention(model: Any) -> None:
    """Let a model's language part attend from single tokens by two products of matrices where it is on a CPU.

    torch's fused kernel there is made for many queries: for one a row it takes five times as long. The
    results are the same up to rounding. Models of another attention stay as they are.
    """
    config = model.config.get_text_config()
    if config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, attend_from_one_token)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        config._attn_implementation = _NAME


def attend_from_one_token(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """query (B, H, S, D), key and value (B, H / G, L, D), attention_mask (B, 1, S, L) bool → (B, S, H, D)."""
    if query.shape[2] > 1 or query.device.type != "cpu":
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **settings)
    grouped = query.unflatten(1, (key.shape[1], -1))[:, :, :, 0]
    scores = grouped @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, -torch.inf)
    return (scores.softmax(-1) @ value).flatten(1, 2)[:, None], None
