"""release/generator_quality: what the generators say of unseen products, and what RAR changed in it."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.rounds.evaluations import Row, metrics_key
from afmrl_dagster.defs.rounds.generators import generator_key
from afmrl_dagster.defs.rounds.product_attributes import attributes_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import model_run
from afmrl_dagster.step import step
from afmrl_dagster.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

    from afmrl_models.retrieval.evaluation import Evaluation

GENERATOR_QUALITY = ("release", "generator_quality")


def same_but_refined(
    rows: dict[str, list[Row]], number: int
) -> tuple[tuple[str, Row], tuple[str, Row]] | None:
    """The (group, row) with the texts of the round before and of round `number`, all else being equal."""
    placed = [(group, row) for group, of_group in rows.items() for row in of_group]
    old, new = f"round_{number - 1}", f"round_{number}"
    for after in placed:
        for before in placed:
            a, b = after[1], before[1]
            alone = a.gallery_attributes is None and b.gallery_attributes is None
            if alone and a.embedder == b.embedder and (b.query_attributes, a.query_attributes) == (old, new):
                return before, after
    return None


def generator_quality(rounds: int, rows: dict[str, list[Row]]) -> dg.AssetsDefinition:
    """Compare all rounds' texts of the test queries with the shop's attributes, and with each other."""
    numbers = range(rounds + 1)

    @dg.asset(
        key=list(GENERATOR_QUALITY),
        deps=[list(key(n)) for n in numbers for key in (attributes_key, generator_key)]
        + [list(metrics_key(group)) for group in rows],
        group_name="release",
        kinds={"python", "mlflow"},
        description="The generators by themselves: accuracy, precision and recall on unseen products, by "
        "round, and what RAR learned to say and to leave out.",
    )
    @step
    def asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        profile = pipeline.profile()
        with (
            pipeline.replacing(GENERATOR_QUALITY) as out,
            model_run(context, pipeline, "release/generator_quality") as run,
        ):
            sections, shown = [f"# Generator quality: {profile.name}\n"], {}
            seeds = {seed: pipeline.of_seed(seed) for seed in profile.seeds}
            values, texts, left_out = _all_values(seeds, numbers)
            for name, frame in {"values": values, "texts": texts}.items():
                frame.to_parquet(out / f"{name}.parquet", index=False)
                run.log_table(frame, f"{name}.json")
                sections.append(f"## {_TITLES[name]}\n\n{_markdown(frame)}\n")
                shown[name] = metadata.table(frame, 100)
            if left_out:
                sections.append("Left out, for no test product states it: " + ", ".join(left_out) + ".\n")
            for (seed, of_seed), number in product(seeds.items(), numbers[1:]):
                name = f"seed_{seed}_round_{number}"
                changed, page, curves = _refinement(of_seed, number, rows, out, name)
                changed.to_parquet(out / f"changes_{name}.parquet", index=False)
                sections.append(
                    f"## What round {number} says otherwise, seed {seed}\n\n{_markdown(changed, 30)}\n"
                )
                shown[f"changes_{name}"] = metadata.table(changed, 30)
                shown[f"curves_{name}"] = metadata.picture_file(curves, "RAR's curves")
                shown[f"examples_{name}"] = page
            (out / "generator_quality.md").write_text("\n".join(sections), encoding="utf-8")
            for path in sorted(out.glob("*.html")) + sorted(out.glob("*.png")) + sorted(out.glob("*.md")):
                run.log_artifact(path)
        return dg.MaterializeResult(
            metadata={
                **metadata.stored_table(pipeline.directory(GENERATOR_QUALITY) / "values.parquet"),
                **shown,
                "keys_left_out": left_out,
                "mlflow_run": metadata.mlflow_link(run),
            }
        )

    return asset


_TITLES = {"values": "Values, by key and round", "texts": "Texts, by round"}


def _markdown(frame: "pd.DataFrame", rows: int = 1000) -> str:
    return str(metadata.table(frame, rows).value)


def _all_values(
    seeds: dict[int, Pipeline], numbers: Sequence[int]
) -> "tuple[pd.DataFrame, pd.DataFrame, list[str]]":
    """`_values` of all seeds, told apart by a column `seed`."""
    import pandas as pd

    measured = {seed: _values(pipeline, numbers) for seed, pipeline in seeds.items()}
    values = pd.concat([m[0].assign(seed=seed) for seed, m in measured.items()], ignore_index=True)
    texts = pd.concat([m[1].assign(seed=seed) for seed, m in measured.items()], ignore_index=True)
    return values, texts, next(iter(measured.values()))[2]


def _values(pipeline: Pipeline, numbers: Sequence[int]) -> "tuple[pd.DataFrame, pd.DataFrame, list[str]]":
    """Per round, truth and key; per round; and the keys that no test product states."""
    import pandas as pd

    from afmrl_models.attributes.agreement import agreement, exact_match, lengths
    from afmrl_models.attributes.grammar import parse
    from afmrl_models.retrieval.oracle import oracle_attributes

    tables = Tables(pipeline)
    keys = tables.attribute_keys
    queries = tables.of("test", role="query")
    consensus = oracle_attributes(tables.listings, tables.splits, tables.images, keys, split="test")
    stated_of = {listing_id: parse(text) for listing_id, text in consensus.items()}
    shop = queries.assign(attributes=queries["listing_id"].map(stated_of.get))
    compared, texts = [], []
    for number in numbers:
        written = tables.attribute_table(f"round_{number}")
        written = written[written["listing_id"].isin(set(queries["listing_id"]))]
        row: dict[str, object] = {"round": number, **lengths(written)}
        for truth, stated in {"product": shop, "listing": queries}.items():
            frame = agreement(written, stated, keys)
            frame.insert(0, "against", truth)
            frame.insert(0, "round", number)
            compared.append(frame[frame["stated"] > 0])
            row[f"all_right_{truth}"] = exact_match(written, stated, keys)
        texts.append(row)
    values = pd.concat(compared, ignore_index=True)
    return values, pd.DataFrame(texts), [key for key in keys if key not in set(values["key"])]


def _refinement(
    pipeline: Pipeline, number: int, rows: dict[str, list[Row]], out: Path, name: str
) -> "tuple[pd.DataFrame, dg.MetadataValue, Path]":
    """What the round changed, its examples (a page in `out`) and its curves (a picture in `out`)."""
    import pandas as pd

    from afmrl_models.attributes.agreement import changes
    from afmrl_models.catalog.photo_grid import photo_grid
    from afmrl_models.refinement.curves import reward_curves
    from afmrl_models.refinement.rar import HISTORY_FILE
    from afmrl_models.retrieval.evaluation import Evaluation
    from afmrl_models.retrieval.refined_texts import refined_texts, refined_texts_html

    tables = Tables(pipeline)
    queries = set(tables.of("test", role="query")["listing_id"])
    old, new = (tables.attribute_table(f"round_{n}") for n in (number - 1, number))
    changed = changes(old[old["listing_id"].isin(queries)], new[new["listing_id"].isin(queries)])
    curves = out / f"rar_curves_{name}.png"
    reward_curves(pd.read_parquet(pipeline.directory(generator_key(number)) / HISTORY_FILE)).savefig(curves)
    pair = same_but_refined(rows, number)
    if pair is None:
        return changed, dg.MetadataValue.text("no two rows differ by the texts of this round alone"), curves

    def evaluated(group: str, row: Row) -> "Evaluation":
        return Evaluation.load(pipeline.directory(metrics_key(group)) / row.name)

    moved = refined_texts(
        evaluated(*pair[0]),
        evaluated(*pair[1]),
        tables.attribute_texts(f"round_{number - 1}"),
        tables.attribute_texts(f"round_{number}"),
        tables.listings,
    )
    title = f"What RAR of round {number} changed: {pair[0][1].name} and {pair[1][1].name}"
    page = refined_texts_html(moved, tables.images, title)
    (out / f"refined_texts_{name}.html").write_text(page, encoding="utf-8")
    if not moved:
        return changed, dg.MetadataValue.text("no text moved the rank of a match"), curves
    ids = {row.query_id: row for row in moved[:18]}
    shown = tables.listings.set_index("listing_id").loc[list(ids)].reset_index()
    shown["title"] = [
        f"{row.rank_before or '-'} to {row.rank_after or '-'}: {row.text_after}" for row in ids.values()
    ]
    return (
        changed,
        metadata.picture(photo_grid(shown, tables.images, columns=6), "texts that moved a rank"),
        curves,
    )
