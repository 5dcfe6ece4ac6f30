"""Attribute texts for a catalog: ours against plain `generate` in unsorted batches of 8, alternating.

    python benchmarks/generation.py [--listings 512] [--batch 128] [--repeats 2] [--work DIR] [--without]
    python benchmarks/generation.py --hidden-size 512 --layers 8
    python benchmarks/generation.py --run AFMRL_HOME/fashion --keys gender type colour usage

A small generator is first distilled for a few steps on a generated catalog, so that its texts have real
lengths and end by themselves (kept in --work for another run); with --run the catalog and round 0's
generator are those that `afmrl run` left. Then both write for the same listings, shuffled; the peer is the
library's own call: processor, `generate`, decode. Models use one thread. Times are the processor's, so that
a busy machine does not blur them, and the clock's on the wall. The texts must be identical. --without: ours
again, without one measure at a time.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from afmrl_models.attributes import decoding, generator
from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.photo_prompts import PhotoPrompts
from afmrl_models.attributes.prompt import messages, prompt_text
from afmrl_models.attributes.sft import train_generator
from afmrl_models.attributes.teachers import open_teacher
from afmrl_models.backbones import prefix_attention
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.small import build_generator
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.ingest import ingest
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import (
    BackboneConfig,
    CatalogConfig,
    GeneratedSource,
    GenerationConfig,
    SftConfig,
    TeacherConfig,
)

KEYS = ["type", "brand", "colour", "pattern", "material", "trim"]


def prepare(
    work: Path, products: int, steps: int, backbone: BackboneConfig
) -> tuple[pd.DataFrame, ImageStore, Path]:
    """A generated catalog, and a generator distilled for `steps` steps."""
    catalog = work / "catalog"
    distilled = work / f"generator-{backbone.hidden_size}-{backbone.layers}"
    if not catalog.exists():
        source = GeneratedSource(kind="generated", products=products)
        ingest(CatalogConfig(source=source), catalog, work / "source")
    listings, images = read_table(catalog / "listings.parquet"), ImageStore.open(catalog / "images")
    if not distilled.exists():
        taught = open_teacher(TeacherConfig(), KEYS).write(listings, images)
        texts = [prompt_text(title, KEYS) for title in listings["title"]] + list(taught["attributes_text"])
        base = build_generator(backbone, texts, images.size, work / "base", seed=0)
        settings = SftConfig(steps=steps, batch_size=48, learning_rate=0.256 / backbone.hidden_size)
        train_generator(
            base, taught, listings, images, KEYS, backbone, settings, distilled, seed=0, device="cpu"
        )
    return listings.sample(frac=1, random_state=0), images, distilled


def plain(
    model: Any, processor: Any, listings: pd.DataFrame, images: ImageStore, keys: Sequence[str], longest: int
) -> list[str]:
    """What a user of the library writes: batches of 8 as the listings come."""
    texts = []
    for start in range(0, len(listings), 8):
        rows = listings.iloc[start : start + 8]
        prompts = [
            processor.apply_chat_template(messages(title, keys), add_generation_prompt=True)
            for title in rows["title"]
        ]
        photos = [images.get(listing_id) for listing_id in rows["listing_id"]]
        inputs = processor(
            text=prompts, images=photos, padding=True, padding_side="left", return_tensors="pt"
        )
        tokens = model.generate(**inputs, do_sample=False, max_new_tokens=longest)
        texts += processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


def unsorted(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Batches as the listings come."""
    for start in range(0, len(lengths), size):
        yield list(range(start, min(start + size, len(lengths))))


@contextmanager
def convolved(model: Any) -> Iterator[None]:
    """Patches embedded by the library's convolution."""
    quick = model.model.visual.patch_embed.__dict__.pop("forward")
    try:
        yield
    finally:
        model.model.visual.patch_embed.forward = quick


def one_by_one(prompts: PhotoPrompts, positions: Sequence[int]) -> bool:
    """The processor makes the inputs."""
    return False


def fused(query: Any, key: Any, value: Any, mask: Any, shared: Any) -> torch.Tensor:
    """Single tokens through torch's kernel for many queries, behind keys repeated for every row."""
    if shared is not None:
        key, value = (
            torch.cat([before.expand(len(own), -1, -1, -1), own], dim=2)
            for before, own in zip(shared, (key, value), strict=True)
        )
        mask = torch.nn.functional.pad(mask, (shared[0].shape[2], 0), value=True)
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(query, key, value, mask, scale=1.0).transpose(1, 2)


