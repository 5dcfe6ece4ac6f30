"""release/ablation: every row side by side, with intervals."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import dagster as dg

from afmrl_dagster import metadata
from afmrl_dagster.defs.rounds.evaluations import Row, metrics_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.runs import model_run

if TYPE_CHECKING:
    import pandas as pd

    from afmrl_models.config.profile import TaskName
    from afmrl_models.retrieval.evaluation import Evaluation

ABLATION = ("release", "ablation")


def judged_task(evaluations: Iterable["Evaluation"]) -> "TaskName":
    """fine_grained where the catalog knows its products, else the first task that all rows could ask."""
    asked = [set(evaluation.per_query["task"]) for evaluation in evaluations]
    common = set.intersection(*asked)
    if not common:
        raise dg.Failure(
            "release/ablation: the test split answers no task: it has neither products nor categories"
        )
    return "fine_grained" if "fine_grained" in common else min(common)


def readable(table: "pd.DataFrame", ks: Sequence[int]) -> "pd.DataFrame":
    """The ablation for people: a value and its interval in one cell."""
    shown = table[["row", "queries"]].copy()
    for k in ks:
        name = f"recall_at_{k}"
        shown[f"Recall@{k} [95 %]"] = [
            f"{value:.3f} [{low:.3f}, {high:.3f}]"
            for value, low, high in zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
        ]
    first = f"recall_at_{ks[0]}_difference"
    shown[f"Recall@{ks[0]} against baseline"] = [
        "" if value != value else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
        for value, low, high in zip(table[first], table[f"{first}_low"], table[f"{first}_high"], strict=True)
    ]
    return shown


def ablation(rows: dict[str, list[Row]]) -> dg.AssetsDefinition:
    """Compare all rows on the same queries of the test split."""

    @dg.asset(
        key=list(ABLATION),
        deps=[list(metrics_key(group)) for group in rows],
        group_name="release",
        kinds={"python", "mlflow"},
        description="One row a step of the method, on the same queries, with 95 % intervals over products.",
    )
    def asset(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult:
        from afmrl_models.retrieval.ablation import ablation_plot, ablation_table
        from afmrl_models.retrieval.evaluation import Evaluation

        profile = pipeline.profile()
        seeds = [pipeline.of_seed(seed) for seed in profile.seeds]
        evaluations = {
            row.name: [Evaluation.load(seed.directory(metrics_key(group)) / row.name) for seed in seeds]
            for group, group_rows in rows.items()
            for row in group_rows
            if (seeds[0].directory(metrics_key(group)) / row.name).exists()
        }
        task = judged_task(chain.from_iterable(evaluations.values()))
        table = ablation_table(
            {name: [one.per_query for one in of_seeds] for name, of_seeds in evaluations.items()},
            task=task,
            ks=profile.evaluation.ks,
            bootstrap=profile.evaluation.bootstrap,
            seed=profile.seeds[0],
        )
        shown = readable(table, profile.evaluation.ks)
        with pipeline.replacing(ABLATION) as out, model_run(context, pipeline, "release/ablation") as run:
            table.to_parquet(out / "ablation.parquet", index=False)
            (out / "ablation.md").write_text(shown.to_markdown(index=False), encoding="utf-8")
            ablation_plot(table, out / "ablation.png")
            run.log_artifact(out / "ablation.png")
            run.log_table(table, "ablation.json")
        return dg.MaterializeResult(
            metadata={
                "task": task,
                "table": metadata.table(shown),
                "plot": metadata.picture_file(
                    pipeline.directory(ABLATION) / "ablation.png", "recall by row, with 95 % intervals"
                ),
                "mlflow_run": metadata.mlflow_link(run),
            }
        )

    return asset
