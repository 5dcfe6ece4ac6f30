"""Attention of rows that begin with the same tokens: those tokens' keys and values are kept once for all."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

Prefix = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""By layer, keys and values (1, H / G, P, D) of the tokens that all rows begin with."""

_NAME = "shared_prefix_sdpa"


def shared_prefix_attention(model: Any) -> bool:
    """Let a model's language part take `prefix=…` (Prefix) in its forward; returns whether it now does.

    Single tokens attend by plain products of matrices: torch's fused kernel is made for many queries a row
    and takes several times as long on a CPU. The results are sdpa's up to rounding. Models of another
    attention, sliding windows among them, stay as they are.
    """
    config = model.config.get_text_config()
    sliding = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    if config._attn_implementation == "sdpa" and not sliding:
        AttentionInterface.register(_NAME, attend_behind_prefix)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        config._attn_implementation = _NAME
    return bool(config._attn_implementation == _NAME)


def attend_behind_prefix(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    prefix: Prefix | None = None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """query (B, H, S, D), key and value (B, H / G, L, D), attention_mask (B, 1, S, L) bool → (B, S, H, D).

    key, value and attention_mask are of the tokens behind the prefix, which every query sees whole.
    """
    layer: Any = module.layer_idx
    shared = prefix[layer] if prefix else None
    if query.shape[2] == 1 and (shared is not None or query.device.type == "cpu"):
        return _attend_from_one_token(query * scaling, key, value, attention_mask, shared), None
    if shared is not None:
        key, value = (
            torch.cat([before.expand(len(own), -1, -1, -1), own], dim=2)
            for before, own in zip(shared, (key, value), strict=True)
        )
        if attention_mask is not None:
            attention_mask = pad(attention_mask, (shared[0].shape[2], 0), value=True)
    return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **settings)


def _attend_from_one_token(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    shared: tuple[torch.Tensor, torch.Tensor] | None,
) -> torch.Tensor:
    """query (B, H, 1, D), scaled; the rest as above → (B, 1, H, D)."""
    grouped = query.unflatten(1, (key.shape[1], -1))[:, :, :, 0]
    scores = grouped @ key.transpose(2, 3)
    if mask is not None:
        scores.masked_fill_(~mask, -torch.inf)
    if shared is None:
        return (_softmax(scores) @ value).flatten(1, 2)[:, None]
    # One product a head for all rows, instead of one for each.
    rows = grouped.shape[::2]
    before = grouped.transpose(0, 1).flatten(1, 2) @ shared[0][0].transpose(1, 2)
    before = before.unflatten(1, rows).transpose(0, 1)
    weights = _softmax(torch.cat([before, scores], dim=-1))
    of_before, of_own = weights.split([before.shape[-1], scores.shape[-1]], dim=-1)
    seen = of_before.transpose(0, 1).flatten(1, 2) @ shared[1][0]
    return (of_own @ value + seen.unflatten(1, rows).transpose(0, 1)).flatten(1, 2)[:, None]


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    return scores.softmax(-1, dtype=torch.float32).to(scores.dtype)
