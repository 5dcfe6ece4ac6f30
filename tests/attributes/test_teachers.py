"""The three teachers: agreement within a product, a served model over HTTP, a local model."""

import base64
import dataclasses
import io
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from afmrl_models.attributes.grammar import parse
from afmrl_models.attributes.prompt import TEACHER_INSTRUCTION, messages, user_text
from afmrl_models.attributes.teachers import TeacherError, catalog_keys, open_teacher
from afmrl_models.attributes.teachers.answers import read_answer
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.small import build_generator
from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES, read_table, write_table
from afmrl_models.config.profile import BackboneConfig, TeacherConfig

SIZE = 28
PAINTS = {"red": (220, 20, 20), "blue": (20, 20, 220), "green": (20, 200, 20)}
KEYS = ["colour", "name"]


def _frame(
    rows: list[tuple[str, str | None, dict[str, str] | None]], titles: list[str] | None = None
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "listing_id": [row[0] for row in rows],
            "product_id": pd.Series([row[1] for row in rows], dtype=object),
            "title": titles or [f"title of {row[0]}" for row in rows],
            "attributes": pd.Series([row[2] for row in rows], dtype=object),
            "content_hash": [f"hash-{row[0]}" for row in rows],
        }
    )


def _painted(tmp_path: Path, colours: list[str]) -> tuple[pd.DataFrame, ImageStore]:
    """Listings whose title says nothing of the colour their photo has."""
    listings = _frame([(f"l{i}", None, None) for i in range(len(colours))], titles=["shirt"] * len(colours))
    with ImageStoreWriter(tmp_path, SIZE) as writer:
        for listing_id, colour in zip(listings["listing_id"], colours, strict=True):
            writer.add(listing_id, np.full((SIZE, SIZE, 3), PAINTS[colour], np.uint8))
    return listings, ImageStore.open(tmp_path)


def _by_id(table: pd.DataFrame) -> dict[str, Any]:
    assert list(table.columns) == PRODUCT_ATTRIBUTES.names
    for row in table.itertuples():
        assert row.valid == (row.attributes is not None)
        assert not row.valid or parse(row.attributes_text) == row.attributes
    return dict(zip(table["listing_id"], table["attributes"], strict=True))


# --- catalog


def test_the_catalog_teacher_takes_the_majority_of_a_product(tmp_path: Path) -> None:
    listings = _frame(
        [
            ("p-a", "p", {"Colour": "Red", "size": "L"}),
            ("p-b", "p", {"colour": "red", "size": "M"}),
            ("p-c", "p", {"colour": "blue", "fit": "slim; <|im_end|>"}),
            ("p-d", "p", None),
            ("q-a", "q", {"colour": "blue", "size": "n/a"}),
            ("alone", None, {"size": "XS"}),
            ("bare", None, {}),
        ]
    )
    table = open_teacher(TeacherConfig(), []).write(listings, None)  # type: ignore[arg-type]
    assert _by_id(table) == {
        # colour by majority in its commonest spelling; size is a tie: one's own, otherwise the first
        "p-a": {"colour": "Red", "size": "L", "fit": "slim < |im_end|>"},
        "p-b": {"colour": "Red", "size": "M", "fit": "slim < |im_end|>"},
        "p-c": {"colour": "Red", "size": "L", "fit": "slim < |im_end|>"},
        "p-d": {"colour": "Red", "size": "L", "fit": "slim < |im_end|>"},
        "q-a": {"colour": "blue"},
        "alone": {"size": "XS"},
        "bare": None,
    }
    assert set(table["generator_version"]) == {"teacher:catalog"}
    assert table["attributes_text"].tolist()[-2:] == ["size: XS", ""]
    assert table["content_hash"].tolist() == listings["content_hash"].tolist()
    write_table(table, PRODUCT_ATTRIBUTES, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["attributes"].tolist() == table["attributes"].tolist()


def test_the_catalog_teacher_keeps_to_the_keys_asked_for_and_their_order() -> None:
    listings = _frame([("a", "p", {"Size": "L", "colour": "red", "fit": "slim"})])
    table = open_teacher(TeacherConfig(), ["Colour", "size", "season"]).write(listings, None)  # type: ignore[arg-type]
    assert table["attributes_text"].tolist() == ["colour: red; size: L"]


def test_the_catalog_teacher_equals_a_count_over_rows() -> None:
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str | None, dict[str, str] | None]] = [
        (f"l{i}", f"p{rng.integers(12)}", {k: str(rng.integers(3)) for k in "abc" if rng.random() < 0.7})
        for i in range(80)
    ]
    written = _by_id(open_teacher(TeacherConfig(), list("abc")).write(_frame(rows), None))  # type: ignore[arg-type]
    for listing_id, product, own in rows:
        expected = {}
        for key in "abc":
            values = [other[key] for _, p, other in rows if p == product and other and key in other]
            if values:
                most = max(values.count(v) for v in values)
                tied = sorted({v for v in values if values.count(v) == most})
                expected[key] = own[key] if own and own.get(key) in tied else tied[0]
        assert written[listing_id] == (expected or None)


