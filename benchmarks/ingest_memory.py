"""Peak memory of ingestion over the number of rows, each count in a process of its own.

    python benchmarks/ingest_memory.py [--rows 100000 300000] [--to 1000000]

A CSV of as many listings, whose photos are 100 small JPEGs in turn; squares of 28 pixels. The peak is the
process's resident memory as the kernel counts it (ru_maxrss), imports included. What does not follow from the
measurements, the value at `--to`, is a straight line through the two largest, and is called so.
"""

import argparse
import csv
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from afmrl_models.catalog.ingest import ingest
from afmrl_models.config import CatalogConfig, TableSource

PHOTOS = 100


def make_catalog(folder: Path, rows: int) -> None:
    """A CSV of `rows` listings and 100 photos."""
    rng = np.random.default_rng(0)
    for number in range(PHOTOS):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(folder / f"{number}.jpg")
    with (folder / "listings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["listing_id", "product_id", "title", "category", "image"])
        for number in range(rows):
            title = f"Canvas shoulder bag number {number} with a zip and two pockets"
            writer.writerow([f"seller-{number:09}", number // 3, title, "Bags", f"{number % PHOTOS}.jpg"])


def peak(rows: int, answer: "multiprocessing.Queue[tuple[float, float]]") -> None:
    """Ingest `rows` rows; answers with megabytes and seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_catalog(folder, rows)
        start = time.perf_counter()
        result = ingest(
            CatalogConfig(source=TableSource(kind="table", path=folder), image_size=28),
            folder / "out",
            folder,
        )
        assert result.kept == rows
        seconds = time.perf_counter() - start
    answer.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds))


def main() -> None:
    """Prints a line a count, and the line through the last two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000])
    parser.add_argument("--to", type=int, default=1_000_000)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    measured = []
    for rows in sorted(options.rows):
        answer = context.Queue()
        process = context.Process(target=peak, args=(rows, answer))
        process.start()
        megabytes, seconds = answer.get()
        process.join()
        measured.append((rows, megabytes))
        print(f"{rows:9,} rows   peak {megabytes:6,.0f} MB   {seconds:6.1f} s", flush=True)
    if len(measured) > 1 and measured[-1][0] < options.to:
        (few, small), (many, large) = measured[-2:]
        slope = (large - small) / (many - few)
        at = large + slope * (options.to - many)
        print(f"{options.to:9,} rows   extrapolated {at:,.0f} MB ({slope * 1e6:,.0f} bytes a row)")


if __name__ == "__main__":
    main()
