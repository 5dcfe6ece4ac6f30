"""Attribute texts for a catalog: ours against plain `generate` in unsorted batches of 8, alternating.

    python benchmarks/generation.py [--listings 512] [--batch 128] [--repeats 2] [--work DIR]

A small generator is first distilled for a few steps on a generated catalog, so that its texts have real
lengths and end by themselves (kept in --work for another run). Then both write for the same listings,
shuffled; the peer is the library's own call: processor, `generate`, decode. Both use one thread; times are
the processor's, so that a busy machine does not blur them. The texts must be identical.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.prompt import messages, prompt_text
from afmrl_models.attributes.sft import train_generator
from afmrl_models.attributes.teachers import open_teacher
from afmrl_models.backbones.processor import register
from afmrl_models.backbones.small import build_generator
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.ingest import ingest
from afmrl_models.catalog.schema import read_table
from afmrl_models.config.profile import (
    BackboneConfig,
    CatalogConfig,
    GeneratedSource,
    GenerationConfig,
    SftConfig,
    TeacherConfig,
)

KEYS = ["type", "brand", "colour", "pattern", "material", "trim"]


def prepare(work: Path, products: int, steps: int) -> tuple[pd.DataFrame, ImageStore, Path]:
    """A generated catalog, and a generator distilled for `steps` steps."""
    catalog, distilled = work / "catalog", work / "generator"
    if not distilled.exists():
        source = GeneratedSource(kind="generated", products=products)
        ingest(CatalogConfig(source=source), catalog, work / "source")
    listings, images = read_table(catalog / "listings.parquet"), ImageStore.open(catalog / "images")
    if not distilled.exists():
        backbone = BackboneConfig()
        taught = open_teacher(TeacherConfig(), KEYS).write(listings, images)
        texts = [prompt_text(title, KEYS) for title in listings["title"]] + list(taught["attributes_text"])
        base = build_generator(backbone, texts, images.size, work / "base", seed=0)
        settings = SftConfig(steps=steps, batch_size=48, learning_rate=2e-3)
        train_generator(
            base, taught, listings, images, KEYS, backbone, settings, distilled, seed=0, device="cpu"
        )
    return listings.sample(frac=1, random_state=0), images, distilled


def plain(model: Any, processor: Any, listings: pd.DataFrame, images: ImageStore, longest: int) -> list[str]:
    """What a user of the library writes: batches of 8 as the listings come."""
    texts = []
    for start in range(0, len(listings), 8):
        rows = listings.iloc[start : start + 8]
        prompts = [
            processor.apply_chat_template(messages(title, KEYS), add_generation_prompt=True)
            for title in rows["title"]
        ]
        photos = [images.get(listing_id) for listing_id in rows["listing_id"]]
        inputs = processor(
            text=prompts, images=photos, padding=True, padding_side="left", return_tensors="pt"
        )
        tokens = model.generate(**inputs, do_sample=False, max_new_tokens=longest)
        texts += processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


def clock(work: Callable[[], list[str]]) -> tuple[list[str], float]:
    """The texts and the processor's seconds."""
    start = time.process_time()
    texts = work()
    return texts, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--listings", type=int, default=512)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--products", type=int, default=600)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    register()

    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        listings, images, path = prepare(work, options.products, options.steps)
        listings = listings.head(options.listings)
        generator = AttributeGenerator.load(path, "cpu")
        model, processor = (
            AutoModelForImageTextToText.from_pretrained(path),
            AutoProcessor.from_pretrained(path),
        )
        config = GenerationConfig(batch_size=options.batch, max_new_tokens=options.max_new_tokens)
        # Both are warmed up.
        generator.generate(listings.head(32), images, KEYS, config)
        plain(model, processor, listings.head(32), images, options.max_new_tokens)
        ours_seconds, plain_seconds = [], []
        for _ in range(options.repeats):
            texts, seconds = clock(lambda: plain(model, processor, listings, images, options.max_new_tokens))
            plain_seconds.append(seconds)
            written, seconds = clock(lambda: generator.generate(listings, images, KEYS, config))
            ours_seconds.append(seconds)
            different = sum(ours != theirs for ours, theirs in zip(written, texts, strict=True))
            if different:
                raise SystemExit(f"{different} of {len(texts)} texts differ")
    lengths = [len(tokens) for tokens in processor.tokenizer(texts)["input_ids"]]
    ours, theirs = statistics.median(ours_seconds), statistics.median(plain_seconds)
    count = len(listings)
    print(f"{count} listings, texts of {statistics.mean(lengths):.0f} tokens ({max(lengths)} at most)")
    print(f"plain generate, batches of 8: {theirs:.2f} s, {count / theirs:.0f} listings a second")
    print(f"ours, batches of {options.batch}: {ours:.2f} s, {count / ours:.0f} listings a second")
    print(f"ratio: {theirs / ours:.2f} (medians of {options.repeats}); all texts identical")


if __name__ == "__main__":
    main()
