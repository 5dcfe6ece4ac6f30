"""A person at the page, in a real browser: a photo, its results, one of them."""

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import uvicorn
from night import HOSTILE_ID, Night
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from afmrl_models.catalog.images import ImageStore
from afmrl_models.retrieval.calibration import Calibration, Quality, Share
from afmrl_models.retrieval.confidence import ConfidenceCurve
from afmrl_models.retrieval.groups_page import GroupsReport, groups_page
from afmrl_models.retrieval.reviewed import hand_in, read_reviewed
from afmrl_models.serving.app import create_app
from afmrl_models.serving.service import SearchService


@pytest.fixture(scope="module")
def address(first_night: Night) -> Iterator[str]:
    service = SearchService(first_night.places, first_night.profile, first_night.tracking, "cpu")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(service, ["127.0.0.1"]), log_level="warning"))
        serving = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        serving.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        serving.join(timeout=30)


@pytest.fixture
def page() -> Iterator[Page]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for name in names if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def test_a_photo_is_searched_with_and_a_result_leads_on(
    address: str, page: Page, first_night: Night, tmp_path: Path
) -> None:
    faults: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: faults.append(f"a script ran: {dialog.message}"))
    page.on(
        "request",
        lambda request: (
            elsewhere.append(request.url) if not request.url.startswith((address, "blob:", "data:")) else None
        ),
    )
    images = ImageStore.open(first_night.places.listings / "images")
    asked = images.listing_ids[5]
    images.get(asked).save(tmp_path / "asked.png")

    page.goto(address)
    page.set_input_files("#image", tmp_path / "asked.png")
    assert page.locator(".preview").is_visible()
    page.get_by_role("button", name="Search", exact=True).click()
    cards = page.locator("#answer ol.cards > li .rank")
    cards.first.wait_for()
    assert cards.count() == 12 and page.get_by_text("a photo alone").is_visible()
    assert page.evaluate("document.activeElement.id") == "answer", "a screen reader is led to the answer"
    photos = page.locator("#answer .card img")
    page.wait_for_function("[...document.querySelectorAll('.card img')].slice(0, 4).every((i) => i.complete)")
    assert photos.first.evaluate("(photo) => photo.naturalWidth") == 320

    # The photo stays for a search with words, too.
    page.get_by_label("Title or description").fill("<b>lamp</b>")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_text("<b>lamp</b>").first.wait_for()
    assert page.locator(".query img").count() == 1

    first = page.locator("#answer .card code").first.inner_text()
    page.locator("#answer a.photo").first.click()
    page.wait_for_url("**/?listing=*")
    assert page.locator(".with code").first.inner_text() == first
    assert first not in page.locator("#answer .card code").all_inner_texts()

    page.goto(f"{address}/?listing=..%2F..%2Fetc%2Fpasswd")
    assert page.locator(".with code").inner_text() == HOSTILE_ID
    assert page.locator(".with").get_by_text("<script>alert('x')</script>").is_visible()
    assert not faults and not elsewhere


def test_a_mistake_is_told_where_the_answer_would_be(address: str, page: Page, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"no photo")
    page.goto(address)
    page.set_input_files("#image", tmp_path / "photo.jpg")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_role("alert").wait_for()
    assert "not a photo of a known format" in page.get_by_role("alert").inner_text()


def test_the_page_fits_a_narrow_screen(address: str, page: Page) -> None:
    page.set_viewport_size({"width": 340, "height": 700})
    for path in ("/", f"/?listing={'..%2F..%2Fetc%2Fpasswd'}"):
        page.goto(address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 340


def test_answers_given_on_the_page_of_groups_are_a_file_that_review_takes(page: Page, tmp_path: Path) -> None:
    curve = ConfidenceCurve("platt", (0.0, 1.0), (0.1, 0.9))
    nothing = Quality(Share(None, None, None, 0), Share(None, None, None, 0), 0)
    pairs = pd.DataFrame({"left_id": ['a, "b"', "d"], "right_id": ["c", "e"], "reason": ["unsure", "chain"]})
    pairs = pairs.assign(similarity=0.7, confidence=0.6, left_group=None, right_group=None, decision=None)
    report = GroupsReport(
        profile="shop",
        model="models:/shop-embedder/1",
        listings=5,
        groups=pd.DataFrame(columns=["group_id", "listing_id", "score", "reviewed", "confidence"]),
        pairs=pairs,
        pairs_left_out=0,
        calibration=Calibration(None, 0.9, curve, (), None, None),
        measured={"validation": nothing, "test": nothing},
        on_test=None,
        answers="reviewed_pairs.csv",
    )
    ids = ['a, "b"', "c", "d", "e"]
    listings = pd.DataFrame({"listing_id": ids, "title": "a lamp", "category": None, "seller": None})
    (tmp_path / "groups.html").write_text(groups_page(report, listings, GreyPhotos()), encoding="utf-8")
    page.goto((tmp_path / "groups.html").as_uri())
    assert page.locator("#save").is_disabled()
    page.locator(".pair").first.get_by_label("same").check()
    page.locator(".pair").last.get_by_label("different").check()
    with page.expect_download() as saved:
        page.locator("#save").click()
    saved.value.save_as(tmp_path / "answers.csv")
    assert hand_in(tmp_path / "answers.csv", tmp_path / "kept.csv") == 2
    kept = read_reviewed(tmp_path / "kept.csv")
    assert kept.same == {('a, "b"', "c")} and kept.different == {("d", "e")}


class GreyPhotos:
    def get(self, listing_id: str) -> Image.Image:
        return Image.new("RGB", (28, 28), "grey")
