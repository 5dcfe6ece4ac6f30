"""`afmrl search`, `serve` and `review`: what a night hands over, and what people answer."""

import contextlib
import ipaddress
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from afmrl_dagster.champion_commands import pipeline_of
from afmrl_dagster.defs.release.identical import IDENTICAL_PRODUCTS, answers_file
from afmrl_dagster.defs.release.product_index import PRODUCT_INDEX
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.tables import LISTINGS, RAW_CATALOG
from afmrl_models.errors import UserError

if TYPE_CHECKING:
    from afmrl_models.serving.answers import Answer
    from afmrl_models.serving.released import Places


@dataclass(frozen=True)
class Asked:
    """What a search at the terminal is asked with."""

    image: Path | None
    text: str | None
    attributes: str | None
    listing: str | None
    with_generator: bool
    results: int


def search(config: Path, asked: Asked, sheet: Path | None) -> "Answer":
    """Answer from the last index; writes the contact sheet where one is wanted. Raises UserError."""
    if asked.listing is not None and (asked.image or asked.text is not None or asked.attributes is not None):
        raise UserError("--listing stands alone: leave out --image, --text and --attributes")
    if asked.listing is None and asked.image is None and asked.text is None:
        raise UserError("nothing to search with: give --image, --text, both, or --listing")
    photo = None if asked.image is None else _read(asked.image)
    pipeline = pipeline_of(config)
    places = _places(pipeline)

    from afmrl_models.serving.encoder import QueryEncoder
    from afmrl_models.serving.query import read_query
    from afmrl_models.serving.released import open_released
    from afmrl_models.serving.searching import Searcher
    from afmrl_models.serving.sheet import search_sheet

    profile, device = pipeline.profile(), _device(pipeline)
    released = open_released(places, device)
    encoder = QueryEncoder(pipeline.tracking(), profile.name, released.index.origin, device)
    searcher = Searcher(released, encoder, profile.identical_products.neighbours)
    if asked.listing is not None:
        answer, shown = searcher.nearest(asked.listing, asked.results), None
    else:
        query = read_query(encoder.image_size, photo=photo, text=asked.text, attributes=asked.attributes)
        answer = searcher.search(query, asked.results, with_generator=asked.with_generator)
        shown = query.shown
    if sheet is not None:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet.write_text(search_sheet(answer, released, profile.name, shown), encoding="utf-8")
    return answer


def print_answer(answer: "Answer") -> None:
    """A table on standard output, and on standard error what it was searched with."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    query, about = answer.query, Console(stderr=True, highlight=False)
    for name, value in (
        ("listing", query.listing_id),
        ("photo", "yes" if query.photo and query.listing_id is None else None),
        ("text", query.text),
        ("attributes", query.attributes and f"{query.attributes}  (by {query.attributes_by})"),
        ("index", f"{answer.index.embedder}, {answer.index.listings:,} listings"),
    ):
        if value is not None:
            about.print(Text(f"{name:<11}{_visible(value)}"), soft_wrap=True)
    for note in answer.notes:
        about.print(Text(f"{'note':<11}{_visible(note)}"), soft_wrap=True)
    sure = any(result.confidence is not None for result in answer.results)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("similarity", justify="right", no_wrap=True)
    if sure:
        table.add_column("confidence", justify="right", no_wrap=True)
    for name in ("listing", "product", "title", "category", "group"):
        table.add_column(name, overflow="fold", min_width=8)
    for found in answer.results:
        numbers = [str(found.rank), f"{found.similarity:.3f}"]
        if sure:
            numbers.append("" if found.confidence is None else f"{found.confidence:.2f}")
        facts = (found.listing_id, found.product_id, found.title, found.category, found.group_id)
        table.add_row(*numbers, *(Text(_visible(fact or "")) for fact in facts))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def serve(config: Path, host: str, port: int) -> int:
    """Serve page and API until Ctrl-C; 0 then. Raises UserError where that cannot be started."""
    pipeline = pipeline_of(config)
    places = _places(pipeline)
    listener = _listen(host, port)

    import logging

    import uvicorn

    from afmrl_models.serving.app import create_app
    from afmrl_models.serving.service import SearchService

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("afmrl_models.serving").setLevel(logging.INFO)
    with listener:
        service = SearchService(places, pipeline.profile(), pipeline.tracking(), _device(pipeline))
        about = service.searcher.released.about
        shown = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        sys.stderr.write(
            f"Search     {shown}\nAPI        {shown}/openapi.json\n"
            f"Index      {about.embedder}, {about.listings:,} listings\nCtrl-C stops it.\n"
        )
        app = create_app(service, _names(host))
        settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[listener])
    return 0


def review(config: Path, answers: Path) -> str:
    """Take over a person's answers on pairs; says how many. Raises UserError naming file and row."""
    from afmrl_models.retrieval.reviewed import hand_in

    kept = answers_file(pipeline_of(config))
    count = hand_in(answers, kept)
    return (
        f"{count} new answers taken over into {kept}.\nThe next run honours them, or now: "
        f"afmrl run --config {config} --select release/identical_products"
    )


def _places(pipeline: Pipeline) -> "Places":
    """Raises MissingAssetError where there is no index yet."""
    index, listings = pipeline.made(PRODUCT_INDEX), pipeline.made(LISTINGS)

    from afmrl_models.serving.released import Places

    return Places(
        product_index=index,
        identical_products=pipeline.directory(IDENTICAL_PRODUCTS),
        listings=listings,
        raw_catalog=pipeline.directory(RAW_CATALOG),
        catalog=pipeline.profile().catalog,
    )


def _device(pipeline: Pipeline) -> str:
    """The profile's device, without waiting for a step that holds it."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from afmrl_models.backbones.device import pick_device

    disable_progress_bar()  # of loading weights, which takes no time to speak of

    profile = pipeline.profile()
    device = pick_device(profile.device)
    if device == "cpu":
        torch.set_num_threads(profile.cpu_threads)
    return device


def _read(image: Path) -> bytes:
    from afmrl_models.serving.query import MAX_UPLOAD_BYTES

    try:
        with image.open("rb") as file:
            return file.read(MAX_UPLOAD_BYTES + 1)
    except OSError as error:
        raise UserError(f"--image: {image}: {error.strerror}") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UserError(
            f"--host {host} --port {port}: cannot be listened on: {error.strerror or error}"
        ) from None
    return listener


def _names(host: str) -> list[str]:
    """On this machine alone, the names it may be addressed by: no other site's name leads here."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return ["127.0.0.1", "localhost", host] if loopback else ["*"]


def _visible(text: str) -> str:
    """Without control characters, which a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
