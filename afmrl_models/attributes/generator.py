"""The attribute generator at work: texts for many listings, in batches sorted by length."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import pandas as pd
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers import GenerationConfig as TransformersGenerationConfig

from afmrl_models.attributes.decoding import batch_positions, greedy_tokens
from afmrl_models.attributes.grammar import AttributeTextError, parse
from afmrl_models.attributes.photo_prompts import PhotoPrompts
from afmrl_models.attributes.progress import progress_of
from afmrl_models.attributes.prompt import messages, title_text
from afmrl_models.backbones.device import pick_device
from afmrl_models.backbones.photo_tower import quick_photo_tower
from afmrl_models.backbones.prefix_attention import shared_prefix_attention
from afmrl_models.backbones.processor import register
from afmrl_models.catalog.images import ImageStore
from afmrl_models.config import GenerationConfig

Batch = TypeVar("Batch")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Writing:
    """What the generator wrote for one listing; not `finished` where `max_new_tokens` cut it off."""

    text: str
    finished: bool

    def attributes(self) -> dict[str, str] | None:
        """The pairs; None where the grammar refuses the text, or a cut may have left half a value."""
        try:
            return parse(self.text) if self.finished else None
        except AttributeTextError:
            return None


class AttributeGenerator:
    """A vision-language model that reads photo and title and writes the attribute text."""

    def __init__(self, model: Any, processor: Any) -> None:
        quick_photo_tower(model)
        self._shares_prefix = shared_prefix_attention(model)
        self.model = model.eval()
        self.processor = processor

    @classmethod
    def load(cls, path: Path, device: str = "auto", dtype: torch.dtype | str | None = None) -> Self:
        """Load a checkpoint directory. dtype: bfloat16 on a GPU and float32 on a CPU unless given."""
        register()
        device = pick_device(device)
        dtype = dtype or (torch.bfloat16 if device == "cuda" else torch.float32)
        model: Any = AutoModelForImageTextToText.from_pretrained(path, dtype=dtype)
        return cls(model.to(device), AutoProcessor.from_pretrained(path))

    def generate(
        self,
        listings: pd.DataFrame,
        images: ImageStore,
        keys: Sequence[str],
        config: GenerationConfig,
        *,
        temperature: float | None = None,
        progress: bool = False,
    ) -> list[str]:
        """The text written for each listing, in their order; see `write`."""
        options: dict[str, Any] = {"temperature": temperature, "progress": progress}
        return [writing.text for writing in self.write(listings, images, keys, config, **options)]

    def write(
        self,
        listings: pd.DataFrame,
        images: ImageStore,
        keys: Sequence[str],
        config: GenerationConfig,
        *,
        temperature: float | None = None,
        progress: bool = False,
    ) -> list[Writing]:
        """What is written for each listing (`listing_id`, `title`), in their order; nothing is mended.

        Greedy unless a temperature is given. Listings are batched by the length of their prompts; what is
        written for one does not depend on its batch but for rounding.
        """
        ids = list(listings["listing_id"])
        prompts = PhotoPrompts(
            self.processor,
            self._prompts(list(listings["title"]), keys),
            lambda rows: images.pixels([ids[i] for i in rows]),
        )
        written: dict[int, Writing] = {}

        def read(batch: list[int]) -> tuple[list[int], Any]:
            return batch, prompts.inputs(batch)

        with progress_of("attributes", len(ids), enabled=progress) as bar:
            for batch, inputs in one_ahead(read, batches_by_length(prompts.lengths, config.batch_size)):
                texts = self._batch(inputs, config, temperature)
                written.update(zip(batch, texts, strict=True))
                bar.update(len(batch))
        return [written[i] for i in range(len(ids))]

    def _prompts(self, titles: Sequence[str], keys: Sequence[str]) -> list[str]:
        """The chat template around each title; rendered once."""
        template: Any = self.processor.apply_chat_template
        around = template(messages("", keys), tokenize=False, add_generation_prompt=True)
        before, after = around.rsplit(title_text(""), 1)
        return [f"{before}{title_text(title)}{after}" for title in titles]

    @torch.inference_mode()
    def _batch(self, inputs: Any, config: GenerationConfig, temperature: float | None) -> list[Writing]:
        inputs = inputs.to(self.model.device, self.model.dtype)
        base = self.model.generation_config
        stops = [base.eos_token_id] if isinstance(base.eos_token_id, int) else list(base.eos_token_id)
        quickly = temperature is None and self._shares_prefix
        positions = batch_positions(self.model, inputs) if quickly else None
        if positions is not None:
            tokens = greedy_tokens(
                self.model, inputs, positions, stops=stops, pad=base.pad_token_id, room=config.max_new_tokens
            )
        else:
            tokens = self._generate(inputs, stops, config.max_new_tokens, temperature)
        return [self._writing(row, set(stops)) for row in tokens.tolist()]

    def _generate(self, inputs: Any, stops: list[int], room: int, temperature: float | None) -> torch.Tensor:
        """The library's own decoding: of samples, and of models that `greedy_tokens` does not know."""
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature is not None:
            sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        settings = TransformersGenerationConfig(
            max_new_tokens=room,
            eos_token_id=stops,
            pad_token_id=self.model.generation_config.pad_token_id,
            use_cache=True,
            **sampling,
        )
        tokens: torch.Tensor = self.model.generate(**inputs, generation_config=settings)
        return tokens[:, inputs["input_ids"].shape[1] :]

    def _writing(self, tokens: list[int], stops: set[int]) -> Writing:
        end = next((i for i, token in enumerate(tokens) if token in stops), None)
        # A special token in the middle stays visible: it makes the text invalid.
        text = self.processor.tokenizer.decode(tokens[:end], skip_special_tokens=False)
        return Writing(text.strip(), end is not None)


def batches_by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Positions in batches of like length, the longest first: what runs out of memory does so at once."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def one_ahead(read: Callable[[Batch], Read], batches: Iterable[Batch]) -> Iterator[Read]:
    """`map(read, batches)`, where a thread reads the next batch while the last one is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        coming: Future[Read] | None = None
        for batch in batches:
            previous, coming = coming, pool.submit(read, batch)
            if previous is not None:
                yield previous.result()
        if coming is not None:
            yield coming.result()
