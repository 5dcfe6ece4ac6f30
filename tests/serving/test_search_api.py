"""The JSON API and the page: what they answer, and that what is wrong is refused with a reason."""

import io
import re
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from night import HOSTILE, HOSTILE_ID, Night
from PIL import Image

from afmrl_models.serving.app import create_app
from afmrl_models.serving.query import MAX_UPLOAD_BYTES
from afmrl_models.serving.service import SearchService


@pytest.fixture(scope="module")
def service(first_night: Night) -> SearchService:
    return SearchService(first_night.places, first_night.profile, first_night.tracking, "cpu")


@pytest.fixture(scope="module")
def client(service: SearchService) -> Iterator[TestClient]:
    with TestClient(create_app(service, ["testserver"])) as client:
        yield client


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 40, 3), dtype=np.uint8)).save(
        buffer, "JPEG"
    )
    return buffer.getvalue()


def test_a_photo_and_a_text_are_searched_with(client: TestClient, service: SearchService) -> None:
    answer = client.post(
        "/api/search",
        files={"image": ("a.jpg", photo())},
        data={"text": "red shoe", "k": "5", "generator": "false"},
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [r["rank"] for r in body["results"]] == [1, 2, 3, 4, 5]
    similarities = [r["similarity"] for r in body["results"]]
    assert similarities == sorted(similarities, reverse=True)
    assert {r["listing_id"] for r in body["results"]} <= set(service.searcher.released.index.ids)
    assert body["query"] == {
        "listing_id": None, "photo": True, "text": "red shoe", "attributes": None, "attributes_by": None,
    }  # fmt: skip
    assert body["index"]["embedder"] == "models:/shop-embedder/1"


def test_words_alone_and_a_listing_are_searched_with(client: TestClient, service: SearchService) -> None:
    assert len(client.post("/api/search", data={"text": "a lamp"}).json()["results"]) == 10
    asked = service.searcher.released.index.ids[2]
    body = client.post("/api/search", data={"listing_id": asked, "k": "3"}).json()
    assert len(body["results"]) == 3 and body["query"]["listing_id"] == asked


def test_a_listing_its_photo_its_group_and_the_index(client: TestClient, service: SearchService) -> None:
    released = service.searcher.released
    group_id, members = next(iter(released.groups.groupby("group_id")["listing_id"]))
    one = members.iloc[0]
    facts = client.get(f"/api/listings/{one}").json()
    assert facts["listing_id"] == one and facts["group_id"] == group_id
    identical = client.get(f"/api/listings/{one}/identical").json()
    assert {listing["listing_id"] for listing in identical["listings"]} == set(members) - {one}
    group = client.get(f"/api/groups/{group_id}").json()
    assert {listing["listing_id"] for listing in group["listings"]} == set(members)
    alone = next(i for i in released.index.ids if i not in released.group_of)
    assert client.get(f"/api/listings/{quote(alone, safe='')}/identical").json()["listings"] == []
    index = client.get("/api/index").json()
    assert index["listings"] == len(released.index) and index["exact"] and index["recipe"] == "Flat"
    image = client.get(f"/photos/{one}")
    assert image.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(image.content)).size == (320, 320), "the catalog's own photo, not 28 pixels"
    assert client.get("/healthz").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("files", "data", "status", "said"),
    [
        (None, {"k": "3"}, 422, "a photo, a text, or both"),
        (None, {"text": "  "}, 422, "the text is empty"),
        (None, {"text": "lamp", "k": "0"}, 422, "greater than or equal to 1"),
        (None, {"text": "lamp", "k": "101"}, 422, "less than or equal to 100"),
        (None, {"text": "lamp", "attributes": "red"}, 422, "key: value"),
        (None, {"listing_id": "nobody"}, 404, "nobody"),
        (None, {"listing_id": "nobody", "text": "lamp"}, 422, "not both"),
        ({"image": ("a.jpg", b"no photo at all")}, {}, 422, "not a photo"),
        ({"image": ("a.jpg", b"")}, {}, 422, "no bytes"),
        ({"image": ("a.jpg", photo()[:300])}, {}, 422, "cannot be used"),
    ],
)
def test_what_cannot_be_searched_with_is_refused_with_a_reason(
    client: TestClient, files: dict | None, data: dict, status: int, said: str
) -> None:
    answer = client.post("/api/search", files=files, data=data)
    assert answer.status_code == status and said in answer.text


