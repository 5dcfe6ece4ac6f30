"""BM25 weights of one training batch: ours against rank_bm25, alternating in one process.

    python benchmarks/bm25.py [--batch 1024] [--catalog 20000] [--repeats 5]

Per batch, both sides get the document numbers of the batch and give the full matrix of scores. Ours does all
of its work per batch: picking rows, renumbering terms, the product. rank_bm25 is asked in the way that is
cheapest for it: split terms, and an index that holds the batch's documents alone, made outside the clock with
the catalog's statistics (with the whole catalog in its index, it is several times slower). The two are
checked to agree: rank_bm25's IDF is replaced by Lucene's, and its factor k1 + 1 divided away. Building the
index over the catalog is timed apart. Times are the processor's, so that a busy machine does not blur them;
both sides use one thread.
"""

import argparse
import random
import statistics
import time

import numpy as np
import rank_bm25
import torch

from afmrl_models.attributes.bm25 import BM25, tokenize

VALUES = {
    "brand": 400, "type": 60, "colour": 46, "season": 4, "year": 12, "usage": 8,
    "material": 80, "neckline": 12, "sleeve": 6, "pattern": 40, "closure": 10, "model": 5000,
}  # fmt: skip


def catalog_texts(count: int, seed: int = 0) -> list[str]:
    """Attribute texts of 6 to 12 pairs whose values have one to three words."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        keys = rng.sample(list(VALUES), rng.randint(6, 12))
        texts.append(
            "; ".join(
                f"{key}: "
                + " ".join(f"{key[:3]}{rng.randrange(VALUES[key])}" for _ in range(rng.randint(1, 3)))
                for key in keys
            )
        )
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--catalog", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)

    texts = catalog_texts(options.catalog)
    start = time.process_time()
    ours = BM25(texts)
    ours_index = time.process_time() - start
    start = time.process_time()
    tokens = [tokenize(text) for text in texts]
    peer = rank_bm25.BM25Okapi(tokens, k1=1.2, b=0.75)
    peer_index = time.process_time() - start
    having: dict[str, int] = {}
    for document in tokens:
        for term in set(document):
            having[term] = having.get(term, 0) + 1
    idf = {term: float(np.log1p((len(texts) - n + 0.5) / (n + 0.5))) for term, n in having.items()}

    rng = np.random.default_rng(0)
    ours_seconds, peer_seconds = [], []
    for repeat in range(options.repeats + 1):
        batch = rng.permutation(options.catalog)[: options.batch]
        start = time.process_time()
        scores = ours.scores(batch, batch)
        ours_took = time.process_time() - start
        of_batch = rank_bm25.BM25Okapi([tokens[number] for number in batch], k1=1.2, b=0.75)
        of_batch.idf, of_batch.avgdl = idf, peer.avgdl
        start = time.process_time()
        expected = np.array([of_batch.get_scores(tokens[number]) for number in batch])
        peer_took = time.process_time() - start
        np.testing.assert_allclose(scores.numpy(), expected / 2.2, rtol=1e-4, atol=1e-5)
        if repeat:  # the first round warms both up
            ours_seconds.append(ours_took)
            peer_seconds.append(peer_took)
    ours_median, peer_median = statistics.median(ours_seconds), statistics.median(peer_seconds)
    print(f"index of {options.catalog} texts   ours {ours_index:.3f} s   rank_bm25 {peer_index:.3f} s")
    print(
        f"{options.batch} x {options.batch} scores      ours {ours_median * 1e3:.2f} ms   "
        f"rank_bm25 {peer_median * 1e3:.1f} ms   (medians of {options.repeats})"
    )
    print(f"ratio rank_bm25 / ours: {peer_median / ours_median:.0f}")


if __name__ == "__main__":
    main()