def measures(model: Any) -> dict[str, Any]:
    """What ours does without each measure."""
    return {
        "batches of like length": patch.object(generator, "batches_by_length", unsorted),
        "inputs of a batch in one pass": patch.object(PhotoPrompts, "_is_like_the_processors", one_by_one),
        "patches by a product of matrices": convolved(model),
        "instruction read once": patch.object(decoding, "_shared", lambda *_: 0),
        "prompts read 32 at once": patch.object(decoding, "READ_AT_ONCE", 1 << 30),
        "finished rows leave": patch.object(decoding, "LEAVE_AT_SHARE", 0),
        "attention from single tokens": patch.object(prefix_attention, "_attend_from_one_token", fused),
    }


Times = tuple[float, float]


def clock(work: Callable[[], list[str]]) -> tuple[list[str], Times]:
    """The texts, and the seconds: the processor's and those on the wall."""
    processor, wall = time.process_time(), time.perf_counter()
    texts = work()
    return texts, (time.process_time() - processor, time.perf_counter() - wall)


def medians(taken: list[Times]) -> Times:
    processor, wall = (statistics.median(seconds) for seconds in zip(*taken, strict=True))
    return processor, wall


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listings", type=int, default=512)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--products", type=int, default=600)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--run", type=Path, help="a profile's folder under AFMRL_HOME")
    parser.add_argument("--keys", nargs="+", default=KEYS)
    parser.add_argument("--without", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    register()

    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        if options.run:
            catalog, path = options.run / "catalog/listings", options.run / "round_0/attribute_generator"
            listings, images = read_table(catalog / "listings.parquet"), ImageStore.open(catalog / "images")
            listings = listings.sample(frac=1, random_state=0)
        else:
            backbone = BackboneConfig(hidden_size=options.hidden_size, layers=options.layers)
            listings, images, path = prepare(work, options.products, options.steps, backbone)
        compare(options, listings.head(options.listings), images, path)


def compare(options: argparse.Namespace, listings: pd.DataFrame, images: ImageStore, path: Path) -> None:
    """Prints the medians and the ratios."""
    ours = AttributeGenerator.load(path, "cpu")
    model, processor = AutoModelForImageTextToText.from_pretrained(path), AutoProcessor.from_pretrained(path)
    config = GenerationConfig(batch_size=options.batch, max_new_tokens=options.max_new_tokens)

    def quickly() -> list[str]:
        return ours.generate(listings, images, options.keys, config)

    def plainly() -> list[str]:
        return plain(model, processor, listings, images, options.keys, options.max_new_tokens)

    # Both are warmed up.
    ours.generate(listings.head(32), images, options.keys, config)
    plain(model, processor, listings.head(32), images, options.keys, options.max_new_tokens)
    taken: dict[str, list[Times]] = {"plain": [], "ours": []}
    lacking: dict[str, list[Times]] = {}
    for _ in range(options.repeats):
        texts, seconds = clock(plainly)
        taken["plain"].append(seconds)
        written, seconds = clock(quickly)
        taken["ours"].append(seconds)
        different = sum(mine != theirs for mine, theirs in zip(written, texts, strict=True))
        if different:
            raise SystemExit(f"{different} of {len(texts)} texts differ")
        for name, change in (measures(ours.model) if options.without else {}).items():
            with change:
                lacking.setdefault(name, []).append(clock(quickly)[1])
    lengths = [len(tokens) for tokens in processor.tokenizer(texts)["input_ids"]]
    count, size = len(listings), model.num_parameters() / 1e6
    print(
        f"{count} listings, texts of {statistics.mean(lengths):.0f} tokens ({min(lengths)} to {max(lengths)})"
    )
    print(f"{size:.1f} M parameters; medians of {options.repeats}:   processor   wall   listings a second")
    (plain_processor, plain_wall), (our_processor, our_wall) = medians(taken["plain"]), medians(taken["ours"])
    for name, processor_seconds, wall in (
        ("plain generate, batches of 8", plain_processor, plain_wall),
        (f"ours, batches of {options.batch}", our_processor, our_wall),
    ):
        print(f"{name:32} {processor_seconds:9.2f} s {wall:8.2f} s {count / processor_seconds:9.0f}")
    ratio, on_the_wall = plain_processor / our_processor, plain_wall / our_wall
    print(f"ratio: {ratio:.2f} of the processor, {on_the_wall:.2f} on the wall; all texts identical")
    for name, times in lacking.items():
        print(f"without {name:34} {medians(times)[0] / our_processor:5.2f} times as long")


if __name__ == "__main__":
    main()
