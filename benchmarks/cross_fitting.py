"""Does an embedder use attributes better when it learns from texts about products the writer had not seen?

    AFMRL_CATALOG=FOLDER python benchmarks/cross_fitting.py PROFILE WORK

PROFILE is a ladder's, whose starting models `afmrl run --select '+key:"models/base_embedder" or
+key:"models/base_generator"'` has made under AFMRL_HOME. In WORK, and kept there for a further call:

    full            a generator distilled on all training products
    half_0, half_1  two more, each on half of them, in half of the steps
    by_teacher      an embedder trained with the teacher's texts
    cross_fitted    one trained with those that each half wrote about the other half's products

Recall@1 of `fine_grained` on validation products, with what is true, what `full` and what `half_0` writes, at
the query alone and on both sides; differences to the title alone, with paired 95 % intervals over products.
The test split is not read.
"""

import argparse
from collections.abc import Mapping
from hashlib import md5
from pathlib import Path

import pandas as pd
import torch

from afmrl_dagster.project import afmrl_home
from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.grammar import parse
from afmrl_models.attributes.sft import train_generator
from afmrl_models.attributes.teachers.catalog import CatalogTeacher
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import EvaluationConfig, load_profile
from afmrl_models.embedding.embedder import load_embedder
from afmrl_models.embedding.training import train_embedder
from afmrl_models.retrieval.evaluation import evaluate_embedder, model_encoder
from afmrl_models.retrieval.oracle import oracle_attributes
from afmrl_models.retrieval.significance import paired_bootstrap


def half_of(product: str) -> int:
    return int(md5(str(product).encode(), usedforsecurity=False).hexdigest(), 16) % 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("profile", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument(
        "--sft-steps", type=int, default=800, help="of the full generator; a half's: half of it"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    profile = load_profile(given.profile)
    home = afmrl_home() / profile.name
    models = home / (f"seed_{profile.seeds[0]}" if len(profile.seeds) > 1 else "") / "models"
    keys = list(profile.attributes.keys)
    listings = read_table(home / "catalog/listings/listings.parquet")
    splits = read_table(home / "catalog/splits/splits.parquet")
    images = ImageStore.open(home / "catalog/listings/images")
    split = listings["listing_id"].map(dict(zip(splits["listing_id"], splits["split"], strict=True)))
    train = listings[split == "train"].reset_index(drop=True)
    held_out = listings[split == "validation"].reset_index(drop=True)
    half = train["product_id"].map(half_of)
    teacher = CatalogTeacher(keys).write(train, images)
    true = oracle_attributes(listings, splits, images, keys, split="validation")

    def generator(name: str, taught: pd.DataFrame, steps: int) -> AttributeGenerator:
        out = given.work / name
        if not out.exists():
            sft = profile.attributes.sft.model_copy(update={"steps": steps, "vary_photos": True})
            texts = teacher[teacher["listing_id"].isin(set(taught["listing_id"]))]
            train_generator(
                models / "base_generator", texts, taught, images, keys, profile.generator, sft, out,
                seed=profile.seeds[0], device="cpu",
            )  # fmt: skip
        return AttributeGenerator.load(out, "cpu")

    def written(by: AttributeGenerator, about: pd.DataFrame) -> dict[str, str]:
        texts = by.generate(about, images, keys, profile.attributes.generation)
        return dict(zip(about["listing_id"], texts, strict=True))

    def right(texts: Mapping[str, str], of: Mapping[str, str]) -> str:
        """Share of the values that are right, by key, and of the listings where all are."""
        rows = [
            {key: said.get(key, "").casefold() == value.casefold() for key, value in parse(of[id_]).items()}
            for id_, said in ((id_, _pairs(text)) for id_, text in texts.items())
            if of.get(id_)
        ]
        frame = pd.DataFrame(rows).astype("boolean")
        shares = {**frame.mean().to_dict(), "all": frame.fillna(True).all(axis=1).mean()}
        return ", ".join(f"{key} {share:.3f}" for key, share in shares.items())

    full = generator("full", train, given.sft_steps)
    halves = [generator(f"half_{k}", train[half == k], given.sft_steps // 2) for k in (0, 1)]
    crossed = {
        id_: text
        for k in (0, 1)
        for id_, text in written(halves[k], train[half != k].reset_index(drop=True)).items()
    }
    shown = {"true": true, "full": written(full, held_out), "half_0": written(halves[0], held_out)}
    of_teacher = dict(zip(teacher["listing_id"], teacher["attributes_text"], strict=True))
    print(f"right, full on unseen products:   {right(shown['full'], true)}")
    print(f"right, half_0 on unseen products: {right(shown['half_0'], true)}")
    print(f"right, cross-fitted training texts: {right(crossed, of_teacher)}", flush=True)

    config = EvaluationConfig(tasks=["fine_grained"], ks=[1])
    for name, texts in (("by_teacher", of_teacher), ("cross_fitted", crossed)):
        out = given.work / name
        if not out.exists():
            train_embedder(
                models / "base_embedder", train, texts, images, profile.training, loss="infonce",
                steps=profile.training.steps, out=out, seed=profile.seeds[0], device="cpu",
                backbone=profile.embedder,
            )  # fmt: skip
        encode = model_encoder(load_embedder(out, "cpu"), images, 256, progress=False)

        def hits(query: Mapping[str, str] | None, gallery: Mapping[str, str] | None) -> pd.DataFrame:
            done = evaluate_embedder(
                None, held_out, splits, None, config, split="validation", seed=0, encode=encode,  # noqa: B023
                device="cpu", query_attributes=query, gallery_attributes=gallery,
            )  # fmt: skip
            return done.per_query.set_index("query_id")

        alone = hits(None, None)
        print(f"\n{name}: {len(alone)} queries; title alone: Recall@1 {alone['recall_at_1'].mean():.3f}")
        for kind, text in shown.items():
            line = f"{kind:8}"
            for side, gallery in (("query", None), ("both", text)):
                found = hits(text, gallery).loc[alone.index]
                gain = paired_bootstrap(
                    found["recall_at_1"], alone["recall_at_1"], alone["product_id"].tolist()
                )
                line += f"   {side} {found['recall_at_1'].mean():.3f}"
                line += f" ({gain.difference:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}])"
            print(line, flush=True)


def _pairs(text: str) -> dict[str, str]:
    try:
        return dict(parse(text))
    except ValueError:
        return {}


if __name__ == "__main__":
    main()
