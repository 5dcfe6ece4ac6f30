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
from hashlib import md5
from pathlib import Path

import pandas as pd
import torch
from text_worth import Catalog, print_right, print_worth, texts_of, written

from afmrl_dagster.project import afmrl_home
from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.sft import train_generator
from afmrl_models.attributes.teachers.catalog import CatalogTeacher
from afmrl_models.config import load_profile
from afmrl_models.embedding.training import train_embedder


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
    catalog = Catalog.of(home)
    train, held_out, images = catalog.split("train"), catalog.split("validation"), catalog.images
    half = train["product_id"].map(half_of)
    teacher = CatalogTeacher(keys).write(train, images)

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

    def written_by(by: AttributeGenerator, about: pd.DataFrame) -> pd.DataFrame:
        return written(by, about, images, keys, profile.attributes.generation)

    full = generator("full", train, given.sft_steps)
    halves = [generator(f"half_{k}", train[half == k], given.sft_steps // 2) for k in (0, 1)]
    crossed = pd.concat([written_by(halves[k], train[half != k]) for k in (0, 1)], ignore_index=True)
    unseen = {"full": written_by(full, held_out), "half_0": written_by(halves[0], held_out)}
    for name, table in unseen.items():
        print_right(f"{name} on unseen products", table, CatalogTeacher(keys).write(held_out, images), keys)
    print_right("cross-fitted training texts", crossed, teacher, keys)

    shown = {"true": catalog.true_texts(keys), **{name: texts_of(table) for name, table in unseen.items()}}
    for name, table in (("by_teacher", teacher), ("cross_fitted", crossed)):
        out = given.work / name
        if not out.exists():
            train_embedder(
                models / "base_embedder", train, texts_of(table), images, profile.training, loss="infonce",
                steps=profile.training.steps, out=out, seed=profile.seeds[0], device="cpu",
                backbone=profile.embedder,
            )  # fmt: skip
        print_worth(catalog, out, shown, heading=f"{name}: ")


if __name__ == "__main__":
    main()
