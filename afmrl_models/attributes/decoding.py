"""A greedy decoding loop for many listings at once, for transformers' `generate(custom_generate=…)`.

It writes what `generate` writes greedily (up to rounding: sums run over other batches), with less work:

- the tokens that all prompts of a batch begin with (the instruction) pass through the model once;
- finished rows leave the batch, so that a long text does not make the others wait;
- keys and values are written into buffers with room instead of being copied at every token.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 32
LEAVE_AT_SHARE = 0.8


def greedy_decoding(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **inputs: Any,
) -> torch.Tensor:
    """Decode left-padded prompts (B, L) to the stop tokens or the length limit: (B, L + longest text).

    Rows are padded on the right behind their stop token. Only the limits of `generation_config` are heeded:
    no logits processor and no other criterion. inputs: what `generate` prepares, position_ids among it.
    """
    stops, pad = generation_config._eos_token_tensor, int(generation_config._pad_token_tensor)
    room = int(generation_config.max_length) - input_ids.shape[1]
    logits, cache, mask = _read_prompts(model, input_ids, inputs)
    position = inputs["position_ids"][..., -1:]
    text = input_ids.new_full((len(input_ids), room), pad)
    rows = torch.arange(len(input_ids), device=input_ids.device)
    writing = torch.ones_like(rows, dtype=torch.bool)
    for step in range(room):
        token = logits[:, -1].argmax(-1)
        text[rows, step] = torch.where(writing, token, pad)
        writing &= ~torch.isin(token, stops)
        left = int(writing.sum())
        if left == 0 or step + 1 == room:
            break
        position = position + 1
        if left <= LEAVE_AT_SHARE * len(rows):
            staying = writing.nonzero()[:, 0]
            cache.batch_select_indices(staying)
            rows, token, mask, writing = rows[staying], token[staying], mask[staying], writing[staying]
            position = position[..., staying, :]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        logits = model(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            return_dict=True,
        ).logits
    return torch.cat([input_ids, text[:, : step + 1]], dim=1)


def batch_positions(model: Any, inputs: Mapping[str, Any]) -> torch.Tensor | None:
    """Positions (3, B, L) of left-padded Qwen-VL prompts that are alike up to the end of their one photo.

    Behind the photo is text, so that the longest prompt's positions are every prompt's. The model counts them
    row by row in Python, which takes a seventh of the whole time. None where the prompts differ, or the model
    counts otherwise: `generate` then asks the model.
    """
    kinds, grid = inputs.get("mm_token_type_ids"), inputs.get("image_grid_thw")
    count = getattr(getattr(model, "model", None), "get_rope_index", None)
    if count is None or kinds is None or grid is None or len(grid) != len(kinds) or (grid != grid[0]).any():
        return None
    padding = _padding(inputs["input_ids"], inputs.get("attention_mask"))
    columns = torch.arange(kinds.shape[1], device=kinds.device)
    aligned = kinds.gather(1, (columns + padding[:, None]).clamp(max=kinds.shape[1] - 1))
    if (aligned != aligned[:1]).any():
        return None
    longest = int(padding.argmin())
    row = slice(longest, longest + 1)
    start = int(padding[longest])
    positions, _ = count(
        inputs["input_ids"][row, start:], mm_token_type_ids=kinds[row, start:], image_grid_thw=grid[row]
    )
    return positions[:, 0][:, (columns - padding[:, None]).clamp(min=0)]


def _read_prompts(
    model: Any, input_ids: torch.Tensor, inputs: Mapping[str, Any]
) -> tuple[torch.Tensor, DynamicCache, torch.Tensor]:
    """Logits of each row's last token (B, 1, V), the cache of all tokens, and its mask (B, L)."""
    padding = _padding(input_ids, inputs.get("attention_mask"))
    shared = _shared(input_ids, padding, inputs.get("mm_token_type_ids"))
    cache, longest = _roomy_cache(model), int(padding.argmin())
    if shared:
        model(
            input_ids=input_ids[longest : longest + 1, :shared],
            position_ids=inputs["position_ids"][..., longest : longest + 1, :shared],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            return_dict=True,
        )
        cache.batch_repeat_interleave(len(input_ids))
    # Behind the shared tokens each row keeps its last L - shared columns; of these its first `padding` hold
    # padding or shared tokens again, and are masked.
    columns = torch.arange(input_ids.shape[1], device=input_ids.device)
    mask = ((columns < shared) | (columns >= shared + padding[:, None])).long()
    rest = {
        name: value[:, shared:] if torch.is_tensor(value) and value.shape[:2] == input_ids.shape else value
        for name, value in inputs.items()
        if name not in ("attention_mask", "position_ids", "past_key_values", "use_cache")
    }
    outputs = model(
        input_ids=input_ids[:, shared:],
        attention_mask=mask,
        position_ids=inputs["position_ids"][..., shared:],
        past_key_values=cache,
        use_cache=True,
        return_dict=True,
        **rest,
    )
    return outputs.logits, cache, mask


def _padding(input_ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """How many padding tokens each row begins with (B)."""
    if mask is None:
        return input_ids.new_zeros(len(input_ids))
    return mask.shape[1] - mask.sum(1)


def _shared(input_ids: torch.Tensor, padding: torch.Tensor, kinds: torch.Tensor | None) -> int:
    """How many tokens all prompts begin with: text alone, and one token less than the shortest prompt."""
    length = input_ids.shape[1] - int(padding.max()) - 1
    columns = padding[:, None] + torch.arange(length, device=input_ids.device)
    begins = input_ids.gather(1, columns)
    same = (begins == begins[:1]).all(0)
    if kinds is not None:
        same &= (kinds.gather(1, columns) == 0).all(0)
    return int(same.long().cumprod(0).sum()) if len(input_ids) > 1 else 0


def _roomy_cache(model: Any) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class RoomyLayer(DynamicLayer):
    """A growing cache layer that allocates for `ROOM` more tokens at a time; its tensors are views.

    To a single new token it shows its whole buffers, whose rows lie side by side in memory: what is behind
    the token is zero, and the causal mask hides it.
    """

    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the states (B, H, new, D), and return all (B, H, seen + new, D)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        seen = self.get_seq_length()
        total = seen + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < total:
            self._buffers = (
                self._grown(key_states, self.keys, seen),
                self._grown(value_states, self.values, seen),
            )
        keys, values = self._buffers
        keys[..., seen:total, :], values[..., seen:total, :] = key_states, value_states
        self.keys, self.values = keys[..., :total, :], values[..., :total, :]
        return self._buffers if key_states.shape[-2] == 1 else (self.keys, self.values)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys `update` will return for so many new tokens, and the first one's position."""
        total = self.get_seq_length() + query_length
        if query_length > 1:
            return total, 0
        room = 0 if self._buffers is None else self._buffers[0].shape[-2]
        return (room if room >= total else total + ROOM), 0

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only these rows."""
        super().batch_select_indices(indices)
        self._buffers = None

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        super().batch_repeat_interleave(repeats)
        self._buffers = None

    @staticmethod
    def _grown(new: torch.Tensor, old: torch.Tensor | None, seen: int) -> torch.Tensor:
        batch, heads, length, width = new.shape
        buffer = new.new_zeros((batch, heads, seen + length + ROOM, width))
        if old is not None and seen:
            buffer[..., :seen, :] = old
        return buffer