def test_a_bomb_and_a_flood_are_refused(client: TestClient) -> None:
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    for data, said in (
        (bomb.getvalue(), "pixels, at most"),
        (bytes(MAX_UPLOAD_BYTES + 2**18), "larger than"),
    ):
        answer = client.post("/api/search", files={"image": ("a.png", data)})
        assert answer.status_code == 413 and said in answer.text


def test_a_body_that_does_not_say_its_length_is_bounded_too(client: TestClient) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'

    def endless() -> Iterator[bytes]:
        yield head
        for _ in range(40):
            yield b"\xff" * 2**20

    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/api/search", content=endless(), headers=headers)
    assert answer.status_code == 413 and "larger than" in answer.json()["detail"]


@pytest.mark.parametrize("where", ["/photos/", "/api/listings/", "/api/groups/"])
@pytest.mark.parametrize(
    "name",
    ["../../../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fshadow", "/etc/hosts", "a%00b", "%ff", "x" * 5000],
)
def test_names_lead_nowhere(client: TestClient, where: str, name: str) -> None:
    answer = client.get(where + name)
    assert answer.status_code == 404 and "root:" not in answer.text


def test_a_hostile_id_and_title_are_a_listing_like_any_other(client: TestClient) -> None:
    name = quote(HOSTILE_ID, safe="")
    assert client.get(f"/api/listings/{name}").json()["title"] == HOSTILE
    assert client.get(f"/photos/{name}").status_code == 200
    page = client.get("/", params={"listing": HOSTILE_ID}).text
    assert "alert(&#39;x&#39;)" in page and "<script>alert" not in page and "<b>bold" not in page


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    front = client.get("/")
    assert "default-src 'none'" in front.headers["content-security-policy"]
    for address in re.findall(r'(?:src|href|action)="([^"]*)"', front.text):
        assert address.startswith("/") and not address.startswith("//"), address
        assert client.get(address).status_code == 200
    assert "models:/shop-embedder/1" in front.text and " style=" not in front.text
    assert client.get("/docs").status_code == 404
    assert client.get("/openapi.json").json()["paths"].keys() >= {"/api/search", "/api/index"}
    assert client.get("/static/../app.py").status_code == 404


def test_the_page_answers_without_scripts(client: TestClient, service: SearchService) -> None:
    # A browser sends an empty file where none was chosen.
    found = client.post("/", files={"image": ("", b"")}, data={"text": "a lamp", "k": "6"})
    assert found.status_code == 200 and found.text.count('<li class="card">') == 6
    assert 'value="a lamp"' in found.text
    with_photo = client.post("/", files={"image": ("a.jpg", photo())}, data={"k": "2"})
    assert "data:image/jpeg;base64," in with_photo.text
    group_id = service.searcher.released.groups["group_id"].iloc[0]
    assert group_id in client.get("/", params={"group": group_id}).text


@pytest.mark.parametrize(
    ("params", "status"), [({"listing": "nobody"}, 404), ({"group": "nobody"}, 404), ({"k": "many"}, 422)]
)
def test_a_mistake_on_the_page_is_a_page(client: TestClient, params: dict, status: int) -> None:
    answer = client.get("/", params=params)
    assert answer.status_code == status and 'role="alert"' in answer.text
    nothing = client.post("/", data={"text": " "})
    assert nothing.status_code == 422 and 'role="alert"' in nothing.text


def test_another_site_s_name_leads_nowhere(client: TestClient) -> None:
    assert client.get("/api/index", headers={"host": "evil.example"}).status_code == 400
