"""One AGCL training step against one step of sentence-transformers' cached InfoNCE, on the same batch.

Both losses train the same small Qwen2-VL on the same photos, titles and attribute texts, in one process,
taking turns. A step is the loss with its gradient cache, the backward pass and AdamW. Prints the median
seconds of each and the median of the rounds' ratios, by the clock and by the processor's time, which other
programs disturb less.

    python benchmarks/agcl_step.py --batch-size 128 --mini-batch-size 32 --rounds 15
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

from afmrl_models.attributes.bm25 import BM25
from afmrl_models.backbones.device import pick_device
from afmrl_models.backbones.small import build_embedder
from afmrl_models.config import BackboneConfig
from afmrl_models.embedding.embedder import new_embedder
from afmrl_models.embedding.inputs import embedder_input, listing_text
from afmrl_models.embedding.loss import AGCLLoss

LISTINGS = 5000
COLOURS = ["red", "green", "blue", "black", "white", "beige", "navy", "orange"]
THINGS = ["shirt", "mug", "lamp", "kettle", "sneaker", "backpack", "teapot", "watch"]
SIZES = ["small", "medium", "large", "250 ml", "500 ml", "1 l"]


def listing(number: int) -> tuple[str, str]:
    colour, thing, size = (words[number % len(words)] for words in (COLOURS, THINGS, SIZES))
    title = f"{thing} {colour} by maker {number % 97}, model {number}, {size}"
    return title, f"type: {thing}; colour: {colour}; size: {size}; maker: {number % 97}; year: {number % 13}"


def step(
    objective: Any, optimizer: torch.optim.Optimizer, columns: list[dict], labels: torch.Tensor
) -> float:
    optimizer.zero_grad()
    loss = objective([dict(column) for column in columns], labels)
    loss.backward()
    optimizer.step()
    return loss.item()  # waits for the device


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--mini-batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=56)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = pick_device(arguments.device)
    rng = np.random.default_rng(0)
    texts = [listing(number) for number in range(LISTINGS)]

    def inputs(model: SentenceTransformer, rows: np.ndarray) -> dict[str, Any]:
        size = arguments.image_size
        photos = rng.integers(0, 256, (len(rows), size, size, 3), dtype=np.uint8)
        shown = [
            embedder_input("multimodal", Image.fromarray(photo), listing_text(*texts[row]))
            for row, photo in zip(rows, photos, strict=True)
        ]
        features = model.preprocess(shown)
        return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}

    with tempfile.TemporaryDirectory() as folder:
        backbone = BackboneConfig()
        words = [part for text in texts[:500] for part in text]
        base = build_embedder(backbone, words, arguments.image_size, Path(folder) / "base", seed=0)
        model = new_embedder(base, backbone, device)
    rows = rng.permutation(LISTINGS)[: 2 * arguments.batch_size].reshape(2, -1)
    columns = [inputs(model, side) for side in rows]
    labels = torch.from_numpy(rows.T.copy()).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    bm25 = BM25([attributes for _, attributes in texts])
    size = arguments.mini_batch_size
    objectives = {
        "infonce": CachedMultipleNegativesRankingLoss(model, scale=20, mini_batch_size=size),
        "agcl": AGCLLoss(model, bm25, [None] * LISTINGS, temperature=0.05, margin=0.1, mini_batch_size=size),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in objectives}
    for turn in range(arguments.rounds + 1):
        for name in sorted(objectives, reverse=bool(turn % 2)):
            cpu, wall = time.process_time(), time.perf_counter()
            step(objectives[name], optimizer, columns, labels)
            if turn > 0:  # the first round warms up
                seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    report: dict[str, Any] = {**vars(arguments), "device": device, "tokens": columns[0]["input_ids"].shape[1]}
    for clock, kind in enumerate(("wall", "cpu")):
        ours, theirs = ([taken[clock] for taken in seconds[name]] for name in ("agcl", "infonce"))
        report[f"agcl_{kind}_seconds"] = round(median(ours), 4)
        report[f"infonce_{kind}_seconds"] = round(median(theirs), 4)
        report[f"{kind}_ratio"] = round(median(a / b for a, b in zip(ours, theirs, strict=True)), 4)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
