"""The openai teacher against an endpoint that answers, refuses, is busy or is not there."""

import base64
import dataclasses
import io
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painted_listings import KEYS, PAINTS, SIZE, painted
from PIL import Image

from afmrl_models.attributes.prompt import TEACHER_INSTRUCTION, prompt_text
from afmrl_models.attributes.teachers import TeacherError, open_teacher
from afmrl_models.config import TeacherConfig


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
    url = body["messages"][-1]["content"][0]["image_url"]["url"]
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))


def _colour(body: dict[str, Any]) -> str:
    pixel = np.asarray(_photo(body))[0, 0]
    return min(PAINTS, key=lambda name: int(np.abs(pixel.astype(int) - PAINTS[name]).sum()))


def test_each_request_carries_its_photo_and_answers_keep_their_rows(scripted: Any, tmp_path: Path) -> None:
    colours = ["red", "blue", "green", "blue"] * 5
    listings, images = painted(tmp_path, colours)

    def answer(number: int, body: dict[str, Any]) -> tuple[int, str]:
        time.sleep(0.03 * (number % 3))
        return 200, f"Colour: {_colour(body)}"

    endpoint = scripted(answer)
    table = open_teacher(_openai(endpoint.base_url, concurrency=4), KEYS).write(listings, images)
    assert table["attributes_text"].tolist() == [f"colour: {colour}" for colour in colours]
    assert set(table["generator_version"]) == {"teacher:openai:m"}
    assert 2 <= endpoint.most_at_once <= 4
    body = endpoint.requests[0]
    system, user = body["messages"]
    asked = f"{system['content']}\n{user['content'][1]['text']}"
    assert asked == prompt_text("shirt", KEYS, TEACHER_INSTRUCTION)
    assert (body["temperature"], body["model"], _photo(body).size) == (0.0, "m", (SIZE, SIZE))


def test_a_bad_answer_is_an_invalid_row(scripted: Any, tmp_path: Path) -> None:
    listings, images = painted(tmp_path, ["red", "blue", "green"])
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
    listings, images = painted(tmp_path, ["red"])
    endpoint = scripted(lambda number, body: (503, "busy") if number == 0 else (200, "colour: red"))
    table = open_teacher(_openai(endpoint.base_url, max_retries=2), KEYS).write(listings, images)
    assert table["valid"].tolist() == [True]
    assert len(endpoint.requests) == 2


def test_one_refused_listing_is_an_invalid_row_and_a_warning(
    scripted: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listings, images = painted(tmp_path, ["red", *["blue"] * 11])
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
    listings, images = painted(tmp_path, ["red"] * listings_asked)
    endpoint = scripted(lambda number, body: (status, "no such thing"))
    with pytest.raises(TeacherError, match="no such thing") as caught:
        open_teacher(_openai(endpoint.base_url, concurrency=2), KEYS).write(listings, images)
    assert endpoint.base_url in str(caught.value)
    assert len(endpoint.requests) <= 15


def test_an_endpoint_out_of_reach_is_named(tmp_path: Path) -> None:
    listings, images = painted(tmp_path, ["red"] * 3)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(TeacherError, match=f"{url} cannot be reached"):
        open_teacher(_openai(url), KEYS).write(listings, images)
