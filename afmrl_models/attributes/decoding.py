"""A greedy decoding loop for many listings at once, for Qwen-VL models.

It writes what `generate` writes greedily (up to rounding: sums run over other batches), with less work:

- the tokens that all prompts of a batch begin with (the instruction) pass through the model once, and their
  keys and values are kept once;
- prompts are read, photos included, in parts of a batch whose activations fit into a core's cache;
- finished rows leave the batch, so that a long text does not make the others wait;
- keys and values are written into buffers with room instead of being copied at every token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from afmrl_models.backbones.prefix_attention import Prefix

READ_AT_ONCE = 32
ROOM = 32
LEAVE_AT_SHARE = 0.8


def greedy_tokens(
    model: Any,
    inputs: Mapping[str, Any],
    positions: torch.Tensor,
    *,
    stops: Sequence[int],
    pad: int,
    room: int,
) -> torch.Tensor:
    """What is written behind left-padded prompts (B, L), to a stop token or `room` tokens: (B, longest).

    The model must have `shared_prefix_attention`. inputs: a processor's, one photo of one size a prompt;
    positions: of `batch_positions`. Rows end with their stop token and are padded with `pad` behind it.
    """
    seen, prefix, cache, logits = _read(model, inputs, positions, room)
    position, count = positions[..., -1:], len(logits)
    own = seen.shape[-1] - room
    text = logits.new_full((count, room), pad, dtype=torch.long)
    rows = torch.arange(count, device=logits.device)
    writing = torch.ones_like(rows, dtype=torch.bool)
    ends = torch.tensor(stops, device=logits.device)
    for step in range(room):
        token = _largest(logits)
        text[rows, step] = torch.where(writing, token, pad)
        writing &= ~torch.isin(token, ends)
        left = int(writing.sum())
        if left == 0 or step + 1 == room:
            break
        position = position + 1
        if left <= LEAVE_AT_SHARE * len(rows):
            staying = writing.nonzero()[:, 0]
            cache.batch_select_indices(staying)
            rows, token, seen, writing = rows[staying], token[staying], seen[staying], writing[staying]
            position = position[..., staying, :]
        logits = model(
            input_ids=token[:, None],
            attention_mask=seen[..., : own + step + 1],
            position_ids=position,
            past_key_values=cache,
            prefix=prefix,
            use_cache=True,
        ).logits[:, -1]
    return text[:, : step + 1]


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


def _read(
    model: Any, inputs: Mapping[str, Any], positions: torch.Tensor, room: int
) -> tuple[torch.Tensor, Prefix | None, DynamicCache, torch.Tensor]:
    """Prompts through the model: which tokens behind the shared ones are seen (B, 1, 1, own + room), what the
    model keeps of the shared ones and of those behind them, and the logits of the last ones (B, V).
    """
    tokens = inputs["input_ids"]
    padding = _padding(tokens, inputs.get("attention_mask"))
    shared = _shared(tokens, padding, inputs.get("mm_token_type_ids"))
    longest = int(padding.argmin())
    prefix = _read_prefix(model, tokens[longest, :shared], positions[:, longest, :shared])
    # Behind the shared tokens each row keeps its last `own` columns; of these its first `padding` hold
    # padding or shared tokens again, and no one sees them.
    own = tokens.shape[1] - shared
    seen = torch.arange(own + room, device=tokens.device) >= padding[:, None, None, None]
    logits = []
    cache = DynamicCache(config=model.config)
    layers = [RoomyLayer() for _ in cache.layers]
    cache.layers = list(layers)
    patches = inputs["pixel_values"].unflatten(0, (len(tokens), -1))
    for start in range(0, len(tokens), READ_AT_ONCE):
        rows = slice(start, start + READ_AT_ONCE)
        unseen = int(padding[rows].min())
        columns = slice(shared + unseen, None)
        part: Any = DynamicCache(config=model.config)
        outputs = model(
            input_ids=tokens[rows, columns],
            attention_mask=_causal(seen[rows, ..., unseen:own]),
            position_ids=positions[:, rows, columns],
            pixel_values=patches[rows].flatten(0, 1),
            image_grid_thw=inputs["image_grid_thw"][rows],
            past_key_values=part,
            prefix=prefix,
            use_cache=True,
            logits_to_keep=1,
        )
        logits.append(outputs.logits[:, -1])
        for layer, read in zip(layers, part.layers, strict=True):
            layer.place(rows, read.keys, read.values, (len(tokens), own))
    return seen, prefix, cache, torch.cat(logits)


def _read_prefix(model: Any, tokens: torch.Tensor, positions: torch.Tensor) -> Prefix | None:
    """What the model keeps of the tokens (P) that all rows begin with; None where there is none."""
    if not len(tokens):
        return None
    cache: Any = DynamicCache(config=model.config)
    model(
        input_ids=tokens[None],
        position_ids=positions[:, None],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return [(layer.keys, layer.values) for layer in cache.layers]


def _causal(seen: torch.Tensor) -> torch.Tensor:
    """What each column sees (B, 1, L, L) of those that are seen at all (B, 1, 1, L); padding sees itself."""
    length = seen.shape[-1]
    before = torch.ones((length, length), dtype=torch.bool, device=seen.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=seen.device)
    return (seen & before) | itself


def _largest(logits: torch.Tensor) -> torch.Tensor:
    """The token of the largest logit (B). numpy finds it twenty times faster than torch on a CPU."""
    if logits.device.type == "cpu":
        return torch.from_numpy(logits.float().numpy().argmax(-1))
    return logits.argmax(-1)


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


class RoomyLayer(DynamicLayer):
    """A growing cache layer that allocates for `ROOM` more tokens at a time; its tensors are views."""

    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def place(self, rows: slice, keys: torch.Tensor, values: torch.Tensor, shape: tuple[int, int]) -> None:
        """Keep states (b, H, l, D) of some rows as the last of L tokens; shape: (B, L) of all rows."""
        if self._buffers is None:
            self.lazy_initialization(keys, values)
            self._buffers = (self._empty(keys, *shape), self._empty(values, *shape))
        before = shape[1] - keys.shape[-2]
        for buffer, states in zip(self._buffers, (keys, values), strict=True):
            buffer[rows, :, :before] = 0
            buffer[rows, :, before : shape[1]] = states
        self._show(shape[1])

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
        return self._show(total)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only these rows."""
        super().batch_select_indices(indices)
        self._buffers = None

    def _show(self, total: int) -> tuple[torch.Tensor, torch.Tensor]:
        assert self._buffers is not None
        self.keys, self.values = (buffer[..., :total, :] for buffer in self._buffers)
        return self.keys, self.values

    def _grown(self, new: torch.Tensor, old: torch.Tensor | None, seen: int) -> torch.Tensor:
        buffer = self._empty(new, len(new), seen + new.shape[-2])
        if old is not None and seen:
            buffer[..., :seen, :] = old
        return buffer

    @staticmethod
    def _empty(like: torch.Tensor, rows: int, length: int) -> torch.Tensor:
        return like.new_empty((rows, like.shape[1], length + ROOM, like.shape[-1]))
