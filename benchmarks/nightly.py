"""What a night costs that changes 1 % of the listings, against a full run, and whether both end up equal.

    python benchmarks/nightly.py [--listings 1000] [--share 0.01] [--max-new-tokens 24] [--work DIR]

A generated catalog is ingested, attributes are written for it and vectors made of photo, title and
attributes. Then a share of its listings changes: a third of them are new, a third have another photo, a third
another title; and as many as are new are deleted. The night runs where the first run has been; the full run
of the changed catalog runs in empty folders, in the same process, afterwards. Both use one thread a core to
read photos and one for the models, which are the project's small ones with random weights: another model
changes what a listing costs, not how many are paid for.

Equality, or the benchmark fails: all files of the ingestion and the attribute table byte for byte; vectors
of unchanged listings bit for bit those of the first run; all vectors within 2e-5 of the full run's; equal
groups of identical products. `--work` keeps the rendered catalog and the models for another run.
"""

import argparse
import csv
import hashlib
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from PIL import Image

from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.prompt import prompt_text
from afmrl_models.attributes.writing import write_attributes
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.catalog.generated import generate_catalog
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.ingest import ingest
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import BackboneConfig, CatalogConfig, ColumnMapping, GenerationConfig, TableSource
from afmrl_models.embedding.catalog_vectors import CatalogVectors, embed_catalog
from afmrl_models.embedding.embedder import load_embedder, new_embedder, save_embedder
from afmrl_models.retrieval.identical import group_identical
from afmrl_models.retrieval.links import mutual_links
from afmrl_models.retrieval.search import Gallery

KEYS = ["type", "brand", "colour", "pattern", "material", "trim"]
ROUNDING = 2e-5
Row = dict[str, str]
Result = TypeVar("Result")


@dataclass
class Clock:
    """Wall and processor seconds by stage, of all threads."""

    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)

    def run(self, stage: str, work: Callable[[], Result]) -> Result:
        """Do the work and note what it took."""
        wall, processor = time.perf_counter(), _processor_seconds()
        result = work()
        self.seconds[stage] = (time.perf_counter() - wall, _processor_seconds() - processor)
        return result


