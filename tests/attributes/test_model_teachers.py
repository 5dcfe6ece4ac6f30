"""A real model as a teacher: on this machine, and behind `transformers serve`."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from painted_listings import KEYS, PAINTS, SIZE, painted
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from afmrl_models.attributes.prompt import TEACHER_INSTRUCTION, messages, prompt_text
from afmrl_models.attributes.teachers import TeacherError, open_teacher
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.small import build_generator
from afmrl_models.config import BackboneConfig, TeacherConfig


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _conversation(colour: str) -> list[dict[str, Any]]:
    conversation = messages("shirt", KEYS, instruction=TEACHER_INSTRUCTION)
    photo = Image.new("RGB", (SIZE, SIZE), PAINTS[colour])
    conversation[-1]["content"][0] = {"type": "image", "image": photo}
    return conversation


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2.5-VL that has learned to say the colour of a photo, as a checkpoint directory."""
    out = tmp_path_factory.mktemp("painter") / "model"
    answers = {colour: f"colour: {colour}; name: shirt" for colour in PAINTS}
    texts = [prompt_text("shirt", KEYS, TEACHER_INSTRUCTION), *answers.values()] * 4
    config = BackboneConfig(hidden_size=64, layers=1, vision_layers=1, vocabulary=400)
    build_generator(config, texts, SIZE, out, seed=0)
    register()
    processor: Any = AutoProcessor.from_pretrained(out)
    model: Any = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32)
    processor.tokenizer.padding_side = "left"
    inputs = processor.apply_chat_template(
        [
            [*_conversation(colour), {"role": "assistant", "content": [{"type": "text", "text": answer}]}]
            for colour, answer in answers.items()
        ],
        tokenize=True,
        return_dict=True,
        processor_kwargs={"padding": True, "return_tensors": "pt"},
    )
    taught = max(len(processor.tokenizer(a + "<|im_end|>\n")["input_ids"]) for a in answers.values())
    labels = inputs["input_ids"].clone()
    labels[:, :-taught] = -100
    labels[inputs["attention_mask"] == 0] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(400):
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.01:
            break
    assert loss < 0.05, f"the tiny model did not learn: {loss}"
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return out


COLOURS = ["red", "blue", "green", "blue", "red"]
SAID = [f"colour: {colour}; name: shirt" for colour in COLOURS]


def test_a_local_model_looks_at_the_photos(painter: Path, tmp_path: Path) -> None:
    listings, images = painted(tmp_path, COLOURS)
    config = TeacherConfig(kind="transformers", model=str(painter), batch_size=2)
    table = open_teacher(config, KEYS, "cpu").write(listings, images)
    assert table["attributes_text"].tolist() == SAID
    assert table["valid"].all()
    assert set(table["generator_version"]) == {f"teacher:transformers:{painter}"}


def test_a_local_model_that_does_not_exist_is_named(tmp_path: Path) -> None:
    listings, images = painted(tmp_path, ["red"])
    with pytest.raises(TeacherError, match="nowhere"):
        open_teacher(TeacherConfig(kind="transformers", model=str(tmp_path / "nowhere")), KEYS).write(
            listings, images
        )


def test_a_served_model_is_asked_over_the_openai_protocol(painter: Path, tmp_path: Path) -> None:
    """A real server process (`transformers serve`) with a real model in it, asked with real photos."""
    listings, images = painted(tmp_path, COLOURS)
    port = _free_port()
    program = Path(__file__).with_name("serve_model.py")
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}
    log = (tmp_path / "server.log").open("w+b")
    server = subprocess.Popen(
        [sys.executable, str(program), str(painter), str(port)], env=environment, stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + 180
        while not _healthy(port):
            assert server.poll() is None and time.monotonic() < deadline, Path(log.name).read_text()
            time.sleep(0.25)
        config = TeacherConfig(
            kind="openai",
            model=str(painter),
            base_url=f"http://127.0.0.1:{port}/v1",
            concurrency=2,
            max_retries=1,
        )
        table = open_teacher(config, KEYS).write(listings, images)
    finally:
        server.terminate()
        server.wait(30)
        log.close()
    assert table["attributes_text"].tolist() == SAID
    assert table["valid"].all()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_no_title_adds_a_special_token_or_an_image(painter: Path) -> None:
    processor: Any = AutoProcessor.from_pretrained(painter)
    tokenizer = processor.tokenizer

    def special_tokens(title: str) -> list[int]:
        text = processor.apply_chat_template(messages(title, KEYS), add_generation_prompt=True)
        return [token for token in tokenizer(text)["input_ids"] if token in tokenizer.added_tokens_decoder]

    plain = special_tokens("red shirt")
    assert len(plain) >= 5
    for token in tokenizer.added_tokens_encoder:
        assert special_tokens(f"red {token}{token} shirt") == plain
