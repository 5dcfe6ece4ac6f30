"""The openai teacher against endpoints that break, and against its own sudden death."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from painted_listings import KEYS, painted

from afmrl_models.attributes.teachers import TeacherError, open_teacher
from afmrl_models.catalog.images import ImageStore
from afmrl_models.config import TeacherConfig

Reply = Callable[[BaseHTTPRequestHandler, str], None]


class Endpoint:
    """An HTTP server that counts requests by title and replies as a test says."""

    def __init__(self, reply: Reply) -> None:
        self.asked: Counter[str] = Counter()
        lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                title = body["messages"][-1]["content"][1]["text"]
                with lock:
                    endpoint.asked[title] += 1
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client was killed
                    reply(self, title)

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def send(
    handler: BaseHTTPRequestHandler,
    payload: bytes,
    status: int = 200,
    kind: str = "application/json",
    promised: int | None = None,
    **headers: str,
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(promised or len(payload)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(payload)


def completion(text: Any) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    reply = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return json.dumps(reply).encode()


@pytest.fixture
def endpoint() -> Iterator[Callable[[Reply], Endpoint]]:
    started: list[Endpoint] = []

    def start(reply: Reply) -> Endpoint:
        started.append(Endpoint(reply))
        return started[-1]

    yield start
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def titled(tmp_path: Path, count: int) -> tuple[pd.DataFrame, ImageStore]:
    listings, images = painted(tmp_path, ["red"] * count)
    listings["title"] = [f"shirt {i}" for i in range(count)]
    return listings, images


def config(base_url: str, **settings: Any) -> TeacherConfig:
    return TeacherConfig(kind="openai", model="m", base_url=base_url, **{"max_retries": 0, **settings})


def test_no_listing_is_asked_twice_after_the_client_was_killed(endpoint: Any, tmp_path: Path) -> None:
    listings, images = titled(tmp_path, 60)
    listings.to_json(tmp_path / "listings.json")

    def slow(handler: BaseHTTPRequestHandler, title: str) -> None:
        time.sleep(0.05)
        send(handler, completion("colour: red"))

    server = endpoint(slow)
    script = str(Path(__file__).with_name("ask_teacher.py"))
    kept = tmp_path / "kept"
    arguments = [server.base_url, str(tmp_path), str(tmp_path / "listings.json"), str(kept)]
    for answers in (12, 30):
        client = subprocess.Popen([sys.executable, script, *arguments])
        deadline = time.monotonic() + 120
        while sum(server.asked.values()) < answers:
            assert client.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        client.kill()
        client.wait()
    time.sleep(0.2)
    table = open_teacher(config(server.base_url), KEYS).write(listings, images, kept=kept)
    assert table["valid"].all() and list(table["listing_id"]) == list(listings["listing_id"])
    assert len(server.asked) == 60
    # Only what was under way when the client died, its answer not yet there, is asked for again.
    again = {title: count for title, count in server.asked.items() if count > 1}
    assert sum(server.asked.values()) - 60 <= 2 * 4, again

    before = sum(server.asked.values())
    same = open_teacher(config(server.base_url), KEYS).write(listings, images, kept=kept)
    assert sum(server.asked.values()) == before
    pd.testing.assert_frame_equal(same, table)


def test_another_content_key_or_model_is_another_request(endpoint: Any, tmp_path: Path) -> None:
    listings, images = titled(tmp_path, 3)
    server = endpoint(lambda handler, title: send(handler, completion("colour: red")))
    kept = tmp_path / "kept"
    teacher = open_teacher(config(server.base_url), KEYS)
    teacher.write(listings, images, kept=kept)
    changed = listings.copy()
    changed.loc[1, "content_hash"] = "new photo"
    teacher.write(changed, images, kept=kept)
    assert sorted(server.asked.values()) == [1, 1, 2]
    open_teacher(config(server.base_url), ["size"]).write(listings, images, kept=kept)
    other = config(server.base_url).model_copy(update={"model": "another"})
    open_teacher(other, KEYS).write(listings, images, kept=kept)
    assert sorted(server.asked.values()) == [3, 3, 4]


def test_a_journal_cut_off_in_the_middle_of_a_line_is_used_up_to_there(
    endpoint: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listings, images = titled(tmp_path, 4)
    server = endpoint(lambda handler, title: send(handler, completion("colour: rød")))
    kept, teacher = tmp_path / "kept", open_teacher(config(server.base_url, concurrency=1), KEYS)
    expected = teacher.write(listings, images, kept=kept)
    [journal] = kept.rglob("*.jsonl")
    lines = journal.read_bytes().replace(b"colour: r", b"colour: t", 1)
    journal.write_bytes(lines[:-30])
    for _ in range(2):
        pd.testing.assert_frame_equal(teacher.write(listings, images, kept=kept), expected)
    assert sorted(server.asked.values()) == [1, 1, 2, 2]
    assert f"{journal}, line 1 is damaged" in caplog.text
    assert f"{journal}, line 4 is damaged" in caplog.text


BROKEN: dict[str, Reply] = {
    "garbage": lambda handler, title: send(handler, b"\xff\xfe<html>oops", kind="text/html"),
    "empty": lambda handler, title: send(handler, b""),
    "half JSON": lambda handler, title: send(handler, completion("colour: red")[:40]),
    "another JSON": lambda handler, title: send(handler, b'{"answer": 42}'),
    "a list": lambda handler, title: send(handler, b"[1, 2]"),
    "null": lambda handler, title: send(handler, b"null"),
    "no choices": lambda handler, title: send(handler, b'{"choices": []}'),
    "choices of null": lambda handler, title: send(handler, b'{"choices": [null]}'),
    "a number for content": lambda handler, title: send(handler, completion(7)),
    "truncated": lambda handler, title: send(handler, completion("colour: red")[:40], promised=4000),
    "slow": lambda handler, title: time.sleep(1.5),
    "refused": lambda handler, title: send(handler, b'{"error": {"message": "no"}}', status=400),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_one_broken_reply_is_an_invalid_row_that_the_next_run_asks_for(
    endpoint: Any, tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    listings, images = titled(tmp_path, 8)
    whole = False

    def reply(handler: BaseHTTPRequestHandler, title: str) -> None:
        if "shirt 5" in title and not whole:
            BROKEN[broken](handler, title)
        else:
            send(handler, completion("colour: red"))

    server, kept = endpoint(reply), tmp_path / "kept"
    teacher = open_teacher(config(server.base_url, concurrency=1, timeout=1), KEYS)
    table = teacher.write(listings, images, kept=kept)
    assert table["valid"].tolist() == [i != 5 for i in range(8)]
    assert table["attributes_text"][5] == ""
    assert f"listing l5: {server.base_url} gave no answer" in caplog.text
    whole = True
    assert teacher.write(listings, images, kept=kept)["valid"].all()
    assert sorted(server.asked.values()) == [1] * 7 + [2]


@pytest.mark.parametrize("broken", ["garbage", "half JSON", "no choices", "refused"])
def test_an_endpoint_that_only_breaks_stops_the_run_at_once(
    endpoint: Any, tmp_path: Path, broken: str
) -> None:
    listings, images = titled(tmp_path, 50)
    server = endpoint(BROKEN[broken])
    with pytest.raises(TeacherError, match=server.base_url):
        open_teacher(config(server.base_url, concurrency=1), KEYS).write(listings, images)
    assert sum(server.asked.values()) <= 6


def test_an_endpoint_that_dies_stops_the_run_and_answers_are_not_lost(endpoint: Any, tmp_path: Path) -> None:
    listings, images = titled(tmp_path, 100)
    dead = False

    def reply(handler: BaseHTTPRequestHandler, title: str) -> None:
        if dead or int(title.strip('"').rsplit(" ", 1)[1]) >= 60:
            handler.connection.close()
        else:
            send(handler, completion("colour: red"))

    server, kept = endpoint(reply), tmp_path / "kept"
    with pytest.raises(TeacherError, match=server.base_url):
        open_teacher(config(server.base_url, concurrency=2), KEYS).write(listings, images, kept=kept)
    assert sum(server.asked.values()) < 80
    dead = True
    table = open_teacher(config(server.base_url), KEYS).write(listings.head(60), images, kept=kept)
    assert table["valid"].all()


def test_retry_after_is_waited_for(endpoint: Any, tmp_path: Path) -> None:
    listings, images = titled(tmp_path, 1)
    times: list[float] = []

    def reply(handler: BaseHTTPRequestHandler, title: str) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            send(handler, b"{}", status=429, Retry_After="2")
        else:
            send(handler, completion("colour: red"))

    server = endpoint(reply)
    table = open_teacher(config(server.base_url, max_retries=1), KEYS).write(listings, images)
    assert table["valid"].all()
    assert times[1] - times[0] >= 1.9
