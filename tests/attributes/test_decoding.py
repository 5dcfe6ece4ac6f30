"""The decoding loop and the photos' attention against the library's own."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from afmrl_models.attributes.decoding import RoomyLayer, batch_positions, greedy_tokens
from afmrl_models.attributes.prompt import messages, prompt_text
from afmrl_models.backbones.photo_tower import quick_photo_tower
from afmrl_models.backbones.prefix_attention import attend_behind_prefix, shared_prefix_attention
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.config import BackboneConfig

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


@pytest.mark.parametrize(
    "titles",
    [TITLES, TITLES[:1], [TITLES[1]] * 3, TITLES * 7],
    ids=["mixed", "one", "equal", "several parts"],
)
def test_tokens_are_those_of_plain_generate(checkpoint: Path, titles: list[str]) -> None:
    model: Any = AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
    inputs = _inputs(checkpoint, titles)
    free = model.generate(**inputs, generation_config=_config([349], 12))[:, inputs["input_ids"].shape[1] :]
    # Stop tokens that end the rows at different times, so that rows leave while others go on.
    stops = sorted({int(row[1 + 2 * i % 11]) for i, row in enumerate(free)})
    expected = model.generate(**inputs, generation_config=_config(stops, 12))
    quick: Any = AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
    quick_photo_tower(quick)
    assert shared_prefix_attention(quick)
    positions = batch_positions(quick, inputs)
    assert positions is not None
    with torch.inference_mode():
        found = greedy_tokens(quick, inputs, positions, stops=stops, pad=0, room=12)
    assert torch.equal(found, expected[:, inputs["input_ids"].shape[1] :])


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
def test_a_quick_tower_sees_what_the_librarys_does(checkpoint: Path, sizes: list[int]) -> None:
    processor: Any = AutoProcessor.from_pretrained(checkpoint)
    processor.image_processor.size = {"shortest_edge": 28**2, "longest_edge": 168**2}
    random = np.random.default_rng(0)
    photos = [random.integers(0, 255, (size, size, 3), dtype=np.uint8) for size in sizes]
    pixels = processor.image_processor(images=photos, return_tensors="pt")
    features = []
    for batched in (False, True):
        model: Any = AutoModelForImageTextToText.from_pretrained(checkpoint).eval().double()
        if batched:
            quick_photo_tower(model)
            assert model.model.visual.config._attn_implementation != "sdpa"
        with torch.no_grad():
            found = model.get_image_features(pixels["pixel_values"].double(), pixels["image_grid_thw"])
        features.append(torch.cat(list(found.pooler_output)))
    torch.testing.assert_close(features[1], features[0], rtol=1e-8, atol=1e-8)


def test_a_roomy_layer_holds_what_it_was_given() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 5, 4), torch.randn(1, 3, 4, 4)
    layer = RoomyLayer()
    layer.place(slice(0, 2), first, -first, (3, 5))
    layer.place(slice(2, 3), second, -second, (3, 5))
    expected = torch.cat([first, torch.nn.functional.pad(second, (0, 0, 1, 0))])
    assert torch.equal(layer.keys, expected) and torch.equal(layer.values, -expected)
    for length in (1, 40, 1):
        states = torch.randn(3, 3, length, 4)
        expected = torch.cat([expected, states], dim=2)
        keys, values = layer.update(states, -states)
        assert torch.equal(keys, expected) and torch.equal(values, -expected)
    layer.batch_select_indices(torch.tensor([2, 0]))
    states = torch.randn(2, 3, 1, 4)
    keys, _ = layer.update(states, -states)
    assert torch.equal(keys, torch.cat([expected[[2, 0]], states], dim=2))
    assert layer.get_seq_length() == 48


@pytest.mark.parametrize("tokens", [1, 5], ids=["one token", "five tokens"])
@pytest.mark.parametrize("heads", [4, 2], ids=["a key a query head", "keys shared by heads"])
@pytest.mark.parametrize("before", [0, 3], ids=["no prefix", "prefix"])
def test_attention_behind_a_prefix_is_that_over_all_tokens(tokens: int, heads: int, before: int) -> None:
    torch.manual_seed(0)
    module = SimpleNamespace(num_key_value_groups=4 // heads, is_causal=True, layer_idx=1)
    query, key, value = (torch.randn(3, 4 if i == 0 else heads, tokens if i == 0 else 6, 8) for i in range(3))
    mask = torch.rand(3, 1, tokens, 6) < 0.7
    mask[..., 0] = True
    shared = torch.randn(2, 1, heads, before, 8)
    every = (
        torch.cat([part.expand(3, -1, -1, -1), own], 2)
        for part, own in zip(shared, (key, value), strict=True)
    )
    expected, _ = sdpa_attention_forward(
        module, query, *every, torch.nn.functional.pad(mask, (before, 0), value=True), scaling=0.3
    )
    prefix = [None, (shared[0], shared[1])] if before else None
    found, _ = attend_behind_prefix(module, query, key, value, mask, scaling=0.3, prefix=prefix)
    torch.testing.assert_close(found, expected)


def test_models_with_sliding_windows_keep_their_attention(checkpoint: Path) -> None:
    model: Any = AutoModelForImageTextToText.from_pretrained(checkpoint)
    model.config.get_text_config().layer_types = ["sliding_attention", "full_attention"]
    assert not shared_prefix_attention(model)
    assert model.config.get_text_config()._attn_implementation == "sdpa"
