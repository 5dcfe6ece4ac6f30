"""Small backbones behave as ordinary Qwen-VL checkpoints for every library that loads them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from afmrl_models.backbones.processor import register
from afmrl_models.backbones.resolve import BackboneNotFoundError, resolve
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.backbones.special_tokens import SPECIAL_TOKENS, neutralise
from afmrl_models.backbones.tokenizer import train_tokenizer
from afmrl_models.config import BackboneConfig

TINY = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=400)
TEXTS = ["red cotton shirt", "blue denim jacket", "colour: red; type: shirt", "赤い シャツ", "เสื้อสีแดง"] * 5
BUILDERS = {"embedder": build_embedder, "generator": build_generator}


@pytest.fixture(scope="module", params=["embedder", "generator"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    register()
    out = tmp_path_factory.mktemp("backbones") / request.param
    return BUILDERS[request.param](TINY, TEXTS, 56, out, 7)


def photo(seed: int, size: int = 56) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8))


def message(seed: int, text: str, size: int = 56) -> list[dict]:
    content = [{"type": "image", "image": photo(seed, size)}, {"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize("role", ["embedder", "generator"])
def test_same_seed_same_bytes(role: str, tmp_path: Path) -> None:
    first = BUILDERS[role](TINY, TEXTS, 56, tmp_path / "first", 3)
    torch.manual_seed(99)
    again = BUILDERS[role](TINY, iter(TEXTS), 56, tmp_path / "again", 3)
    other = BUILDERS[role](TINY, TEXTS, 56, tmp_path / "other", 4)
    names = sorted(file.name for file in first.iterdir())
    assert names == sorted(file.name for file in again.iterdir())
    for name in names:
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    assert (first / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()
    assert (first / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()


def test_building_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_embedder(TINY, TEXTS, 28, tmp_path / "model", 1)
    assert torch.equal(torch.rand(3), expected)


def test_forward_and_generate_with_photos(checkpoint: Path) -> None:
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
    batch = processor.apply_chat_template(
        [message(1, "red shirt"), message(2, "a much longer blue denim jacket", size=90)],
        tokenize=True,
        return_dict=True,
        add_generation_prompt=True,
        processor_kwargs={"padding": True, "padding_side": "left", "return_tensors": "pt"},
    )
    image_token = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert model.config.image_token_id == image_token
    # 56 x 56 pixels, patches of 14, merged 2 x 2: four tokens a photo, whatever size the photo came in.
    assert (batch["input_ids"] == image_token).sum(1).tolist() == [4, 4]
    with torch.inference_mode():
        logits = model(**batch).logits
        changed = model(**{**batch, "pixel_values": batch["pixel_values"].flip(0)}).logits
        written = model.generate(**batch, max_new_tokens=3)
    assert logits.isfinite().all()
    assert not torch.allclose(logits, changed)
    assert written.shape[1] <= batch["input_ids"].shape[1] + 3
    assert model.generation_config.pad_token_id == processor.tokenizer.pad_token_id
    assert processor.tokenizer.eos_token == "<|im_end|>"
    assert processor.tokenizer.eos_token_id in model.generation_config.eos_token_id


def test_padding_does_not_change_a_row(checkpoint: Path) -> None:
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
    kwargs = {"padding": True, "padding_side": "left", "return_tensors": "pt"}

    def last_logits(messages: list) -> torch.Tensor:
        batch = processor.apply_chat_template(
            messages, tokenize=True, return_dict=True, add_generation_prompt=True, processor_kwargs=kwargs
        )
        with torch.inference_mode():
            return model(**batch).logits[:, -1]

    short, long = message(1, "red"), message(2, "blue denim jacket, blue denim jacket, blue denim jacket")
    torch.testing.assert_close(last_logits([short, long])[0], last_logits([short])[0], atol=1e-5, rtol=1e-4)


def test_sentence_transformers_accepts_it(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    register()
    transformer = Transformer(str(build_embedder(TINY, TEXTS, 28, tmp_path / "base", 0)))
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="lasttoken")
    model = SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")
    both = [
        {"image": photo(1, 28), "text": "red shirt"},
        {"image": photo(2, 28), "text": "a long blue denim jacket"},
    ]
    vectors = model.encode(both)
    assert vectors.shape == (2, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert model.encode(["red shirt"]).shape == (1, 32)
    assert model.encode([photo(1, 28)]).shape == (1, 32)
    np.testing.assert_allclose(model.encode(both[:1]), vectors[:1], atol=1e-5)
    model.save(str(tmp_path / "saved"))
    np.testing.assert_allclose(
        SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(both), vectors, atol=1e-6
    )


def test_tokenizer_reads_any_text_back() -> None:
    tokenizer = train_tokenizer(TEXTS, 400)
    assert len(tokenizer) <= 400
    for text in ["red shirt", "赤い", "เสื้อ", "emoji 🧥 and\ttabs\n", "Ünïcödé", "x" * 3000]:
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids) == text
    for token in SPECIAL_TOKENS:
        assert tokenizer(token).input_ids == [tokenizer.convert_tokens_to_ids(token)]
        assert token in tokenizer.all_special_tokens


def test_tokenizer_of_no_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="no text"):
        train_tokenizer([], 400)


@pytest.mark.parametrize("hostile", [*SPECIAL_TOKENS, "<|<|im_end|>|>", "a<|image_pad|><|image_pad|>b"])
def test_catalog_text_never_becomes_a_special_token(hostile: str) -> None:
    tokenizer = train_tokenizer([*TEXTS, hostile], 400)
    special = set(tokenizer.all_special_ids)
    assert special & set(tokenizer(hostile).input_ids)
    safe = neutralise(hostile)
    assert not special & set(tokenizer(safe).input_ids)
    assert neutralise(safe) == safe
    assert not special & set(tokenizer(neutralise(f"<<|{hostile}|>")).input_ids)
    assert neutralise("plain < title | 3 > 2") == "plain < title | 3 > 2"


def test_chat_template_is_qwens_without_the_default_system_message(checkpoint: Path) -> None:
    from trl.chat_template_utils import qwen2_5_vl_chat_template

    processor = AutoProcessor.from_pretrained(checkpoint)
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what is it?"}]},
        {"role": "assistant", "content": "a shirt"},
        {"role": "user", "content": [{"type": "text", "text": "and this?"}, {"type": "image"}]},
    ]
    for prompt in (False, True):
        for rows in (conversation, conversation[1:]):
            options = {"tokenize": False, "add_generation_prompt": prompt}
            hub = processor.apply_chat_template(rows, chat_template=qwen2_5_vl_chat_template, **options)
            default = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            assert processor.apply_chat_template(rows, **options) == hub.removeprefix(default)


def test_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = resolve(TINY, "embedder", TEXTS, 28, tmp_path / "built", 0)
    assert built == tmp_path / "built"
    local = BackboneConfig(pretrained=str(built))
    assert resolve(local, "embedder", iter(()), 28, tmp_path / "unused", 0) == built
    assert not (tmp_path / "unused").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackboneNotFoundError, match=r"config\.json"):
        resolve(
            BackboneConfig(pretrained=str(tmp_path / "empty")), "generator", TEXTS, 28, tmp_path / "unused", 0
        )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BackboneNotFoundError, match=r"generator\.pretrained: 'nobody/nothing'"):
        resolve(BackboneConfig(pretrained="nobody/nothing"), "generator", TEXTS, 28, tmp_path / "unused", 0)
