"""Exact search: faiss's flat index against blocks of matrix products in torch, on the same vectors.

    python benchmarks/search.py [--queries 10000] [--gallery 100000] [--dimensions 128] [--k 10] ...

Both sides run in turn, in one process; with a GPU, torch runs there too. Prints the medians and their ratio.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from afmrl_models.retrieval.search import Gallery


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("queries", 10_000),
        ("gallery", 100_000),
        ("dimensions", 128),
        ("k", 10),
        ("rounds", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    generator = np.random.default_rng(0)

    def unit_vectors(rows: int) -> np.ndarray:
        vectors = generator.standard_normal((rows, options.dimensions), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    gallery, queries = unit_vectors(options.gallery), unit_vectors(options.queries)
    gallery_ids = [f"g{row}" for row in range(options.gallery)]
    query_ids = [f"q{row}" for row in range(options.queries)]
    indexes = {
        "faiss (cpu)": Gallery(gallery, gallery_ids, backend="faiss"),
        "torch (cpu)": Gallery(gallery, gallery_ids, backend="torch"),
    }
    if torch.cuda.is_available():
        indexes["torch (cuda)"] = Gallery(gallery, gallery_ids, device="cuda")
    seconds: dict[str, list[float]] = {name: [] for name in indexes}
    answers: dict[str, np.ndarray] = {}
    for index in indexes.values():
        index.search(queries[:256], options.k, query_ids=query_ids[:256])  # warm up
    for _ in range(options.rounds):
        for name, index in indexes.items():
            start = time.perf_counter()
            answers[name] = index.search(queries, options.k, query_ids=query_ids).positions
            seconds[name].append(time.perf_counter() - start)
    first = "faiss (cpu)"
    for name in indexes:
        if not np.array_equal(answers[name], answers[first]):
            raise SystemExit(f"{name} and {first} disagree")
    print(
        f"{options.queries} queries x {options.gallery} listings x {options.dimensions}, k = {options.k}, "
        f"{torch.get_num_threads()} threads, median of {options.rounds}"
    )
    for name, times in seconds.items():
        ratio = statistics.median(times) / statistics.median(seconds[first])
        print(f"{name:14} {statistics.median(times):8.3f} s   {ratio:6.2f} x {first}")


if __name__ == "__main__":
    main()