def test_catalog_keys_come_by_frequency() -> None:
    listings = _frame(
        [
            ("a", None, {"Size": "L", "b": "1", "a": "1"}),
            ("b", None, {"size": "M", "c": "-"}),
            ("c", None, None),
        ]
    )
    assert catalog_keys(listings) == ["size", "a", "b"]
    assert catalog_keys(listings, limit=1) == ["size"]
    assert catalog_keys(listings.iloc[2:]) == []
    many = _frame([("a", None, {f"k{i:02}": "v" for i in range(30)})])
    assert catalog_keys(many, limit=20) == [f"k{i:02}" for i in range(20)]
    wide = open_teacher(TeacherConfig(), ["k29", "k28"]).write(many, None)  # type: ignore[arg-type]
    assert wide["attributes_text"].tolist() == ["k29: v; k28: v"]


# --- reading answers


@pytest.mark.parametrize(
    ("raw", "attributes"),
    [
        ("colour: red; name: x", {"colour": "red", "name": "x"}),
        ("name: x; colour: red; other: y", {"colour": "red", "name": "x"}),
        ("```\ncolour: red\nname: x\n```", {"colour": "red", "name": "x"}),
        ("```json\n{\"colour\": \"red\", \"name\": 7, \"size\": null}\n```", {"colour": "red", "name": "7"}),
        ("Here are the attributes:\n\n- **Colour**: red\n- **Name:** `x`\n", {"colour": "red", "name": "x"}),
        ("1. Colour:red\n2) name : x", {"colour": "red", "name": "x"}),
        ("<think>name: wrong</think>colour: red", {"colour": "red"}),
        ("colour: red, name: x", {"colour": "red", "name": "x"}),
        ("Colour：红；Name：衬衫", {"colour": "红", "name": "衬衫"}),
        ("colour: not visible; name: x", {"name": "x"}),
        ("I cannot see a product in this photo.", None),
        ("{broken", None),
        ("size: L", None),
        ("", None),
    ],
)  # fmt: skip
def test_reading_answers(raw: str, attributes: dict[str, str] | None) -> None:
    answer = read_answer(raw, KEYS)
    assert answer.attributes == attributes
    assert answer.text == raw if attributes is None else parse(answer.text) == attributes


def test_without_keys_all_are_taken_and_a_broken_character_can_be_stored() -> None:
    assert read_answer("b: 1; a: 2", []).attributes == {"b": "1", "a": "2"}
    assert read_answer("\ud83d", []).text == "?"


# --- openai: behaviour of the endpoint


@dataclasses.dataclass
class Scripted:
    """An endpoint that answers what a function says, and remembers what was asked."""

    base_url: str
    requests: list[dict[str, Any]]
    most_at_once: int = 0


@pytest.fixture
def scripted() -> Iterator[Callable[[Callable[[int, dict[str, Any]], tuple[int, str]]], Scripted]]:
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[int, dict[str, Any]], tuple[int, str]]) -> Scripted:
        lock, running = threading.Lock(), [0]

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(state.requests)
                    state.requests.append(body)
                    running[0] += 1
                    state.most_at_once = max(state.most_at_once, running[0])
                status, text = answer(number, body)
                with lock:
                    running[0] -= 1
                choice = {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                }
                if text.endswith("…"):
                    choice["finish_reason"] = "length"
                reply = {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "m",
                    "choices": [choice],
                }
                payload = json.dumps(reply if status == 200 else {"error": {"message": text}}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *args: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        state = Scripted(f"http://127.0.0.1:{server.server_address[1]}/v1", [])
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return state

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _openai(base_url: str, **settings: Any) -> TeacherConfig:
    return TeacherConfig(kind="openai", model="m", base_url=base_url, **{"max_retries": 0, **settings})


def _photo(body: dict[str, Any]) -> Image.Image:
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))


def _colour(body: dict[str, Any]) -> str:
    pixel = np.asarray(_photo(body))[0, 0]
    return min(PAINTS, key=lambda name: int(np.abs(pixel.astype(int) - PAINTS[name]).sum()))


def test_each_request_carries_its_photo_and_answers_keep_their_rows(scripted: Any, tmp_path: Path) -> None:
    colours = ["red", "blue", "green", "blue"] * 5
    listings, images = _painted(tmp_path, colours)

    def answer(number: int, body: dict[str, Any]) -> tuple[int, str]:
        time.sleep(0.03 * (number % 3))
        return 200, f"Colour: {_colour(body)}"

    endpoint = scripted(answer)
    table = open_teacher(_openai(endpoint.base_url, concurrency=4), KEYS).write(listings, images)
    assert table["attributes_text"].tolist() == [f"colour: {colour}" for colour in colours]
    assert set(table["generator_version"]) == {"teacher:openai:m"}
    assert 2 <= endpoint.most_at_once <= 4
    body = endpoint.requests[0]
    assert body["messages"][0]["content"][1]["text"] == user_text("shirt", KEYS, TEACHER_INSTRUCTION)
    assert (body["temperature"], body["model"], _photo(body).size) == (0.0, "m", (SIZE, SIZE))


