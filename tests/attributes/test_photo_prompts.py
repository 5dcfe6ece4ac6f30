"""Inputs made for many photos at once against the processor's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoProcessor

from afmrl_models.attributes.photo_prompts import PhotoPrompts
from afmrl_models.attributes.prompt import messages, prompt_text
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.config import BackboneConfig

TITLES = ["mug", "a red mug with a very long title " * 4, "", "赤い シャツ", "<|image_pad|> lamp"]
KEYS = ["type", "colour"]


@pytest.fixture(scope="module", params=[build_generator, build_embedder])
def processor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of Qwen2.5-VL and of Qwen2-VL, for photos of 56 pixels."""
    config = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=350)
    texts = [prompt_text(title, KEYS) for title in TITLES]
    path: Path = request.param(config, texts, 56, tmp_path_factory.mktemp("m") / "m", 0)
    register()
    return AutoProcessor.from_pretrained(path)


def _prompts(processor: Any, edge: int) -> PhotoPrompts:
    prompts = [
        processor.apply_chat_template(messages(title, KEYS), add_generation_prompt=True) for title in TITLES
    ]
    pixels = np.random.default_rng(0).integers(0, 256, (len(TITLES), edge, edge, 3), dtype=np.uint8)
    return PhotoPrompts(processor, prompts, lambda rows: pixels[list(rows)])


@pytest.mark.parametrize("rows", [[0], [1, 0, 4, 2, 3]])
def test_inputs_are_the_processors(processor: Any, rows: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = _prompts(processor, 56)
    expected = prompts._processed(rows)
    monkeypatch.setattr(prompts, "_processed", None)  # from here on, it makes them itself
    found = prompts.inputs(rows)
    assert set(found) == set(expected)
    for name in found:
        assert found[name].dtype == expected[name].dtype and torch.equal(found[name], expected[name]), name


@pytest.mark.parametrize("edge", [84, 50])
def test_photos_that_the_processor_resizes_are_left_to_it(processor: Any, edge: int) -> None:
    prompts = _prompts(processor, edge)
    found, expected = prompts.inputs([1, 0]), prompts._processed([1, 0])
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert found["image_grid_thw"].tolist() == [[1, 4, 4]] * 2


def test_lengths_are_the_prompts(processor: Any) -> None:
    prompts = _prompts(processor, 56)
    assert len(prompts.lengths) == len(TITLES) and max(prompts.lengths) == prompts.lengths[1]
    assert PhotoPrompts(processor, [], lambda rows: np.empty(0)).lengths == []
