"""IVF-PQ with exact re-ranking against flat search, on the same clustered vectors.

    python benchmarks/product_index.py [--listings 1000000] [--dimensions 128] [--queries 1000] [--opq] ...

Vectors: offers of products, products of families; each is its parent plus noise, of unit length. Queries are
further offers of indexed products. Both indexes are built, saved and loaded as `release/product_index` does
it, in one process; each search is timed --rounds times in turn. Memory is what loading and searching add to
the process (mapped pages that were touched count).
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from afmrl_models.config.release import ProductIndexConfig
from afmrl_models.retrieval.index import Origin, build_index, load_index


def clustered(
    listings: int, dimensions: int, queries: int, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Unit vectors of listings and of queries: 2.5 offers a product, 20 products a family."""

    def children(parents: np.ndarray, of: np.ndarray, noise: float) -> np.ndarray:
        found = parents[of]
        found += noise / np.sqrt(dimensions) * rng.standard_normal(found.shape, dtype=np.float32)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found

    products = int(listings / 2.5)
    # Real embeddings use some directions far more than others.
    scale = (np.arange(1, dimensions + 1) ** -0.5).astype(np.float32)
    roots = rng.standard_normal((max(8, products // 20), dimensions), dtype=np.float32) * scale
    roots /= np.linalg.norm(roots, axis=1, keepdims=True)
    centres = children(roots, rng.integers(len(roots), size=products), 0.6)
    offers = children(centres, rng.integers(products, size=listings), 0.5)
    return offers, children(centres, rng.integers(products, size=queries), 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("listings", 1_000_000), ("dimensions", 128), ("queries", 1000), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--nprobe", type=int, default=None)
    parser.add_argument("--opq", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    vectors, queries = clustered(options.listings, options.dimensions, options.queries, rng)
    ids = [f"l{row}" for row in range(options.listings)]
    query_ids = [f"q{row}" for row in range(options.queries)]
    process, truth = psutil.Process(), None
    print(f"{options.listings:,} listings x {options.dimensions}, {options.queries} queries, one thread")
    print("recipe                   build s  index MiB  memory MiB  s/1,000 queries  recall@1  recall@10")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("flat", "ivf_pq"):
            config = ProductIndexConfig(kind=kind, opq=options.opq, nprobe=options.nprobe)
            start = time.perf_counter()
            build_index(vectors, ids, Origin("benchmark", ""), Path(folder) / kind, config)
            built = time.perf_counter() - start
            before = process.memory_info().rss
            index = load_index(Path(folder) / kind)
            seconds = []
            for _ in range(options.rounds):
                start = time.perf_counter()
                found = index.search(queries, 10, query_ids=query_ids).positions
                seconds.append(time.perf_counter() - start)
            memory = (process.memory_info().rss - before) / 2**20
            truth = found if truth is None else truth
            at_1 = np.mean(found[:, 0] == truth[:, 0])
            at_10 = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, truth, strict=True)])
            size = (Path(folder) / kind / "index.faiss").stat().st_size / 2**20
            recipe = index.recipe.factory + (f" nprobe {index.recipe.nprobe}" if index.recipe.nprobe else "")
            print(
                f"{recipe:24} {built:7.1f} {size:10.0f} {memory:11.0f}"
                f" {statistics.median(seconds) / options.queries * 1000:16.2f} {at_1:9.3f} {at_10:10.3f}",
                flush=True,
            )
            del index


if __name__ == "__main__":
    main()
