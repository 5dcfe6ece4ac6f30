"""What a ladder's distilled and refined texts are worth on validation products, over all its seeds.

    AFMRL_CATALOG=FOLDER python benchmarks/rar_worth.py PROFILE

`afmrl run --select '+key:"round_1/product_attributes"' --config PROFILE` has made the models under
AFMRL_HOME. Prints, by round and seed, how often the texts about validation products say each key, how often
that is right, and their length; then Recall@1 of `fine_grained` by the first embedder (AGCL) with the title
alone, with distilled and with refined texts at the query and on both sides, and what each adds, with 95 %
intervals over products and seeds. The test split is not read.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
from text_worth import Catalog, Judge, of_seed, texts_of

from afmrl_dagster.project import afmrl_home
from afmrl_models.attributes.agreement import agreement
from afmrl_models.attributes.teachers.catalog import CatalogTeacher
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import load_profile
from afmrl_models.retrieval.ablation import judge_rows
from afmrl_models.retrieval.ablation_report import evidence

ROUNDS = {"agcl_distilled": "round_0", "afmrl": "round_1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("profile", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    profile = load_profile(given.profile)
    keys, catalog = list(profile.attributes.keys), Catalog.of(afmrl_home() / profile.name)
    held_out = catalog.split("validation")
    stated = CatalogTeacher(keys).write(held_out, catalog.images)
    rows: dict[str, list[pd.DataFrame]] = {}
    for seed in profile.seeds:
        made = of_seed(profile, seed)
        judge = Judge(catalog, made / "round_0" / "embedder")
        rows.setdefault("agcl", []).append(judge.hits().reset_index())
        for row, group in ROUNDS.items():
            table = read_table(made / group / "product_attributes" / "attributes.parquet")
            table = table[table["listing_id"].isin(held_out["listing_id"])]
            by_key = agreement(table, stated, keys).set_index("key")
            said = [f"{key} {line.precision:.3f} of {line.said:.2f}" for key, line in by_key.iterrows()]
            length = table["attributes_text"].str.len().mean()
            print(f"seed {seed}, {group}: {', '.join(said)}; {length:.1f} characters", flush=True)
            texts = texts_of(table)
            rows.setdefault(row, []).append(judge.hits(texts).reset_index())
            rows.setdefault(f"{row}_both", []).append(judge.hits(texts, texts).reset_index())
    print("\n" + evidence(judge_rows(rows, ks=[1])))


if __name__ == "__main__":
    main()