def test_a_bad_answer_is_an_invalid_row(scripted: Any, tmp_path: Path) -> None:
    listings, images = _painted(tmp_path, ["red", "blue", "green"])
    said = {
        "red": "I cannot help with that.",
        "blue": "colour: blue; name: unfini…",
        "green": "colour: green",
    }
    endpoint = scripted(lambda number, body: (200, said[_colour(body)]))
    table = open_teacher(_openai(endpoint.base_url), KEYS).write(listings, images)
    assert table["valid"].tolist() == [False, False, True]
    assert table["attributes_text"].tolist() == list(said.values())


def test_a_busy_endpoint_is_asked_again(scripted: Any, tmp_path: Path) -> None:
    listings, images = _painted(tmp_path, ["red"])
    endpoint = scripted(lambda number, body: (503, "busy") if number == 0 else (200, "colour: red"))
    table = open_teacher(_openai(endpoint.base_url, max_retries=2), KEYS).write(listings, images)
    assert table["valid"].tolist() == [True]
    assert len(endpoint.requests) == 2


def test_one_refused_listing_is_an_invalid_row_and_a_warning(
    scripted: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listings, images = _painted(tmp_path, ["red", *["blue"] * 11])
    endpoint = scripted(
        lambda n, body: (400, "bad image") if _colour(body) == "red" else (200, "colour: blue")
    )
    with caplog.at_level(logging.WARNING):
        table = open_teacher(_openai(endpoint.base_url), KEYS).write(listings, images)
    assert table["valid"].tolist() == [False] + [True] * 11
    assert "listing l0" in caplog.text and "bad image" in caplog.text


@pytest.mark.parametrize(("status", "listings_asked"), [(401, 50), (404, 50), (400, 50), (400, 2), (500, 2)])
def test_an_endpoint_that_refuses_stops_the_run(
    scripted: Any, tmp_path: Path, status: int, listings_asked: int
) -> None:
    listings, images = _painted(tmp_path, ["red"] * listings_asked)
    endpoint = scripted(lambda number, body: (status, "no such thing"))
    with pytest.raises(TeacherError, match="no such thing") as caught:
        open_teacher(_openai(endpoint.base_url, concurrency=2), KEYS).write(listings, images)
    assert endpoint.base_url in str(caught.value)
    assert len(endpoint.requests) <= 15


def test_an_endpoint_out_of_reach_is_named(tmp_path: Path) -> None:
    listings, images = _painted(tmp_path, ["red"] * 3)
    url = f"http://127.0.0.1:{_free_port()}/v1"
    with pytest.raises(TeacherError, match=f"{url} cannot be reached"):
        open_teacher(_openai(url), KEYS).write(listings, images)


# --- a real model, served and local


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _conversation(colour: str) -> list[dict[str, Any]]:
    conversation = messages("shirt", KEYS, instruction=TEACHER_INSTRUCTION)
    conversation[0]["content"][0] = {"type": "image", "image": Image.new("RGB", (SIZE, SIZE), PAINTS[colour])}
    return conversation


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2.5-VL that has learned to say the colour of a photo, as a checkpoint directory."""
    out = tmp_path_factory.mktemp("painter") / "model"
    answers = {colour: f"colour: {colour}; name: shirt" for colour in PAINTS}
    texts = [user_text("shirt", KEYS, TEACHER_INSTRUCTION), *answers.values()] * 4
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
    listings, images = _painted(tmp_path, COLOURS)
    config = TeacherConfig(kind="transformers", model=str(painter), batch_size=2)
    table = open_teacher(config, KEYS, "cpu").write(listings, images)
    assert table["attributes_text"].tolist() == SAID
    assert table["valid"].all()
    assert set(table["generator_version"]) == {f"teacher:transformers:{painter}"}


def test_a_local_model_that_does_not_exist_is_named(tmp_path: Path) -> None:
    listings, images = _painted(tmp_path, ["red"])
    with pytest.raises(TeacherError, match="nowhere"):
        open_teacher(TeacherConfig(kind="transformers", model=str(tmp_path / "nowhere")), KEYS).write(
            listings, images
        )


def test_a_served_model_is_asked_over_the_openai_protocol(painter: Path, tmp_path: Path) -> None:
    """A real server process (`transformers serve`) with a real model in it, asked with real photos."""
    listings, images = _painted(tmp_path, COLOURS)
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
