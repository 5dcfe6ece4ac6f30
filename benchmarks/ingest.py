"""Ingestion against merely decoding the same photos on the same cores, alternating in one run.

    python benchmarks/ingest.py [--photos 1500] [--edge 1000] [--grain 3] [--image-size 56] [--repeats 5]

The limit reads each file and decodes it with Pillow's scaled JPEG decoding (`draft`) to the smallest of the
built-in scales that is not below the needed size, and throws the pixels away: no hash, no resampling, no
table. It runs in one process a core (the GIL plays no part) and, in a second measurement, in one thread a
core; the faster of the two counts. Ours is `ingest`, whole: a CSV read, checked, every photo hashed, decoded,
resampled, stored, the tables written. Photos are the generated catalog's, enlarged to `--edge` pixels, with
a camera's grain (an enlarged drawing alone is far smoother than a shop's photos), warm in the page cache for
both sides. The clock on the wall gives the rates; processor seconds a photo stand beside them, for a machine
that others use too.
"""

import argparse
import csv
import io
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from afmrl_models.catalog.generated import generate_catalog
from afmrl_models.catalog.ingest import ingest
from afmrl_models.catalog.jpeg import fitted
from afmrl_models.config import CatalogConfig, ColumnMapping, TableSource

CORES = len(os.sched_getaffinity(0))


def make_catalog(folder: Path, photos: int, edge: int, grain: float) -> None:
    """A CSV of `photos` listings with as many JPEGs of `edge` pixels and a camera's grain."""
    rng = np.random.default_rng(0)
    generate_catalog(max(8, photos // 2), 0, folder, processes=CORES)
    with (folder / "listings.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:photos]
    for row in rows:
        with Image.open(folder / row["image"]) as photo:
            large = np.asarray(photo.resize((edge, edge), Image.Resampling.BICUBIC), dtype=np.float32)
        grained = large + grain * rng.standard_normal((edge, edge, 1), dtype=np.float32)
        Image.fromarray(grained.clip(0, 255).astype(np.uint8)).save(folder / row["image"], "JPEG", quality=88)
    with (folder / "listings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def merely_decode(paths: list[str], size: int) -> int:
    """Decode each file at the smallest built-in scale that is not below `size`; returns how many."""
    for path in paths:
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read()
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.draft("RGB", fitted(image.size, size))
            image.load()
    return len(paths)


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def clocked(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall and of the processors."""
    wall, processor = time.perf_counter(), processor_seconds()
    work()
    return time.perf_counter() - wall, processor_seconds() - processor


def decode_in(
    pool: type[ThreadPoolExecutor] | type[ProcessPoolExecutor], paths: list[str], size: int
) -> None:
    """All files through a fresh pool of one worker a core."""
    tasks = [paths[start : start + 64] for start in range(0, len(paths), 64)]
    with pool(CORES) as workers:  # type: ignore[call-arg]
        assert sum(workers.map(merely_decode, tasks, [size] * len(tasks))) == len(paths)


def main() -> None:
    """Prints the medians and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=1500)
    parser.add_argument("--edge", type=int, default=1000)
    parser.add_argument("--grain", type=float, default=3.0, help="deviation of the noise, of 255")
    parser.add_argument("--image-size", type=int, default=56)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_catalog(folder / "shop", options.photos, options.edge, options.grain)
        paths = sorted(str(path) for path in (folder / "shop" / "images").iterdir())[: options.photos]
        source = TableSource(kind="table", path=folder / "shop", columns=ColumnMapping(seller="seller"))
        config = CatalogConfig(source=source, image_size=options.image_size)

        def whole() -> None:
            shutil.rmtree(folder / "out", ignore_errors=True)
            result = ingest(config, folder / "out", folder)
            assert (result.kept, result.quarantined) == (options.photos, {})

        sides: dict[str, Callable[[], object]] = {
            "decode, processes": lambda: decode_in(ProcessPoolExecutor, paths, options.image_size),
            "decode, threads": lambda: decode_in(ThreadPoolExecutor, paths, options.image_size),
            "ingest": whole,
        }
        times: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        for _ in range(options.repeats + 1):
            for side, work in sides.items():
                times[side].append(clocked(work))
        kilobytes = sum(Path(path).stat().st_size for path in paths) / options.photos / 1e3
    print(
        f"{options.photos} JPEGs of {options.edge} x {options.edge} ({kilobytes:.0f} kB each) "
        f"to {options.image_size} x {options.image_size} on {CORES} cores; medians of {options.repeats}"
    )
    rate, cost = {}, {}
    for side, taken in times.items():
        rate[side] = options.photos / statistics.median(wall for wall, _ in taken[1:])  # the first warms up
        cost[side] = statistics.median(processor for _, processor in taken[1:]) / options.photos
        print(f"{side:18} {rate[side]:7,.0f} photos/s   {cost[side] * 1e6:6,.0f} µs of processor a photo")
    limit = max(rate["decode, processes"], rate["decode, threads"])
    cheapest = min(cost["decode, processes"], cost["decode, threads"])
    print(f"ratio of the rates, ingest / the faster decoding: {rate['ingest'] / limit:.2f}")
    print(f"ratio of the processor seconds, the cheaper decoding / ingest: {cheapest / cost['ingest']:.2f}")


if __name__ == "__main__":
    main()
