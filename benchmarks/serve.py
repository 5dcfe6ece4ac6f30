"""How long a search takes through `afmrl serve`, by what is searched with; one request at a time.

    afmrl serve --config PROFILE &
    python benchmarks/serve.py [--address http://127.0.0.1:8080] [--rounds 30]

Asks with listings of the index itself: their photos and titles. The kinds take turns, so that all meet the
same machine. Prints median and 90th percentile in milliseconds, HTTP and upload included; `healthz` is HTTP
alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import httpx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="http://127.0.0.1:8080")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with httpx.Client(base_url=options.address, timeout=120) as client:
        index = client.get("/api/index").raise_for_status().json()
        some = client.post("/api/search", data={"text": "a", "k": "50"}).raise_for_status().json()["results"]
        photos = {found["listing_id"]: client.get(f"/photos/{found['listing_id']}").content for found in some}

        def search(found: dict, *, photo: bool, text: bool, generator: bool = False) -> httpx.Response:
            data = {"generator": str(generator).lower()} | ({"text": found["title"]} if text else {})
            files = {"image": photos[found["listing_id"]]} if photo else None
            return client.post("/api/search", data=data, files=files)

        kinds: dict[str, Callable[[dict], httpx.Response]] = {
            "healthz": lambda _: client.get("/healthz"),
            "listing": lambda f: client.post("/api/search", data={"listing_id": f["listing_id"]}),
            "text": lambda f: search(f, photo=False, text=True),
            "photo": lambda f: search(f, photo=True, text=False),
            "photo and text": lambda f: search(f, photo=True, text=True),
            "the same with the generator": lambda f: search(f, photo=True, text=True, generator=True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in kinds}
        for number in range(-2, options.rounds):  # two rounds to warm up
            for name, ask in kinds.items():
                started = time.perf_counter()
                ask(some[number % len(some)]).raise_for_status()
                if number >= 0:
                    seconds[name].append(time.perf_counter() - started)
    print(
        f"{index['embedder']} ({index['dimensions']} dimensions), {index['listings']:,} listings, "
        f"{index['recipe']}, k = 10, {options.rounds} searches of each kind"
    )
    for name, taken in seconds.items():
        high = statistics.quantiles(taken, n=10)[-1]
        print(f"{name:<28} median {1000 * statistics.median(taken):7.1f} ms   p90 {1000 * high:7.1f} ms")


if __name__ == "__main__":
    main()
