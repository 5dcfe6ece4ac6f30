"""Links and groups of identical products through IVF-PQ against those through flat search.

    python benchmarks/linking.py [--listings 200000] [--dimensions 128] [--neighbours 10] [--threshold 0.8]

The vectors of `product_index.py`. Both indexes are built, saved and loaded as `release/product_index` does
it; then all listings are linked and grouped, as `release/identical_products` does it. One thread; seconds of
the processor. `links`: share of flat search's links of at least the threshold that IVF-PQ finds, too, and the
links that only it has. `groups`: share of flat search's groups that are the same, listing for listing.
"""

import argparse
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
from product_index import clustered

from afmrl_models.config.release import ProductIndexConfig
from afmrl_models.retrieval.identical import group_identical
from afmrl_models.retrieval.index import Origin, build_index, load_index
from afmrl_models.retrieval.links import mutual_links


def main() -> None:
    """Prints a line a recipe, and what IVF-PQ missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listings", type=int, default=200_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--neighbours", type=int, default=10)
    parser.add_argument("--threshold", type=float, default=0.8)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    vectors, _ = clustered(options.listings, options.dimensions, 1, np.random.default_rng(0))
    ids = [f"l{row}" for row in range(options.listings)]
    links, groups = {}, {}
    print(f"{options.listings:,} listings x {options.dimensions}, {options.neighbours} neighbours")
    print("recipe                     build s    links s   groups s      links     groups")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("flat", "ivf_pq"):
            times = [time.process_time()]
            build_index(
                vectors, ids, Origin("benchmark", ""), Path(folder) / kind, ProductIndexConfig(kind=kind)
            )
            index = load_index(Path(folder) / kind)
            times.append(time.process_time())
            found = mutual_links(index, options.neighbours)
            times.append(time.process_time())
            grouping = group_identical(index, found, options.threshold).groups
            times.append(time.process_time())
            strong = found.where(found.scores >= options.threshold)
            links[kind] = set(zip(strong.left.tolist(), strong.right.tolist(), strict=True))
            groups[kind] = {frozenset(members) for _, members in grouping.groupby("group_id")["listing_id"]}
            recipe = index.recipe.factory + (f" nprobe {index.recipe.nprobe}" if index.recipe.nprobe else "")
            print(
                f"{recipe:24}"
                + "".join(f"{seconds:11.1f}" for seconds in np.diff(times))
                + f"{len(links[kind]):11,}{len(groups[kind]):11,}",
                flush=True,
            )
    both = len(links["flat"] & links["ivf_pq"])
    share, more = both / len(links["flat"]), len(links["ivf_pq"]) - both
    print(f"links: {share:.4f} of flat search's; {more} only by IVF-PQ")
    same = len(groups["flat"] & groups["ivf_pq"]) / len(groups["flat"])
    print(f"groups: {same:.4f} of flat search's are the same")


if __name__ == "__main__":
    main()
