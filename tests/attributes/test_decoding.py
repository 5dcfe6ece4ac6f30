"""The decoding loop and the photos' attention against the library's own."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from afmrl_models.attributes.decoding import RoomyLayer, batch_positions, greedy_decoding
from afmrl_models.attributes.prompt import messages, prompt_text
from afmrl_models.backbones.photo_attention import batch_photo_attention
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.backbones.token_attention import attend_from_one_token
from afmrl_models.config.profile import BackboneConfig

KEYS = ["type", "colour"]
TITLES = ["mug", "a red mug with a very long title " * 4, "blue jacket", "", "赤い シャツ", "lamp " * 9]


@pytest.fixture(scope="module", params=[build_generator, build_embedder])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2.5-VL and Qwen2-VL; random weights, so large that what they write depends on title and photo."""
    config = BackboneConfig(hidden_size=32, layers=2, vision_layers=2, vocabulary=350)
    out: Path = request.param(
        config, [prompt_text(title, KEYS) for title in TITLES], 56, tmp_path_factory.mktemp("m") / "m", 0
    )
    register()
    model: Any = AutoModelForImageTextToText.from_pretrained(out)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    model.save_pretrained(out)
    return out


def _inputs(checkpoint: Path, titles: list[str]) -> Any:
    processor: Any = AutoProcessor.from_pretrained(checkpoint)
    prompts = [
        processor.apply_chat_template(messages(title, KEYS), add_generation_prompt=True) for title in titles
    ]
    random = np.random.default_rng(0)
    photos = [random.integers(0, 255, (56, 56, 3), dtype=np.uint8) for _ in titles]
    return processor(text=prompts, images=photos, padding=True, padding_side="left", return_tensors="pt")


def _config(stops: list[int], length: int) -> GenerationConfig:
    return GenerationConfig(max_new_tokens=length, do_sample=False, eos_token_id=stops, pad_token_id=0)


@pytest.mark.parametrize("titles", [TITLES, TITLES[:1], [TITLES[1]] * 3], ids=["mixed", "one", "equal"])
def test_tokens_are_those_of_plain_generate(checkpoint: Path, titles: list[str]) -> None:
    model: Any = AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
    inputs = _inputs(checkpoint, titles)
    free = model.generate(**inputs, generation_config=_config([349], 12))[:, inputs["input_ids"].shape[1] :]
    # Stop tokens that end the rows at different times, so that rows leave while others go on.
    stops = sorted({int(row[1 + 2 * i % 11]) for i, row in enumerate(free)})
    expected = model.generate(**inputs, generation_config=_config(stops, 12))
    positions = batch_positions(model, inputs)
    assert positions is not None
    given = model.generate(
        **inputs,
        position_ids=positions,
        generation_config=_config(stops, 12),
        custom_generate=greedy_decoding,
    )
    counted = model.generate(**inputs, generation_config=_config(stops, 12), custom_generate=greedy_decoding)
    assert torch.equal(given, expected)
    assert torch.equal(counted, expected)


def test_positions_are_the_models_own(checkpoint: Path) -> None:
    model: Any = AutoModelForImageTextToText.from_pretrained(checkpoint)
    inputs = _inputs(checkpoint, TITLES)
    expected, _ = model.model.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
        image_grid_thw=inputs["image_grid_thw"],
        attention_mask=inputs["attention_mask"],
    )
    mask = inputs["attention_mask"].bool()
    positions = batch_positions(model, inputs)
    assert positions is not None
    assert torch.equal(positions[:, mask], expected[:, mask])


def test_prompts_with_photos_in_different_places_are_left_to_the_model(checkpoint: Path) -> None:
    model: Any = AutoModelForImageTextToText.from_pretrained(checkpoint)
    inputs = dict(_inputs(checkpoint, TITLES[:2]))
    inputs["mm_token_type_ids"] = inputs["mm_token_type_ids"].clone()
    inputs["mm_token_type_ids"][0] = inputs["mm_token_type_ids"][0].roll(-1)
    assert batch_positions(model, inputs) is None


@pytest.mark.parametrize("sizes", [[56, 56, 56], [56, 112, 28, 168]], ids=["equal", "mixed"])
def test_photos_are_attended_as_one_by_one(checkpoint: Path, sizes: list[int]) -> None:
    processor: Any = AutoProcessor.from_pretrained(checkpoint)
    processor.image_processor.size = {"shortest_edge": 28**2, "longest_edge": 168**2}
    random = np.random.default_rng(0)
    photos = [random.integers(0, 255, (size, size, 3), dtype=np.uint8) for size in sizes]
    pixels = processor.image_processor(images=photos, return_tensors="pt")
    features = []
    for batched in (False, True):
        model: Any = AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
        if batched:
            batch_photo_attention(model)
            assert model.model.visual.config._attn_implementation != "sdpa"
        with torch.no_grad():
            found = model.get_image_features(pixels["pixel_values"], pixels["image_grid_thw"])
        features.append(torch.cat(list(found.pooler_output)))
    torch.testing.assert_close(features[1], features[0], rtol=1e-4, atol=1e-4)


def test_a_roomy_layer_holds_what_it_was_given() -> None:
    torch.manual_seed(0)
    layer, expected = RoomyLayer(), torch.empty(2, 3, 0, 4)
    for length in (5, 1, 40, 1):
        states = torch.randn(2, 3, length, 4)
        expected = torch.cat([expected, states], dim=2)
        announced, _ = layer.get_mask_sizes(length)
        keys, values = layer.update(states, -states)
        seen = expected.shape[2]
        assert keys.shape[2] == values.shape[2] == announced >= seen
        assert torch.equal(keys[:, :, :seen], expected) and torch.equal(values[:, :, :seen], -expected)
        assert not keys[:, :, seen:].any() and not values[:, :, seen:].any(), "behind the tokens is zero"
    layer.batch_select_indices(torch.tensor([1]))
    layer.batch_repeat_interleave(3)
    keys, _ = layer.update(torch.ones(3, 3, 1, 4), torch.ones(3, 3, 1, 4))
    assert torch.equal(keys[:, :, :47], expected[[1, 1, 1]])
    assert layer.get_seq_length() == 48


@pytest.mark.parametrize("heads", [4, 2], ids=["a key a query head", "keys shared by heads"])
def test_one_token_attends_as_the_fused_kernel_does(heads: int) -> None:
    torch.manual_seed(0)
    module = SimpleNamespace(num_key_value_groups=4 // heads, is_causal=True)
    query, key, value = torch.randn(3, 4, 1, 8), torch.randn(3, heads, 6, 8), torch.randn(3, heads, 6, 8)
    mask = torch.rand(3, 1, 1, 6) < 0.7
    mask[..., 0] = True
    for seen in (mask, None):
        ours, _ = attend_from_one_token(module, query, key, value, seen, scaling=0.3)
        theirs, _ = sdpa_attention_forward(module, query, key, value, seen, scaling=0.3)
        torch.testing.assert_close(ours, theirs)
