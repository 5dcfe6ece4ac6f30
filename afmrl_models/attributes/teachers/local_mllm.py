"""The teacher that is a larger multimodal model on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from afmrl_models.attributes.progress import progress_of
from afmrl_models.attributes.prompt import TEACHER_INSTRUCTION, messages
from afmrl_models.attributes.teachers.answers import Answer, read_answer
from afmrl_models.attributes.teachers.teacher import TeacherError, attributes_table
from afmrl_models.backbones.processor import register
from afmrl_models.catalog.images import ImageStore
from afmrl_models.config import TeacherConfig

MAX_ANSWER_TOKENS = 256


class LocalTeacher:
    """Answers greedily, `config.batch_size` listings at a time, in batches of similar title length.

    The model (hub id or directory) is loaded at the first `write`, in bfloat16 on a GPU, otherwise float32.
    TeacherError names the model if it cannot be loaded.
    """

    def __init__(
        self, config: TeacherConfig, keys: Sequence[str], device: str, instruction: str = TEACHER_INSTRUCTION
    ) -> None:
        if config.model is None:
            raise TeacherError("teacher kind transformers needs model")
        self.config = config
        self.keys = list(keys)
        self.device = device
        self.instruction = instruction
        self.version = f"teacher:transformers:{config.model}"
        self._loaded: tuple[Any, Any] | None = None

    def write(
        self, listings: pd.DataFrame, images: ImageStore, progress: bool = False, kept: Path | None = None
    ) -> pd.DataFrame:
        """See `Teacher.write`; nothing is kept."""
        ids, titles = listings["listing_id"].tolist(), listings["title"].tolist()
        order = sorted(range(len(ids)), key=lambda position: -len(titles[position]))
        answers: list[Answer] = [Answer("", None)] * len(ids)
        with progress_of("teacher", len(ids), enabled=progress) as bar:
            for start in range(0, len(order), self.config.batch_size):
                batch = order[start : start + self.config.batch_size]
                written = self._answer([self._conversation(titles[p], images.get(ids[p])) for p in batch])
                for position, answer in zip(batch, written, strict=True):
                    answers[position] = answer
                bar.update(len(batch))
        return attributes_table(listings, answers, self.version)

    def _conversation(self, title: str, image: Any) -> list[dict[str, Any]]:
        conversation = messages(title, self.keys, instruction=self.instruction)
        conversation[-1]["content"][0] = {"type": "image", "image": image}
        return conversation

    @torch.inference_mode()
    def _answer(self, conversations: list[list[dict[str, Any]]]) -> list[Answer]:
        model, processor = self._load()
        inputs = processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"padding": True, "return_tensors": "pt"},
        ).to(model.device)
        tokens = model.generate(**inputs, do_sample=False, max_new_tokens=MAX_ANSWER_TOKENS)
        tokens = tokens[:, inputs["input_ids"].shape[1] :]
        ends = model.generation_config.eos_token_id
        ends = torch.tensor(ends if isinstance(ends, list) else [ends], device=tokens.device)
        finished = torch.isin(tokens, ends).any(dim=1).tolist()
        return [
            # An answer that was cut off may end in half a word.
            read_answer(raw, self.keys) if complete else Answer(raw, None)
            for raw, complete in zip(
                processor.batch_decode(tokens, skip_special_tokens=True), finished, strict=True
            )
        ]

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            register()
            name = str(self.config.model)
            dtype = torch.bfloat16 if self.device.startswith("cuda") else torch.float32
            try:
                processor: Any = AutoProcessor.from_pretrained(name)
                model: Any = AutoModelForImageTextToText.from_pretrained(name, dtype=dtype)
            except (OSError, ValueError) as error:
                raise TeacherError(f"the teacher's model {name!r} cannot be loaded: {error}") from error
            processor.tokenizer.padding_side = "left"
            self._loaded = model.to(self.device).eval(), processor
        return self._loaded
