"""To which embedders are written attributes worth something?

    AFMRL_CATALOG=FOLDER python benchmarks/head_start.py PROFILE WORK

PROFILE has attributes.sft.folds above 1, and `afmrl run --select '*round_0/product_attributes'` has made its
tables under AFMRL_HOME. Embedders of several sizes and ages are trained here and kept in WORK: warmed up with
plain InfoNCE, then trained with the teacher's texts, or with cross-fitted ones. Recall@1 of `fine_grained` on
validation products, with the title alone, with what is true on both sides, and with what the distilled
generator writes, at the query and on both sides; differences to the title alone, with paired 95 % intervals
over products. One seed. The test split is not read.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from text_worth import Catalog, Judge, gain, of_first_seed, texts_of

from afmrl_dagster.project import afmrl_home
from afmrl_models.backbones.small import build_embedder
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import Profile, load_profile
from afmrl_models.embedding.training import train_embedder


class Candidate(NamedTuple):
    """An embedder: edge of its photos in pixels, width, layers, steps of warming up and of training."""

    image_size: int
    width: int
    layers: int
    warmup: int
    steps: int


EMBEDDERS = [
    Candidate(56, 128, 3, 0, 60),
    Candidate(56, 128, 3, 0, 120),
    Candidate(28, 48, 2, 200, 200),
    Candidate(28, 128, 3, 200, 200),
    Candidate(56, 128, 3, 200, 200),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("profile", type=Path)
    parser.add_argument("work", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    profile = load_profile(given.profile)
    home = afmrl_home() / profile.name
    round_0 = of_first_seed(profile) / "round_0"
    catalog = Catalog.of(home)
    taught_with = {
        "teacher": texts_of(read_table(home / "attributes/teacher_attributes/attributes.parquet")),
        "cross-fitted": texts_of(read_table(round_0 / "cross_fitted_attributes/attributes.parquet")),
    }
    written = texts_of(read_table(next(round_0.glob("product_attributes/**/attributes.parquet"))))
    true = catalog.true_texts(list(profile.attributes.keys))
    for embedder in EMBEDDERS:
        for name, texts in taught_with.items():
            judge = Judge(catalog, trained(embedder, name, texts, catalog, profile, given.work))
            title, both = judge.hits(), judge.hits(true, true)
            line = f"{embedder.image_size} px, {embedder.width} x {embedder.layers}, "
            line += f"{embedder.warmup} + {embedder.steps} steps, {name:12}"
            line += f"  title {title['recall_at_1'].mean():.3f}  true, both {both['recall_at_1'].mean():.3f}"
            for side, gallery in (("query", None), ("both", written)):
                found = judge.hits(written, gallery)
                line += f"  written, {side} {found['recall_at_1'].mean():.3f} ({gain(found, title)})"
            print(line, flush=True)


def trained(
    candidate: Candidate, name: str, texts: Mapping[str, str], catalog: Catalog, profile: Profile, work: Path
) -> Path:
    """Train the embedder where WORK does not hold it yet; the ones of equal size and age start equal."""
    train, seed = catalog.split("train"), profile.seeds[0]
    backbone = profile.embedder.model_copy(
        update={
            "image_size": candidate.image_size,
            "hidden_size": candidate.width,
            "layers": candidate.layers,
            "vision_layers": candidate.layers,
        }
    )
    base = work / f"base_{candidate.image_size}_{candidate.width}_{candidate.layers}"
    if not base.exists():
        build_embedder(backbone, [*train["title"], *texts.values()], candidate.image_size, base, seed)

    def further(start: Path, out: Path, steps: int, shown: Mapping[str, str], look_alikes: bool) -> Path:
        training = profile.training if look_alikes else profile.training.model_copy(update={"neighbours": 1})
        if not out.exists():
            train_embedder(
                start, train, shown, catalog.images, training, loss="infonce", steps=steps, out=out,
                seed=seed, device="cpu", backbone=backbone,
            )  # fmt: skip
        return out

    if candidate.warmup:
        base = further(
            base, work / f"{base.name}_warm_{candidate.warmup}", candidate.warmup, {}, look_alikes=False
        )
    # Random weights do not know look-alikes.
    return further(
        base,
        work / f"{base.name}_{candidate.steps}_{name}",
        candidate.steps,
        texts,
        look_alikes=bool(candidate.warmup),
    )


if __name__ == "__main__":
    main()
