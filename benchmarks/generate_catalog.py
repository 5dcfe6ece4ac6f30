"""How many offers a minute the generated catalog renders.

python benchmarks/generate_catalog.py --products 2000 --processes 2 --repeats 3
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from afmrl_models.catalog.generated import generate_catalog


def main() -> None:
    """Renders the same catalog several times and prints the median rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    rates: list[float] = []
    for repeat in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            generate_catalog(arguments.products, repeat, Path(folder), processes=arguments.processes)
            seconds = time.perf_counter() - started
            with (Path(folder) / "listings.csv").open(encoding="utf-8") as table:
                offers = sum(1 for _ in table) - 1
        rates.append(offers / seconds * 60)
        print(f"run {repeat + 1}: {offers} offers in {seconds:.1f} s, {rates[-1]:,.0f} offers a minute")
    print(f"median: {statistics.median(rates):,.0f} offers a minute with {arguments.processes} processes")


if __name__ == "__main__":
    main()
