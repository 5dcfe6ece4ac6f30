"""One AGCL step and one RAR step of the paper's models, as paper.yaml sets them, on random weights.

    python benchmarks/paper_step.py                                   # a CUDA GPU with 80 GB
    python benchmarks/paper_step.py --device cpu --parts agcl --pairs 4 --mini-batch 2 --image-size 56

Qwen2-VL-2B and Qwen2.5-VL-3B are built in their published shapes with random weights, a tokenizer of their
own and a rendered catalog, so that nothing is fetched; then the project's own training functions take one
step each. It proves that the profile runs and prints what it takes: seconds and peak memory. It says nothing
of quality. What is not set keeps the profile's value; `--layers` cuts the depth of all parts.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import Qwen2_5_VLConfig, Qwen2VLConfig

from afmrl_models.attributes.prompt import prompt_text
from afmrl_models.attributes.teachers import open_teacher
from afmrl_models.backbones.device import pick_device
from afmrl_models.backbones.small import save_random, token_ids
from afmrl_models.backbones.tokenizer import train_tokenizer
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.ingest import ingest
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import CatalogConfig, GeneratedSource, Profile, TeacherConfig, load_profile
from afmrl_models.embedding.training import train_embedder
from afmrl_models.refinement.rar import refine_generator

PAPER = Path(__file__).resolve().parents[1] / "assets_config" / "paper.yaml"
KEYS = ["type", "brand", "colour", "pattern", "material", "trim"]
MROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
TEXT = {"vocab_size": 151936, "rope_parameters": MROPE, "num_key_value_heads": 2}
QWEN2_VL_2B = {
    "text_config": TEXT
    | {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12},
    "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "mlp_ratio": 4},
}
QWEN2_5_VL_3B = {
    "text_config": TEXT
    | {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16},
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "out_hidden_size": 2048,
        "num_heads": 16,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
}


def build(
    configuration: type[Qwen2VLConfig | Qwen2_5_VLConfig],
    shape: dict[str, Any],
    layers: int | None,
    texts: list[str],
    size: int,
    out: Path,
) -> Path:
    """A checkpoint of this shape with random weights in bfloat16, kept for another run."""
    if (out / "config.json").exists():
        return out
    shape = {name: dict(part) for name, part in shape.items()}
    if layers is not None:
        shape["text_config"]["num_hidden_layers"] = layers
        shape["vision_config"]["depth"] = layers
        if "fullatt_block_indexes" in shape["vision_config"]:
            shape["vision_config"]["fullatt_block_indexes"] = [layers - 1]
    tokenizer = train_tokenizer(texts, 2048)
    settings = configuration(**shape, **token_ids(tokenizer))
    return save_random(settings, tokenizer, size, out, seed=0, dtype=torch.bfloat16)


def prepare(work: Path, products: int, size: int) -> tuple[pd.DataFrame, ImageStore]:
    """A rendered catalog with its photos at this size."""
    catalog = work / f"catalog-{products}-{size}"
    if not (catalog / "listings.parquet").exists():
        source = GeneratedSource(kind="generated", products=products)
        ingest(CatalogConfig(source=source, image_size=size), catalog, work / "source", progress=True)
    return read_table(catalog / "listings.parquet"), ImageStore.open(catalog / "images")


def measured(part: str, model: Path, device: str, step: Callable[[], dict[str, float]]) -> None:
    """Take the step and print seconds, peak memory and what it reported, as one line of JSON."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    reported = step()
    seconds = time.perf_counter() - started
    bytes_ = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    weights = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    line = {
        "part": part,
        "parameters": round(weights / 2 / 1e9, 2),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "seconds": round(seconds, 1),
        "peak_gigabytes": round(bytes_ / 1e9, 1),
        **{name: round(value, 4) for name, value in reported.items()},
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    """Prints a line of JSON a part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cuda", "cpu"])
    parser.add_argument("--parts", nargs="+", default=["agcl", "rar"], choices=["agcl", "rar"])
    parser.add_argument("--layers", type=int, help="of each model's parts; default: the published depths")
    parser.add_argument("--pairs", type=int, help="of the AGCL step")
    parser.add_argument("--mini-batch", type=int, help="pairs, and texts, a forward pass")
    parser.add_argument("--queries", type=int, help="of the RAR step")
    parser.add_argument("--group-size", type=int, help="texts a query")
    parser.add_argument("--max-new-tokens", type=int, help="of a text")
    parser.add_argument("--image-size", type=int, help="edge in pixels")
    parser.add_argument("--work", type=Path, help="folder to keep models and catalog in; 20 GB")
    options = parser.parse_args()
    device = pick_device(options.device)
    profile = load_profile(PAPER, {"AFMRL_CATALOG": ".", "TEACHER_URL": "http://127.0.0.1/v1"})
    profile = _cut(profile, options)
    size = profile.catalog.image_size
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        listings, images = prepare(work, profile.training.batch_size + 8, size)
        taught = open_teacher(TeacherConfig(), KEYS).write(listings, images)
        texts = dict(zip(taught["listing_id"], taught["attributes_text"], strict=True))
        words = [prompt_text(title, KEYS) for title in listings["title"]] + list(texts.values())
        embedder = build(
            Qwen2VLConfig, QWEN2_VL_2B, options.layers, words, size, work / f"qwen2-vl-{options.layers}"
        )
        trained = work / "embedder"
        if "agcl" in options.parts:

            def agcl() -> dict[str, float]:
                return train_embedder(
                    embedder, listings, texts, images, profile.training,
                    loss="agcl", steps=1, out=trained, seed=0, device=device, backbone=profile.embedder,
                ).metrics  # fmt: skip

            measured("agcl", embedder, device, agcl)
        if "rar" in options.parts:
            if not trained.exists():
                parser.error("rar needs the embedder of the agcl part: keep both, or name an earlier --work")
            checkpoint = work / f"qwen2.5-vl-{options.layers}"
            generator = build(Qwen2_5_VLConfig, QWEN2_5_VL_3B, options.layers, words, size, checkpoint)

            def rar() -> dict[str, float]:
                return refine_generator(
                    generator, trained, listings, images, KEYS, profile.refinement, work / "refined",
                    seed=0, device=device, backbone=profile.generator,
                ).metrics  # fmt: skip

            measured("rar", generator, device, rar)


def _cut(profile: Profile, options: argparse.Namespace) -> Profile:
    """The profile with what the command line sets, and one step."""

    def given(**values: Any) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None}

    same = {"pair_kinds": {"same_product": 1.0}, "steps": 1}
    return profile.model_copy(
        update={
            "catalog": profile.catalog.model_copy(update=given(image_size=options.image_size)),
            "training": profile.training.model_copy(
                update=same | given(batch_size=options.pairs, mini_batch_size=options.mini_batch)
            ),
            "refinement": profile.refinement.model_copy(
                update={"steps": 1}
                | given(
                    queries_per_step=options.queries,
                    group_size=options.group_size,
                    mini_batch_size=options.mini_batch,
                    max_new_tokens=options.max_new_tokens,
                )
            ),
        }
    )


if __name__ == "__main__":
    main()
