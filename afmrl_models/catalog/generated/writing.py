"""A generated catalog on disk: a table and a folder of photos, rendered by several processes."""

import csv
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

from afmrl_models.catalog.generated.drawing import draw_product
from afmrl_models.catalog.generated.photos import jpeg, photograph
from afmrl_models.catalog.generated.products import Product, product_at
from afmrl_models.catalog.generated.sellers import sellers_of
from afmrl_models.catalog.generated.taxonomy import ATTRIBUTE_COLUMNS
from afmrl_models.catalog.generated.wording import stated, title

COLUMNS: tuple[str, ...] = (
    "listing_id", "product_id", "seller", "title", "category", "image", *ATTRIBUTE_COLUMNS,
)  # fmt: skip
MIN_PRODUCTS = 8
_CHUNK = 48
_PENDING_PER_PROCESS = 3


def generate_catalog(
    products: int,
    seed: int,
    out: Path,
    *,
    processes: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Renders a catalog of `products` products with two to four offers each into `out`.

    Writes `out/images/*.jpg` and, last and atomically, `out/listings.csv` (COLUMNS; empty where a seller
    states nothing). The same seed gives the same bytes for any number of processes, and a smaller catalog is
    the beginning of a larger one. Memory does not grow with `products`. `progress` is called with the
    products written and their total. Raises ValueError for fewer than 8 products or fewer than 1 process.
    """
    if products < MIN_PRODUCTS:
        raise ValueError(f"products is {products}; a generated catalog has at least {MIN_PRODUCTS}")
    if processes is not None and processes < 1:
        raise ValueError(f"processes is {processes}; at least 1 is needed")
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    chunks = [range(start, min(start + _CHUNK, products)) for start in range(0, products, _CHUNK)]
    workers = min(processes or len(os.sched_getaffinity(0)), len(chunks))
    work = partial(render_products, seed=seed, images=images)
    partial_table = out / ".listings.csv.partial"
    with partial_table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for chunk, rows in zip(chunks, _in_order(work, chunks, workers), strict=True):
            writer.writerows(rows)
            if progress is not None:
                progress(chunk.stop, products)
    partial_table.replace(out / "listings.csv")


def _in_order(
    work: Callable[[range], list[dict[str, str]]], chunks: Iterable[range], workers: int
) -> Iterator[list[dict[str, str]]]:
    """Results in the order of the chunks, with a bounded number of chunks under way."""
    if workers == 1:
        yield from map(work, chunks)
        return
    pending: deque[Future[list[dict[str, str]]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        try:
            for chunk in chunks:
                pending.append(pool.submit(work, chunk))
                if len(pending) >= workers * _PENDING_PER_PROCESS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a process that renders the catalog died; a script that generates a catalog with several"
                " processes must call it under `if __name__ == '__main__':`"
            ) from error
        finally:
            for future in pending:
                future.cancel()


def _end_with_parent() -> None:
    """A process of the pool would wait for work for ever where its parent was killed."""

    def end() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    Thread(target=end, daemon=True).start()


def render_products(indices: range, *, seed: int, images: Path) -> list[dict[str, str]]:
    """Writes the photos of some products and returns their rows of the table."""
    return [row for index in indices for row in _offers(product_at(index, seed), seed, images)]


def _offers(product: Product, seed: int, images: Path) -> Iterator[dict[str, str]]:
    rng = random.Random(f"offers/{seed}/{product.index}")
    layer = draw_product(product)
    for number, seller in enumerate(sellers_of(rng, seed)):
        listing_id = f"{product.product_id}-{number}"
        photo = photograph(layer, seller, rng, may_flip=product.kind.flips)
        (images / f"{listing_id}.jpg").write_bytes(jpeg(photo, seller))
        yield {
            "listing_id": listing_id,
            "product_id": product.product_id,
            "seller": seller.name,
            "title": title(product, seller, rng),
            "category": product.kind.category,
            "image": f"images/{listing_id}.jpg",
            **stated(product, rng),
        }
