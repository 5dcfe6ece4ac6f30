"""The processors without torchvision: same inputs as the stock ones, and directories both can load."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from afmrl_models.backbones import processor as processors
from afmrl_models.backbones.device import pick_device
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.config import BackboneConfig
from afmrl_models.errors import UserError

TINY = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=400)
TEXTS = ["red cotton shirt", "blue denim jacket"] * 5

without_torchvision = pytest.mark.skipif(
    processors.has_torchvision(), reason="the stock processors are used here"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_generator(TINY, TEXTS, 56, tmp_path_factory.mktemp("processor") / "generator", 0)


@without_torchvision
def test_registering_twice_is_harmless(checkpoint: Path) -> None:
    processors.register()
    processors.register()
    assert isinstance(AutoProcessor.from_pretrained(checkpoint), processors.Qwen2_5_VLProcessor)


@without_torchvision
def test_hub_style_directory_loads(checkpoint: Path, tmp_path: Path) -> None:
    """The hub's directories carry a preprocessor_config.json that names no processor, or the stock one."""
    processors.register()
    for model, builder in (("Qwen2VLProcessor", build_embedder), ("Qwen2_5_VLProcessor", build_generator)):
        out = builder(TINY, TEXTS, 56, tmp_path / model, 0)
        config = json.loads((out / "processor_config.json").read_text())["image_processor"]
        (out / "processor_config.json").unlink()
        size = config.pop("size")
        config |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
        for name in ({}, {"processor_class": model}):
            (out / "preprocessor_config.json").write_text(json.dumps({**config, **name}))
            loaded = AutoProcessor.from_pretrained(out)
            assert type(loaded) is getattr(processors, model)
            assert loaded.image_processor.size["longest_edge"] == 56 * 56


@without_torchvision
def test_saved_directory_describes_a_stock_processor(checkpoint: Path, tmp_path: Path) -> None:
    processors.register()
    AutoProcessor.from_pretrained(checkpoint).save_pretrained(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "processor_config.json").read_text())
    assert saved == json.loads((checkpoint / "processor_config.json").read_text())
    assert saved["processor_class"] == "Qwen2_5_VLProcessor"
    assert saved["image_processor"]["image_processor_type"] == "Qwen2VLImageProcessor"
    assert saved["video_processor"]["video_processor_type"] == "Qwen2VLVideoProcessor"


def test_photo_becomes_qwens_patches(checkpoint: Path) -> None:
    """Against a slow loop: order within 2 x 2 groups, normalisation, the frame repeated in time."""
    processors.register()
    processor = AutoProcessor.from_pretrained(checkpoint)
    pixels = np.random.default_rng(0).integers(0, 255, (56, 56, 3), dtype=np.uint8)
    batch = processor(images=[Image.fromarray(pixels)], text=["<|image_pad|>"], return_tensors="pt")
    assert batch["image_grid_thw"].tolist() == [[1, 4, 4]]
    mean, std = (np.array(getattr(processor.image_processor, name)) for name in ("image_mean", "image_std"))
    scaled = (pixels / 255 - mean) / std
    patches = []
    for row in range(0, 4, 2):
        for column in range(0, 4, 2):
            for down in range(2):
                for right in range(2):
                    y, x = 14 * (row + down), 14 * (column + right)
                    patch = scaled[y : y + 14, x : x + 14].transpose(2, 0, 1)
                    patches.append(np.stack([patch, patch], axis=1).reshape(-1))
    np.testing.assert_allclose(batch["pixel_values"].numpy(), np.stack(patches), atol=1e-5)


def test_processor_survives_pickling(checkpoint: Path) -> None:
    processors.register()
    processor = AutoProcessor.from_pretrained(checkpoint)
    again = pickle.loads(pickle.dumps(processor))
    assert again(text="red shirt")["input_ids"] == processor(text="red shirt")["input_ids"]


def test_pick_device() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no GPU"):
            pick_device("cuda")
    with pytest.raises(ValueError, match="tpu"):
        pick_device("tpu")
