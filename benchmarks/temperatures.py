"""What AGCL's weights are worth at several temperatures of the loss, on validation products.

    AFMRL_CATALOG=FOLDER python benchmarks/temperatures.py PROFILE WORK

PROFILE is a ladder's, whose base embedder `afmrl run --select '+key:"models/base_embedder"'` has made under
AFMRL_HOME. For each temperature an embedder is trained by InfoNCE and another by AGCL, on the same batches,
with the teacher's texts; they are kept in WORK. Recall@1 of `fine_grained` with the title alone and with what
is true on both sides, and AGCL's difference at the title alone, with the paired 95 % interval over products.
The test split is not read.
"""

import argparse
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from text_worth import Catalog, Judge, gain, of_first_seed, texts_of

from afmrl_dagster.project import afmrl_home
from afmrl_models.attributes.teachers.catalog import CatalogTeacher
from afmrl_models.config import load_profile
from afmrl_models.embedding.training import train_embedder

LOSSES: tuple[Literal["infonce", "agcl"], ...] = ("infonce", "agcl")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("profile", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.025, 0.05, 0.1, 0.2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    profile = load_profile(given.profile)
    seed, home = profile.seeds[0], afmrl_home() / profile.name
    base = of_first_seed(profile) / "models/base_embedder"
    keys, catalog = list(profile.attributes.keys), Catalog.of(home)
    train = catalog.split("train")
    texts = texts_of(CatalogTeacher(keys).write(train, catalog.images))
    true = catalog.true_texts(keys)
    print("temperature   loss     title   true, both   AGCL - InfoNCE at the title")
    for temperature in given.temperatures:
        training = profile.training.model_copy(update={"temperature": temperature})
        infonce: pd.DataFrame | None = None
        for loss in LOSSES:
            out = given.work / f"{loss}_{temperature}"
            if not out.exists():
                train_embedder(
                    base, train, texts, catalog.images, training, loss=loss, steps=training.steps, out=out,
                    seed=seed, device="cpu", backbone=profile.embedder,
                )  # fmt: skip
            judge = Judge(catalog, out)
            alone, both = judge.hits(), judge.hits(true, true)
            line = f"{temperature:<11}   {loss:7}  {alone['recall_at_1'].mean():.3f}   "
            line += f"{both['recall_at_1'].mean():.3f}     "
            print(line if infonce is None else f"{line}   {gain(alone, infonce)}", flush=True)
            infonce = alone


if __name__ == "__main__":
    main()
