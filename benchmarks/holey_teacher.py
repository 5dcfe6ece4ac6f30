"""Does RAR learn what to leave out, where its teacher did and where it reads products it was not taught?

    AFMRL_CATALOG=FOLDER python benchmarks/holey_teacher.py PROFILE WORK

PROFILE has attributes.sft.share and key_dropout, as assets_config/ladder_rar.yaml has, and its starting
models `afmrl run --select '+key:"models/base_embedder" or +key:"models/base_generator"'` has made under
AFMRL_HOME. In WORK, and kept there for a further call:

    embedder   trained with the teacher's texts on all training products
    complete   a generator distilled on the taught share of the products, as the teacher writes
    holey      another, from whose lessons pairs are left out (key_dropout)
    rar_N      `holey` after N steps of RAR on the other training products

A generator knows its taught products by heart, so that RAR on them rewards what unseen products do not ask
for; on the others it is as unsure as on unseen ones. Each generator's texts about validation products:
precision (of what is said) and share said by key, length, and Recall@1 as `text_worth.print_worth` has it.
`right` leaves out of `holey`'s texts what is wrong: the most that leaving out can bring. The test split is
not read.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
from text_worth import Catalog, Judge, Texts, gain, of_first_seed, print_worth, texts_of, written

from afmrl_dagster.project import afmrl_home
from afmrl_models.attributes.agreement import agreement
from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.grammar import render
from afmrl_models.attributes.lessons import deal_lessons
from afmrl_models.attributes.sft import train_generator
from afmrl_models.attributes.teachers.catalog import CatalogTeacher
from afmrl_models.config import load_profile
from afmrl_models.embedding.training import train_embedder
from afmrl_models.refinement.rar import refine_generator


def only_right(table: pd.DataFrame, stated: pd.DataFrame) -> Texts:
    """The texts without the pairs that the teacher does not state."""
    truth = dict(zip(stated["listing_id"], stated["attributes"], strict=True))

    def right(listing_id: str, said: dict[str, str] | None) -> str:
        true = truth.get(listing_id) or {}
        pairs = {key: value for key, value in (said or {}).items() if true.get(key) == value}
        return render(pairs) if pairs else ""

    return {id_: right(id_, said) for id_, said in zip(table["listing_id"], table["attributes"], strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("profile", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rar-steps", type=int, nargs="+", default=[60, 180])
    parser.add_argument("--temperature", type=float, help="of RAR's sampling; default: the profile's")
    given = parser.parse_args()
    torch.set_num_threads(1)
    profile = load_profile(given.profile)
    seed = profile.seeds[0]
    models = of_first_seed(profile) / "models"
    keys = list(profile.attributes.keys)
    catalog = Catalog.of(afmrl_home() / profile.name)
    train, held_out, images = catalog.split("train"), catalog.split("validation"), catalog.images
    taught, others = deal_lessons(train, profile.attributes.sft.share, seed)
    teacher = CatalogTeacher(keys).write(train, images)
    stated = CatalogTeacher(keys).write(held_out, images)

    embedder = given.work / "embedder"
    if not embedder.exists():
        train_embedder(
            models / "base_embedder", train, texts_of(teacher), images, profile.training, loss="agcl",
            steps=profile.training.steps, out=embedder, seed=seed, device="cpu", backbone=profile.embedder,
        )  # fmt: skip
    lessons = teacher[teacher["listing_id"].isin(set(taught["listing_id"]))]
    for name, dropout in (("complete", 0.0), ("holey", profile.attributes.sft.key_dropout)):
        if not (given.work / name).exists():
            train_generator(
                models / "base_generator", lessons, taught, images, keys, profile.generator,
                profile.attributes.sft.model_copy(update={"key_dropout": dropout}), given.work / name,
                seed=seed, device="cpu",
            )  # fmt: skip
    names = ["complete", "holey"]
    for steps in given.rar_steps:
        heat = given.temperature or profile.refinement.temperature
        names.append(f"rar_{steps}" + (f"_at_{heat}" if given.temperature else ""))
        refinement = profile.refinement.model_copy(update={"steps": steps, "temperature": heat})
        if not (given.work / names[-1]).exists():
            refined = refine_generator(
                given.work / "holey", embedder, others, images, keys,
                refinement, given.work / names[-1], seed=seed, device="cpu", backbone=profile.generator,
            )  # fmt: skip
            print(names[-1], {name: round(value, 3) for name, value in refined.metrics.items()}, flush=True)

    shown: dict[str, Texts] = {"true": catalog.true_texts(keys)}
    for name in names:
        generator = AttributeGenerator.load(given.work / name, "cpu")
        table = written(generator, held_out, images, keys, profile.attributes.generation)
        by_key = agreement(table, stated, keys).set_index("key")
        columns = [f"{key} {row.precision:.3f} of {row.said:.2f}" for key, row in by_key.iterrows()]
        print(f"{name}: {', '.join(columns)}; {table['attributes_text'].str.len().mean():.1f} characters")
        shown[name] = texts_of(table)
        if name == "holey":
            shown["right"] = only_right(table, stated)
    print_worth(catalog, embedder, shown)
    judge = Judge(catalog, embedder)
    before = judge.hits(shown["holey"])
    for name in names[2:]:
        print(f"{name} - holey, at the query: {gain(judge.hits(shown[name]), before)}", flush=True)


if __name__ == "__main__":
    main()
