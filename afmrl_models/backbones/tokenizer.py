"""A small byte-level BPE tokenizer in Qwen's form, trained on the training split's texts."""

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer

from afmrl_models.backbones.special_tokens import SPECIAL_TOKENS, neutralise
from afmrl_models.errors import UserError

TEMPLATE_WEIGHT = 1000


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Qwen2Tokenizer:
    """Train a Qwen2 tokenizer of at most `vocabulary` tokens, special tokens included; any text is encodable.

    Special tokens written inside the texts are learnt as plain characters. Deterministic in the texts and
    their order. Raises ValueError when there is no text.
    """
    backend = Qwen2Tokenizer().backend_tokenizer
    raw = Tokenizer(models.BPE())
    raw.normalizer = backend.normalizer
    raw.pre_tokenizer = backend.pre_tokenizer
    seen = 0

    def counted() -> Iterable[str]:
        nonlocal seen
        for text in texts:
            seen += 1
            yield neutralise(text)
        # The chat template writes these in every sequence, so they deserve a token each.
        yield from ["user\nassistant\nsystem\n"] * TEMPLATE_WEIGHT

    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIAL_TOKENS),
        min_frequency=2,
        initial_alphabet=ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    raw.train_from_iterator(counted(), trainer)
    if not seen:
        raise UserError("a tokenizer cannot be trained on no text: the training split is empty")
    model = json.loads(raw.to_str())["model"]
    # transformers annotates list[str] and takes pairs.
    merges: Any = [(left, right) for left, right in model["merges"]]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=merges,
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        model_max_length=32768,
    )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS]}
    )
    return tokenizer
