"""What each stage costs as a catalog grows: one full run over a rendered catalog, and the sum per million.

    python benchmarks/scale.py [--listings 200000] [--work DIR]

Ingestion, splits, attributes, vectors and groups of identical products, as a night runs them, with the
project's small models on random weights: one thread for the models, one a core for the photos. Training is
left out: its steps do not depend on the size of the catalog. The photos lie on disk before the clock starts.
"""

import argparse
import resource
import tempfile
from pathlib import Path

import torch
from nightly import Clock, make_models, make_shop, run, write_shop

from afmrl_models.catalog.schema import read_table
from afmrl_models.catalog.splits import split_products
from afmrl_models.config import SplitsConfig
from afmrl_models.retrieval.identical import group_identical
from afmrl_models.retrieval.index import Origin, build_index
from afmrl_models.retrieval.links import mutual_links

STAGES = ["ingestion", "splits", "attributes", "embeddings", "groups"]


def main() -> None:
    """Prints seconds, processor hours per million listings, and memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listings", type=int, default=200_000)
    parser.add_argument("--max-new-tokens", type=int, default=24)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        rows = make_shop(work / "shop", options.listings)
        config = write_shop(work / "shop", rows)
        models = make_models(work, rows, config.image_size, options.max_new_tokens)
        with tempfile.TemporaryDirectory(prefix="scale-", dir=work) as folder:
            out = Path(folder)
            clock, embedded = run(config, models, out)
            listings = read_table(out / "catalog" / "listings.parquet")
            clock.run("splits", lambda: split_products(listings, SplitsConfig()))
            ids = list(listings["listing_id"])

            def grouped() -> None:
                index = build_index(embedded.vectors, ids, Origin("benchmark", ""), out / "index")
                group_identical(index, mutual_links(index, 10), 0.98)

            clock.run("groups", grouped)
            report(clock, len(rows))
            print(f"on disk: {_bytes(out) / 1e9:.2f} GB beside the shop's own photos")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def report(clock: Clock, listings: int) -> None:
    """A line a stage."""
    print(
        f"{listings:,} listings{'':12}{'wall':>10}{'processor':>12}{'rate':>14}{'processor per million':>24}"
    )
    for stage in STAGES:
        wall, processor = clock.seconds[stage]
        print(
            f"{stage:24}{wall:11.0f} s{processor:10.0f} s{listings / wall:10,.0f} / s"
            f"{processor / listings * 1e6 / 3600:22.2f} h"
        )


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