@dataclass(frozen=True)
class Models:
    """Where the generator and the embedder are, and how texts are written."""

    generator: Path
    embedder: Path
    generation: GenerationConfig


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def make_shop(folder: Path, listings: int) -> list[Row]:
    """At least this many rows, with their photos; rendered unless they are there."""
    if not (folder / "all.csv").exists():
        generate_catalog(listings // 2 + 1, 0, folder)
        (folder / "listings.csv").rename(folder / "all.csv")
    with (folder / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if len(rows) < listings:
        raise SystemExit(f"{folder} was rendered for fewer listings; name another --work")
    return rows[:listings]


def write_shop(folder: Path, rows: list[Row]) -> CatalogConfig:
    """The table of these rows, and the profile's part that reads it."""
    with (folder / "listings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    source = TableSource(kind="table", path=folder, columns=ColumnMapping(seller="seller"))
    return CatalogConfig(source=source)


def change(folder: Path, rows: list[Row], coming: list[Row]) -> tuple[list[Row], int]:
    """The next night's rows, and how many are new or changed: `coming`, as many other photos and titles."""
    count = len(coming)
    chosen = random.Random(0).sample(range(len(rows)), 3 * count)
    photos, titles, gone = chosen[:count], chosen[count : 2 * count], set(chosen[2 * count :])
    rows = [dict(row) for row in rows]
    for place in photos:
        path = Path(rows[place]["image"])
        with Image.open(folder / path) as photo:
            mirrored = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        rows[place]["image"] = str(path.with_name(f"other-{path.name}"))
        mirrored.save(folder / rows[place]["image"], "JPEG", quality=88)
    for place in titles:
        rows[place]["title"] += " (new)"
    return [row for place, row in enumerate(rows) if place not in gone] + coming, 3 * count


def make_models(work: Path, rows: list[Row], size: int, longest: int) -> Models:
    """The small models with random weights."""
    backbone, titles = BackboneConfig(), [row["title"] for row in rows[:2000]]
    if not (work / "generator").exists():
        build_generator(backbone, [prompt_text(t, KEYS) for t in titles], size, work / "generator", seed=0)
    if not (work / "embedder").exists():
        base = build_embedder(backbone, titles, size, work / "base", seed=0)
        save_embedder(new_embedder(base, backbone, "cpu"), work / "embedder")
    generation = GenerationConfig(max_new_tokens=longest)
    return Models(work / "generator", work / "embedder", generation)


def run(config: CatalogConfig, models: Models, out: Path) -> tuple[Clock, CatalogVectors]:
    """Ingestion, attributes and vectors in `out`; what an earlier run left there is used."""
    clock = Clock()
    catalog = out / "catalog"
    clock.run("ingestion", lambda: ingest(config, catalog, out / "source", former=catalog))
    listings, images = read_table(catalog / "listings.parquet"), ImageStore.open(catalog / "images")
    generator = clock.run("(loading the generator)", lambda: AttributeGenerator.load(models.generator, "cpu"))
    table = clock.run(
        "attributes",
        lambda: write_attributes(
            generator, listings, images, KEYS, models.generation, "benchmark/1", out / "attributes.parquet"
        ),
    )
    texts = dict(zip(table["listing_id"], table["attributes_text"], strict=True))
    model = clock.run("(loading the embedder)", lambda: load_embedder(models.embedder, "cpu"))
    embedded = clock.run(
        "embeddings",
        lambda: embed_catalog(
            lambda: model, listings, images, "multimodal", texts, 256, "benchmark/1", out / "vectors"
        ),
    )
    return clock, embedded


def files(folder: Path) -> dict[str, str]:
    """sha256 of all files by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def verify(
    first: tuple[list[str], np.ndarray], night: Path, full: Path, ours: CatalogVectors, theirs: CatalogVectors
) -> str:
    """How equal both are, in a sentence. Raises SystemExit where they are not."""
    if files(night / "catalog") != files(full / "catalog"):
        raise SystemExit("the files of the ingestion differ from a full run's")
    if (night / "attributes.parquet").read_bytes() != (full / "attributes.parquet").read_bytes():
        written, expected = (read_table(out / "attributes.parquet") for out in (night, full))
        differ = int((written["attributes_text"] != expected["attributes_text"]).sum())
        raise SystemExit(f"{differ} of {len(expected)} attribute texts differ from a full run's")
    ids = list(read_table(night / "catalog" / "listings.parquet", ["listing_id"])["listing_id"])
    before = pd.Series(range(len(first[0])), index=first[0]).reindex(np.array(ids)[ours.kept])
    if not np.array_equal(ours.vectors[ours.kept], first[1][before.to_numpy(dtype=np.int64)]):
        raise SystemExit("kept vectors are not those of the first run")
    largest = float(np.abs(ours.vectors - theirs.vectors).max())
    if largest > ROUNDING:
        raise SystemExit(f"vectors differ by up to {largest:.1e} from a full run's")
    galleries = [Gallery(side.vectors, ids) for side in (ours, theirs)]
    groups = [
        group_identical(gallery, mutual_links(gallery, 10), 0.98).groups[["group_id", "listing_id"]]
        for gallery in galleries
    ]
    if not groups[0].equals(groups[1]):
        raise SystemExit("the groups of identical products differ from a full run's")
    return (
        f"equal: {len(files(night / 'catalog'))} files of the ingestion and the attribute table byte for "
        f"byte, kept vectors bit for bit, all vectors within {largest:.1e}, "
        f"{len(groups[0])} listings in equal groups"
    )


def report(night: Clock, full: Clock) -> None:
    """Seconds and ratios by stage and in all."""
    print(f"{'':26}{'full run: processor, wall':>28}{'night: processor, wall':>28}{'ratio':>18}")
    stages: dict[str, Any] = {"ingestion": 0, "attributes": 0, "embeddings": 0}
    for stage in stages:
        line(stage, full.seconds[stage], night.seconds[stage])
    totals = [[sum(clock.seconds[stage][i] for stage in stages) for i in (0, 1)] for clock in (full, night)]
    line("in all", *totals)
    every = [[sum(taken[i] for taken in clock.seconds.values()) for i in (0, 1)] for clock in (full, night)]
    line("with loading the models", *every)


def line(name: str, full: Any, night: Any) -> None:
    """One stage; both sides are (wall, processor)."""
    sides = "".join(f"{side[1]:16.2f} s {side[0]:8.2f} s" for side in (full, night))
    print(f"{name:26}{sides}{night[1] / full[1]:9.2%}{night[0] / full[0]:9.2%}")


def main() -> None:
    """Prints costs, ratios and the verdict on equality."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listings", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--max-new-tokens", type=int, default=24)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    third = max(1, round(options.listings * options.share / 3))
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        rows = make_shop(work / "shop", options.listings + third)
        rows, coming = rows[: options.listings], rows[options.listings :]
        config = write_shop(work / "shop", rows)
        models = make_models(work, rows, config.image_size, options.max_new_tokens)
        for name in ("night", "full"):
            shutil.rmtree(work / name, ignore_errors=True)
        _, before = run(config, models, work / "night")
        ids = list(read_table(work / "night" / "catalog" / "listings.parquet", ["listing_id"])["listing_id"])
        rows, changed = change(work / "shop", rows, coming)
        config = write_shop(work / "shop", rows)
        night, ours = run(config, models, work / "night")
        full, theirs = run(config, models, work / "full")
        print(
            f"{options.listings:,} listings, {changed} of them new or changed ({changed / len(rows):.1%}), "
            f"{third} deleted; {int((~ours.kept).sum())} embedded"
        )
        report(night, full)
        print(verify((ids, before.vectors), work / "night", work / "full", ours, theirs))


if __name__ == "__main__":
    main()
